"""What isotropic total variation needs beside SigPy: the gradient, and projections for its dual."""

from __future__ import annotations

from typing import Any

import numpy as np
import sigpy
from numpy.typing import NDArray

Array = NDArray[Any]


class ForwardDifference(sigpy.linop.Linop):  # type: ignore[misc]
    """Forward differences along every axis, zero at the far border: ``(*shape) -> (axes, *shape)``.

    SigPy's own `FiniteDifference` wraps around and so penalises a step between opposite borders. The norm is
    below ``sqrt(4 axes)`` (Chambolle, JMIV 2004, section 3).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__((len(shape), *shape), shape)

    def _apply(self, x: Array) -> Array:
        differences = np.zeros(self.oshape, x.dtype)
        for axis in range(x.ndim):
            along, out = np.moveaxis(x, axis, 0), np.moveaxis(differences[axis], axis, 0)
            np.subtract(along[1:], along[:-1], out=out[:-1])
        return differences

    def _adjoint_linop(self) -> _Divergence:
        return _Divergence(tuple(self.ishape))


class _Divergence(sigpy.linop.Linop):  # type: ignore[misc]
    """Adjoint of `ForwardDifference`, the negative divergence."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape, (len(shape), *shape))

    def _apply(self, p: Array) -> Array:
        total = np.zeros(self.oshape, p.dtype)
        for axis in range(total.ndim):
            inner, out = np.moveaxis(p[axis], axis, 0)[:-1], np.moveaxis(total, axis, 0)
            out[1:] += inner
            out[:-1] -= inner
        return total

    def _adjoint_linop(self) -> ForwardDifference:
        return ForwardDifference(tuple(self.oshape))


class GroupBall(sigpy.prox.Prox):  # type: ignore[misc]
    """Projection of every vector along the first axis onto the ball of one radius.

    It is the proximal map of the conjugate of ``radius * sum_r ||p(r)||_2``; the norm is over axes and over
    real and imaginary part together, which makes total variation isotropic and blind to phase.
    """

    def __init__(self, shape: tuple[int, ...], radius: float) -> None:
        self.radius = radius
        super().__init__(shape)

    def _prox(self, alpha: float, p: Array) -> Array:
        squared = np.square(p.real) + np.square(p.imag) if np.iscomplexobj(p) else np.square(p)
        length = np.sqrt(squared.sum(axis=0, keepdims=True))
        projected: Array = p / np.maximum(1.0, length / self.radius)
        return projected.astype(p.dtype, copy=False)


class NonNegative(sigpy.prox.Prox):  # type: ignore[misc]
    """Projection of real images onto values of at least zero."""

    def _prox(self, alpha: float, x: Array) -> Array:
        return np.maximum(x, 0)
