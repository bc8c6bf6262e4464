"""Second-order total generalised variation (Bredies, Kunisch & Pock, SIAM J. Imaging Sci. 2010), solved by SigPy.

Total variation reconstructs slopes as staircases. Second-order total generalised variation penalises changes of the
slope instead, so slopes are preserved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sigpy
from torch import Tensor

from medinr.baselines.regularised import Array, iterated, regularised
from medinr.baselines.sigpy_parts import FieldBending, GradientGap, GroupBall, NonNegative, OnImage
from medinr.baselines.total_variation import DATA_STEP, GRADIENT_STEP
from medinr.operators.base import LinearOperator

#: Weight of the second term relative to the first, as for MR images in Knoll et al. (MRM 2011).
RATIO = 2.0


def generalised_variation(
    data: Tensor,
    operator: LinearOperator,
    weight: float,
    *,
    precision: Tensor | None = None,
    iterations: int = 200,
    nonnegative: bool = False,
    norm: float | None = None,
) -> Tensor:
    """Reconstruct by least squares with total generalised variation.

    ``min_x 1/2 sum(precision |A x - y|^2) + weight sqrt(mean precision) TGV(x)``,
    ``TGV(x) = min_w sum_r |grad x - w| + 2 sum_r |(D w + (D w)^T) / 2|`` (equation 4.2 there, ``alpha_0 = 2 alpha_1``),
    Euclidean and Frobenius norms over real and imaginary parts together. Affine images have ``TGV = 0``, borders
    included; with ``w = 0`` it would be total variation of the same weight.

    Parameters, result and errors
        As for `total_variation`.

    Notes
    -----
    Primal-dual hybrid gradient (Chambolle & Pock, JMIV 2011, algorithm 1) over image and field. The data term is
    dualised, except for denoising, where its proximal map is known.
    """
    return regularised(
        "total generalised variation",
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
    gap, bending = GradientGap(x.shape), FieldBending(x.shape)
    parts: list[Any] = [gap, bending]
    proxes = [GroupBall(tuple(gap.oshape), weight), GroupBall(tuple(bending.oshape), RATIO * weight)]
    norms = [4 * x.ndim + 1, 4 * x.ndim]
    positive = NonNegative(x.shape) if nonnegative else None
    if A is None:
        steps = [1.0 / np.sqrt(sum(norms))] * 2
        primal = sigpy.prox.L2Reg(x.shape, 1, y=y, proxh=positive)
    else:
        image = sigpy.linop.Reshape(x.shape, (1, *x.shape)) * sigpy.linop.Slice(tuple(gap.ishape), slice(0, 1))
        parts, norms = [A * image, *parts], [1, *norms]
        proxes = [sigpy.prox.L2Reg(y.shape, 1, y=-y), *proxes]
        steps = [DATA_STEP, GRADIENT_STEP * weight, GRADIENT_STEP * weight]
        primal = positive or sigpy.prox.NoOp(x.shape)
    together = sigpy.linop.Vstack(parts)
    sizes = [int(np.prod(part.oshape)) for part in parts]
    solver = sigpy.alg.PrimalDualHybridGradient(
        sigpy.prox.Stack(proxes),
        OnImage(primal),
        together,
        together.H,
        np.concatenate([x[None], np.zeros((x.ndim, *x.shape), x.dtype)]),
        np.zeros(together.oshape, np.result_type(x, y)),
        1.0 / sum(step * size for step, size in zip(steps, norms, strict=True)),
        np.repeat(np.array(steps, x.real.dtype), sizes),
        max_iter=iterations,
    )
    return np.ascontiguousarray(iterated(solver)[0])
