"""Total variation (Rudin, Osher & Fatemi 1992), solved by SigPy; it needs no training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import sigpy
from torch import Tensor

from medinr.baselines.regularised import Array, iterated, regularised
from medinr.baselines.sigpy_parts import ForwardDifference, GroupBall, NonNegative
from medinr.operators.base import LinearOperator

#: Dual step sizes for data and operator of norm 1 and an image of maximum 1: of the data term, and of the
#: gradient per unit of weight. Dual variables are as large as the relative residual and as the weight, and
#: steps in proportion to them balance primal and dual (found on 4x k-space and on 60-view CT).
DATA_STEP, GRADIENT_STEP = 0.03, 5.0


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

    Notes
    -----
    Primal-dual hybrid gradient (Chambolle & Pock, JMIV 2011, algorithm 1) with both terms dualised; plain
    denoising keeps the data term in the primal and is accelerated (algorithm 2). Data and operator are
    scaled to norm 1 inside, so that the step sizes suit any scan.
    """
    return regularised(
        "total variation",
        _solve,
        data,
        operator,
        weight,
        precision=precision,
        iterations=iterations,
        nonnegative=nonnegative,
        norm=norm,
    )


def _solve(A: Any, y: Array, x: Array, weight: float, iterations: int, nonnegative: bool) -> Array:
    if A is None:
        return _denoise(y, x, weight, iterations, nonnegative)
    return _primal_dual(A, y, x, weight, iterations, nonnegative)


def _primal_dual(A: Any, y: Array, x: Array, weight: float, iterations: int, nonnegative: bool) -> Array:
    gradient = ForwardDifference(x.shape)
    both = sigpy.linop.Vstack([A, gradient])
    fit = sigpy.prox.L2Reg(y.shape, 1, y=-y)
    dual = sigpy.prox.Stack([fit, GroupBall(tuple(gradient.oshape), weight)])
    data_step, gradient_step = DATA_STEP, GRADIENT_STEP * weight
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
    return iterated(solver)


def _denoise(y: Array, x: Array, weight: float, iterations: int, nonnegative: bool) -> Array:
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
    return iterated(solver)
