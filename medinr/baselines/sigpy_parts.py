"""Operators and proximal maps of total (generalised) variation that SigPy lacks."""

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
    real and imaginary part together, which makes total variation isotropic and independent of phase.
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


class GradientGap(sigpy.linop.Linop):  # type: ignore[misc]
    """``(x, w) -> grad x - w``, the two packed as ``(1 + axes, *shape)``: difference of gradient and field ``w``.

    Forward differences; at the far border of an axis, where there is none, the gap is zero rather than ``-w``. So
    affine images have fields without any gap. The norm is below ``sqrt(4 axes + 1)``.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.gradient = ForwardDifference(shape)
        super().__init__((len(shape), *shape), (1 + len(shape), *shape))

    def _apply(self, packed: Array) -> Array:
        gap: Array = self.gradient(packed[0]) - packed[1:]
        return _without_far_border(gap)

    def _adjoint_linop(self) -> _GradientGapAdjoint:
        return _GradientGapAdjoint(self)


class _GradientGapAdjoint(sigpy.linop.Linop):  # type: ignore[misc]
    def __init__(self, gap: GradientGap) -> None:
        self.gap = gap
        super().__init__(gap.ishape, gap.oshape)

    def _apply(self, p: Array) -> Array:
        return np.concatenate([self.gap.gradient.H(p)[None], -_without_far_border(p.copy())])

    def _adjoint_linop(self) -> GradientGap:
        return self.gap


def _without_far_border(field: Array) -> Array:
    """Set the components at the far borders, which point out of the image, to zero in place."""
    for axis in range(len(field)):
        np.moveaxis(field[axis], axis, 0)[-1] = 0
    return field


class FieldBending(sigpy.linop.Linop):  # type: ignore[misc]
    """``(x, w) -> (D w + (D w)^T) / 2``, the symmetrised derivative of the field, as ``(axes^2, *shape)``.

    Backward differences, zero at the near border. The square of the matrix' Frobenius norm is the sum over the first
    axis, off-diagonal entries twice (Bredies, Kunisch & Pock 2010, section 4). The norm is below ``sqrt(4 axes)``.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__((len(shape) ** 2, *shape), (1 + len(shape), *shape))

    def _apply(self, packed: Array) -> Array:
        field = packed[1:]
        derivative = np.zeros((len(field), *field.shape), packed.dtype)
        for axis in range(len(field)):
            along = np.moveaxis(field, 1 + axis, 0)
            np.subtract(along[1:], along[:-1], out=np.moveaxis(derivative[axis], 1 + axis, 0)[1:])
        bending: Array = 0.5 * (derivative + derivative.swapaxes(0, 1))
        return bending.reshape(self.oshape)

    def _adjoint_linop(self) -> _FieldBendingAdjoint:
        return _FieldBendingAdjoint(self)


class _FieldBendingAdjoint(sigpy.linop.Linop):  # type: ignore[misc]
    def __init__(self, bending: FieldBending) -> None:
        self.bending = bending
        super().__init__(bending.ishape, bending.oshape)

    def _apply(self, p: Array) -> Array:
        total = np.zeros(self.oshape, p.dtype)
        field = total[1:]
        matrix = p.reshape(len(field), *field.shape)
        matrix = 0.5 * (matrix + matrix.swapaxes(0, 1))
        for axis in range(len(field)):
            inner, out = np.moveaxis(matrix[axis], 1 + axis, 0)[1:], np.moveaxis(field, 1 + axis, 0)
            out[1:] += inner
            out[:-1] -= inner
        return total

    def _adjoint_linop(self) -> FieldBending:
        return self.bending


class OnImage(sigpy.prox.Prox):  # type: ignore[misc]
    """A proximal map of the image in a packed ``(x, w)``; the field is unchanged."""

    def __init__(self, prox: Any) -> None:
        self.prox = prox
        (axes, shape) = (len(prox.shape), tuple(prox.shape))
        super().__init__((1 + axes, *shape))

    def _prox(self, alpha: float, packed: Array) -> Array:
        packed[0] = self.prox(alpha, packed[0])
        return packed
