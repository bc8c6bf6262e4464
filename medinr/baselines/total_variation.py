"""Total variation (Rudin, Osher & Fatemi 1992), solved by SigPy: the peer that costs nothing to train."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sigpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.baselines.sigpy_parts import ForwardDifference, GroupBall, NonNegative
from medinr.errors import ConfigError, ShapeError
from medinr.operators.adapters import to_sigpy
from medinr.operators.base import Identity, LinearOperator, Weighting

Array = NDArray[Any]

#: Dual step sizes for data and operator of norm 1 and an image of maximum 1: of the data term, and of the
#: gradient per unit of weight. Dual variables are as large as the relative residual and as the weight, and
#: steps in proportion to them balance primal and dual (found on 4x k-space and on 60-view CT).
_DATA_STEP, _GRADIENT_STEP = 0.03, 5.0

#: Conjugate-gradient steps of the start image: exact for Cartesian k-space, past the worst blur for CT.
_WARM_STEPS = 10

#: Relative residual at which they end: on rounding error alone, in float32, conjugate gradients diverge.
_WARM_TOLERANCE = 1e-5

#: Power iterations for the operator norm, and the margin for what they miss of it.
_POWER_ITERATIONS, _NORM_MARGIN = 20, 1.05


def total_variation(
    data: Tensor,
    operator: LinearOperator,
    weight: float,
    *,
    precision: Tensor | None = None,
    iterations: int = 200,
    nonnegative: bool = False,
    norm: float | None = None,
) -> Tensor:
    """Reconstruct by least squares with isotropic total variation.

    ``min_x 1/2 sum(precision |A x - y|^2) + weight sqrt(mean precision) TV(x)``,
    ``TV(x) = sum_r (sum_axis |x(r + e_axis) - x(r)|^2)^(1/2)``, zero differences at the far borders, real and
    imaginary part coupled. The mean is over measured samples (precision above zero).

    With ``precision = 1 / sigma^2`` the weight is dimensionless: intensities that grow together with their
    noise give the same image, grown, at the same weight. Without precision it is in the unit of the image.

    Parameters
    ----------
    data : Tensor, shape (..., *operator.range.shape)
        Leading dimensions are solved one by one.
    operator : LinearOperator
        ``A``.
    weight : float
        At least 0; with 0 the start image, least squares by conjugate gradients, goes on for all iterations.
    precision : Tensor, broadcastable to ``data``, optional
        Inverse variance of each sample, at least 0.
    iterations : int
    nonnegative : bool
        Keep a real image at or above zero (attenuation).
    norm : float, optional
        Norm of ``A`` weighted by ``sqrt(precision / mean precision)``, if known; it saves power iterations.

    Returns
    -------
    Tensor, shape (..., *operator.domain.shape)

    Raises
    ------
    ConfigError
        When weight or iterations are out of range.
    ShapeError
        When data or precision do not fit, or a complex image is to be nonnegative.

    Notes
    -----
    Primal-dual hybrid gradient (Chambolle & Pock, JMIV 2011, algorithm 1) with both terms dualised; plain
    denoising keeps the data term in the primal and is accelerated (algorithm 2). Data and operator are
    brought to norm 1 inside, so that the steps fit any scan.
    """
    _check(data, operator, weight, precision, iterations)
    batch = data.shape[: data.ndim - len(operator.range.shape)]
    weights = None if precision is None else precision.to(data.real.dtype).expand(data.shape)
    images = []
    for index in np.ndindex(*batch):
        sample = None if weights is None else weights[index]
        images.append(_solve(data[index], operator, weight, sample, iterations, nonnegative, norm))
    return torch.stack(images).reshape(*batch, *operator.domain.shape)


def _solve(
    data: Tensor,
    operator: LinearOperator,
    weight: float,
    precision: Tensor | None,
    iterations: int,
    nonnegative: bool,
    norm: float | None,
) -> Tensor:
    uniform = precision is None or bool((precision == precision.flatten()[0]).all())
    if precision is not None:
        mean = precision[precision > 0].mean()
        weight = weight / math.sqrt(float(mean))
        if not uniform:
            whitening = (precision / mean).sqrt()
            operator, data = Weighting(whitening) @ operator, whitening * data
    backprojected = operator.H(data)
    if not bool(backprojected.abs().max() > 0):
        return torch.zeros_like(backprojected)
    size = norm or _norm_above(operator, backprojected)

    # With x = scale v and A = size B both B and v are of order 1, and the weight follows.
    A = (1.0 / size) * to_sigpy(operator)
    y: Array = data.detach().cpu().resolve_conj().numpy() / np.asarray(size, data.real.detach().numpy().dtype)
    start = _least_squares(A, y, iterations if weight == 0 else min(_WARM_STEPS, iterations))
    if nonnegative and np.iscomplexobj(start):
        raise ShapeError("Only a real image can be kept nonnegative; this operator gives complex images.")
    scale = float(np.abs(start).max())
    if nonnegative:
        start = np.maximum(start, 0)
    if weight > 0 and scale > 0:
        bring = start.real.dtype.type(1.0 / scale)
        relative = weight / (size**2 * scale)
        solver = _denoise if isinstance(operator, Identity) else _primal_dual
        start = solver(A, y * bring, start * bring, relative, iterations, nonnegative) / bring
    return torch.from_numpy(start)


def _least_squares(A: Any, y: Array, iterations: int) -> Array:
    right: Array = A.H(y)
    x = np.zeros_like(right)
    tolerance = _WARM_TOLERANCE * np.linalg.norm(right)
    solver = sigpy.alg.ConjugateGradient(A.N, right, x, max_iter=iterations, tol=tolerance)
    return _finished(solver)


def _primal_dual(A: Any, y: Array, x: Array, weight: float, iterations: int, nonnegative: bool) -> Array:
    gradient = ForwardDifference(x.shape)
    both = sigpy.linop.Vstack([A, gradient])
    fit = sigpy.prox.L2Reg(y.shape, 1, y=-y)
    dual = sigpy.prox.Stack([fit, GroupBall(tuple(gradient.oshape), weight)])
    data_step, gradient_step = _DATA_STEP, _GRADIENT_STEP * weight
    steps = np.repeat(np.array([data_step, gradient_step], x.real.dtype), [y.size, int(np.prod(gradient.oshape))])
    solver = sigpy.alg.PrimalDualHybridGradient(
        dual,
        NonNegative(x.shape) if nonnegative else sigpy.prox.NoOp(x.shape),
        both,
        both.H,
        x,
        np.zeros(both.oshape, np.result_type(x, y)),
        1.0 / (data_step + 4 * x.ndim * gradient_step),
        steps,
        max_iter=iterations,
    )
    return _finished(solver)


def _denoise(A: Any, y: Array, x: Array, weight: float, iterations: int, nonnegative: bool) -> Array:
    gradient = ForwardDifference(x.shape)
    step = 1.0 / math.sqrt(4 * x.ndim)
    solver = sigpy.alg.PrimalDualHybridGradient(
        GroupBall(tuple(gradient.oshape), weight),
        sigpy.prox.L2Reg(y.shape, 1, y=y, proxh=NonNegative(x.shape) if nonnegative else None),
        gradient,
        gradient.H,
        x,
        np.zeros(gradient.oshape, x.dtype),
        step,
        step,
        gamma_primal=1,
        max_iter=iterations,
    )
    return _finished(solver)


def _finished(solver: Any) -> Array:
    while not solver.done():
        solver.update()
    image: Array = solver.x
    return image


def _norm_above(operator: LinearOperator, start: Tensor) -> float:
    """Norm of the operator, a little overestimated, from an image that is not zero.

    Unlike `LinearOperator.norm` in the precision of the data: a projector would build a second matrix.
    """
    if isinstance(operator, Identity):
        return 1.0
    x, value = start, 0.0
    for _ in range(_POWER_ITERATIONS):
        x = operator.normal(x / torch.linalg.vector_norm(x))
        value = float(torch.linalg.vector_norm(x))
    return _NORM_MARGIN * math.sqrt(value)


def _check(data: Tensor, operator: LinearOperator, weight: float, precision: Tensor | None, iterations: int) -> None:
    operator.range.check(data, "total_variation data")
    if not (math.isfinite(weight) and weight >= 0):
        raise ConfigError(f"The weight of total variation must be finite and at least 0; got {weight}.")
    if iterations < 1:
        raise ConfigError(f"total_variation needs at least one iteration; got {iterations}.")
    if precision is None:
        return
    try:
        precision.expand(data.shape)
    except RuntimeError:
        raise ShapeError(f"The precision {tuple(precision.shape)} does not fit the data {tuple(data.shape)}.") from None
    if precision.is_complex() or not bool((precision >= 0).all()) or not bool((precision > 0).any()):
        raise ShapeError("The precision must be real, at least 0, and above 0 somewhere: it is 1 / variance.")
