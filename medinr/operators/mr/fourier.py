"""The Fourier transform of a Cartesian MR scan, and the selection of measured lines or points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.operators.mr.centred_transform import centred_transform
from medinr.operators.mr.coils import Coils, SoftCoils
from medinr.operators.mr.point_mask import PointMask
from medinr.operators.mr.sampling import LineMask


class Fourier(LinearOperator):
    """Centred, orthonormal discrete Fourier transform: its adjoint is its inverse, its norm 1.

    ``y = fftshift(fft(ifftshift(x)))``, zero frequency and image centre at index ``n // 2``.

    Parameters
    ----------
    shape : sequence of int
        Trailing shape of image and k-space, such as ``(y, x)`` or ``(coil, y, x)``.
    axes : sequence of int
        Transformed axes, negative.

    Raises
    ------
    ShapeError
        If an axis is not a negative index into ``shape``.
    """

    def __init__(self, shape: Sequence[int], axes: Sequence[int] = (-2, -1)) -> None:
        self.axes = tuple(axes)
        if not all(-len(shape) <= axis < 0 for axis in self.axes):
            raise ShapeError(f"Fourier wants axes between {-len(shape)} and -1 of {tuple(shape)}; got {self.axes}.")
        self.domain = self.range = Space(tuple(shape), "complex")

    def _apply(self, x: Tensor) -> Tensor:
        return centred_transform(x, self.axes)

    def _adjoint(self, y: Tensor) -> Tensor:
        return centred_transform(y, self.axes, inverse=True)


class LineSampling(LinearOperator):
    """Keep the measured phase-encoding lines; the adjoint fills the others with zeros.

    ``(..., ky, kx) -> (..., lines, kx)``

    Parameters
    ----------
    shape : sequence of int
        Trailing shape of the full k-space, such as ``(ky, kx)`` or ``(coil, ky, kx)``.
    lines : LineMask or sequence of int
        Different ``ky`` indices, in the order in which the data hold them.

    Raises
    ------
    ShapeError
        If a line is outside ``ky`` or named twice, or the mask was made for another number of lines.
    """

    def __init__(self, shape: Sequence[int], lines: LineMask | Sequence[int]) -> None:
        shape = tuple(shape)
        count = shape[-2]
        if isinstance(lines, LineMask) and lines.count != count:
            raise ShapeError(f"The mask is for {lines.count} lines, but k-space {shape} has {count}.")
        chosen = lines.lines if isinstance(lines, LineMask) else tuple(int(line) for line in lines)
        if not chosen or len(set(chosen)) != len(chosen) or min(chosen) < 0 or max(chosen) >= count:
            raise ShapeError(f"LineSampling wants different lines between 0 and {count - 1}; got {chosen}.")
        self.lines = torch.tensor(chosen, dtype=torch.int64)
        self.domain = Space(shape)
        self.range = Space((*shape[:-2], len(chosen), shape[-1]))

    def _apply(self, x: Tensor) -> Tensor:
        return x.index_select(-2, self.lines.to(x.device))

    def _adjoint(self, y: Tensor) -> Tensor:
        full = y.new_zeros((*y.shape[:-2], self.domain.shape[-2], y.shape[-1]))
        return full.index_copy_(-2, self.lines.to(y.device), y)


class PointSampling(LinearOperator):
    """Keep the measured points of a plane of k-space; the adjoint fills the others with zeros.

    ``(..., ky, kx) -> (..., points)``; over ``(kz, ky)``, ``(..., kz, ky, kx) -> (..., points, kx)``. The points are
    in the order of the flattened plane.

    Parameters
    ----------
    shape : sequence of int
        Trailing shape of the full k-space, such as ``(coil, ky, kx)`` or ``(coil, kz, ky, kx)``.
    mask : PointMask or Tensor, bool
        Its shape is that of the plane.
    axes : tuple of int
        The plane's axes, negative, next to each other.

    Raises
    ------
    ShapeError
        If the mask is not boolean, has no point or does not fit the plane.
    """

    def __init__(self, shape: Sequence[int], mask: PointMask | Tensor, axes: tuple[int, int] = (-2, -1)) -> None:
        shape = tuple(shape)
        if axes[1] != axes[0] + 1 or not -len(shape) <= axes[0] < -1:
            raise ShapeError(f"PointSampling wants two neighbouring negative axes of {shape}; got {axes}.")
        points = mask.as_tensor() if isinstance(mask, PointMask) else mask
        plane = shape[axes[0]], shape[axes[1]]
        if points.dtype != torch.bool or tuple(points.shape) != plane or not bool(points.any()):
            raise ShapeError(
                f"PointSampling wants booleans {plane} with at least one point; got {points.dtype} "
                f"{tuple(points.shape)} with {int(points.sum())}."
            )
        self.points = points.flatten().nonzero().flatten()
        # The plane's two axes become one, so this is the axis of the points too.
        self._axis, self._plane = axes[1], plane
        after = shape[len(shape) + axes[1] + 1 :]
        self.domain = Space(shape)
        self.range = Space((*shape[: len(shape) + axes[0]], len(self.points), *after))

    def _apply(self, x: Tensor) -> Tensor:
        return x.flatten(self._axis - 1, self._axis).index_select(self._axis, self.points.to(x.device))

    def _adjoint(self, y: Tensor) -> Tensor:
        shape = list(y.shape)
        shape[self._axis] = self._plane[0] * self._plane[1]
        full = y.new_zeros(shape).index_copy_(self._axis, self.points.to(y.device), y)
        return full.reshape(*shape[: self._axis % len(shape)], *self._plane, *shape[self._axis % len(shape) + 1 :])


def undersampled_fourier(
    shape: Sequence[int], mask: LineMask | PointMask | Tensor | Sequence[int], maps: Tensor | None = None
) -> LinearOperator:
    """Cartesian MR with measured lines or points: ``LineSampling @ Fourier @ Coils`` or ``PointSampling @ ...``.

    Parameters
    ----------
    shape : sequence of int
        Image shape ``(y, x)``; with measured points also ``(z, y, x)``.
    mask : LineMask, PointMask, Tensor or sequence of int
        Measured ``ky`` lines, or points ``(ky, kx)`` of an image, ``(kz, ky)`` of a volume. Tensors of booleans are
        masks over all lines ``(ky,)`` or points.
    maps : Tensor, shape (coil, y, x) or (set, coil, y, x), optional
        Complex coil sensitivities, or several sets of them for images ``(set, y, x)``; ``(z, y, x)`` in place of
        ``(y, x)`` for a volume. Without them the scan has a single, uniform coil.

    Returns
    -------
    LinearOperator
        ``(y, x) complex -> (lines, kx) complex`` or ``-> (points,)``; volumes ``-> (points, kx)``; with maps there is
        a coil axis in front.

    Raises
    ------
    ShapeError
        If the maps or the mask do not fit the image.
    """
    shape = tuple(shape)
    if maps is not None and tuple(maps.shape[-len(shape) :]) != shape:
        raise ShapeError(f"The coil maps {tuple(maps.shape)} do not fit images of shape {shape}.")
    full = shape if maps is None else tuple(maps.shape[-len(shape) - 1 :])
    scan: LinearOperator
    if isinstance(mask, PointMask) or (isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.ndim != 1):
        axes = tuple(range(-len(shape), 0))
        scan = PointSampling(full, mask, (axes[0], axes[1])) @ Fourier(full, axes)
    else:
        scan = LineSampling(full, _measured_lines(mask, shape) if isinstance(mask, Tensor) else mask) @ Fourier(full)
    if maps is None:
        return scan
    return scan @ (SoftCoils(maps) if maps.ndim == len(shape) + 2 else Coils(maps))


def _measured_lines(mask: Tensor, shape: tuple[int, ...]) -> list[int]:
    """Turn booleans over all lines, or indices, into indices."""
    if mask.dtype == torch.bool and len(mask) != shape[-2]:
        raise ShapeError(f"The mask is for {len(mask)} lines, but images of shape {shape} have {shape[-2]}.")
    lines: list[int] = (mask.nonzero().flatten() if mask.dtype == torch.bool else mask).tolist()
    return lines
