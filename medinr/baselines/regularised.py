"""Least squares with a convex regulariser: what the baselines of that kind have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import sigpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators.adapters import to_sigpy
from medinr.operators.base import Identity, LinearOperator
from medinr.operators.weighting import Weighting

Array = NDArray[Any]

#: ``(A, y, start, weight, iterations, nonnegative) -> image``: a primal-dual solver for ``A`` (SigPy's) of norm 1 and
#: an image of maximum 1; ``A`` is None for the identity.
Solver = Callable[[Any, Array, Array, float, int, bool], Array]

#: Conjugate-gradient steps of the start image: exact for Cartesian k-space; for CT most of the blur is gone.
_WARM_STEPS = 10

#: Relative residual at which they end: below it, at rounding error in float32, conjugate gradients diverge.
_WARM_TOLERANCE = 1e-5

#: Power iterations for the operator norm, and a factor that covers their underestimate.
_POWER_ITERATIONS, _NORM_MARGIN = 20, 1.05


def regularised(
    name: str,
    solver: Solver,
    data: Tensor,
    operator: LinearOperator,
    weight: float,
    *,
    precision: Tensor | None = None,
    iterations: int = 200,
    nonnegative: bool = False,
    norm: float | None = None,
) -> Tensor:
    """Minimise ``1/2 sum(precision |A x - y|^2) + weight sqrt(mean precision) R(x)``, slice by slice.

    The mean is over measured samples (precision above zero). ``R`` scales with the image, so that with
    ``precision = 1 / sigma^2`` the weight is dimensionless: intensities that grow together with their noise give the
    same image, grown, at the same weight. Without precision the weight is in the unit of the image.

    Parameters
    ----------
    name : str
        Of the regulariser, for errors.
    solver : callable
        See `Solver`.
    data : Tensor, shape (..., *operator.range.shape)
        Leading dimensions are solved one after another.
    operator : LinearOperator
        ``A``.
    weight : float
        At least 0; with 0 the result is least squares by conjugate gradients, with all iterations.
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
    """
    _check(name, data, operator, weight, precision, iterations)
    batch = data.shape[: data.ndim - len(operator.range.shape)]
    weights = None if precision is None else precision.to(data.real.dtype).expand(data.shape)
    images = []
    for index in np.ndindex(*batch):
        sample = None if weights is None else weights[index]
        images.append(_solve(solver, data[index], operator, weight, sample, iterations, nonnegative, norm))
    return torch.stack(images).reshape(*batch, *operator.domain.shape)


def _solve(
    solver: Solver,
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
    size = norm or norm_above(operator, backprojected)

    # With x = scale v and A = size B both B and v are of order 1; the weight is scaled accordingly.
    A = (1.0 / size) * to_sigpy(operator)
    y: Array = data.detach().cpu().resolve_conj().numpy() / np.asarray(size, data.real.detach().numpy().dtype)
    start = _least_squares(A, y, iterations if weight == 0 else min(_WARM_STEPS, iterations))
    if nonnegative and np.iscomplexobj(start):
        raise ShapeError("Only a real image can be kept nonnegative; this operator gives complex images.")
    scale = float(np.abs(start).max())
    if nonnegative:
        start = np.maximum(start, 0)
    if weight > 0 and scale > 0:
        factor = start.real.dtype.type(1.0 / scale)
        relative = weight / (size**2 * scale)
        forward = None if isinstance(operator, Identity) else A
        start = solver(forward, y * factor, start * factor, relative, iterations, nonnegative) / factor
    return torch.from_numpy(start)


def _least_squares(A: Any, y: Array, iterations: int) -> Array:
    right: Array = A.H(y)
    x = np.zeros_like(right)
    tolerance = _WARM_TOLERANCE * np.linalg.norm(right)
    solver = sigpy.alg.ConjugateGradient(A.N, right, x, max_iter=iterations, tol=tolerance)
    return iterated(solver)


def iterated(algorithm: Any) -> Array:
    """Run one of SigPy's algorithms to its end and return its image."""
    while not algorithm.done():
        algorithm.update()
    image: Array = algorithm.x
    return image


def norm_above(operator: LinearOperator, start: Tensor) -> float:
    """Norm of the operator, slightly overestimated, by power iterations from an image that is not zero.

    Unlike `LinearOperator.norm` it is computed in the precision of the data, so that projectors build no second matrix.
    """
    if isinstance(operator, Identity):
        return 1.0
    x, value = start, 0.0
    for _ in range(_POWER_ITERATIONS):
        x = operator.normal(x / torch.linalg.vector_norm(x))
        value = float(torch.linalg.vector_norm(x))
    return _NORM_MARGIN * math.sqrt(value)


def _check(
    name: str, data: Tensor, operator: LinearOperator, weight: float, precision: Tensor | None, iterations: int
) -> None:
    operator.range.check(data, f"{name} data")
    if not (math.isfinite(weight) and weight >= 0):
        raise ConfigError(f"The weight of {name} must be finite and at least 0; got {weight}.")
    if iterations < 1:
        raise ConfigError(f"Reconstruction by {name} needs at least one iteration; got {iterations}.")
    if precision is None:
        return
    try:
        precision.expand(data.shape)
    except RuntimeError:
        raise ShapeError(f"The precision {tuple(precision.shape)} does not fit the data {tuple(data.shape)}.") from None
    if precision.is_complex() or not bool((precision >= 0).all()) or not bool((precision > 0).any()):
        raise ShapeError("The precision must be real, at least 0, and above 0 somewhere: it is 1 / variance.")
