"""The Fourier transform of an MR scan, and the selection of measured phase-encoding lines."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.operators.coils import Coils
from medinr.operators.sampling import LineMask


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
        spectrum: Tensor = torch.fft.fftn(self._to_corner(x), dim=self.axes, norm="ortho")
        return self._to_centre(spectrum)

    def _adjoint(self, y: Tensor) -> Tensor:
        image: Tensor = torch.fft.ifftn(self._to_corner(y), dim=self.axes, norm="ortho")
        return self._to_centre(image)

    def _to_corner(self, value: Tensor) -> Tensor:
        shifted: Tensor = torch.fft.ifftshift(value, dim=self.axes)
        return shifted

    def _to_centre(self, value: Tensor) -> Tensor:
        shifted: Tensor = torch.fft.fftshift(value, dim=self.axes)
        return shifted


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
        return full.index_copy(-2, self.lines.to(y.device), y)


def undersampled_fourier(
    shape: Sequence[int], mask: LineMask | Sequence[int], maps: Tensor | None = None
) -> LinearOperator:
    """Cartesian MR with measured lines along ``ky``: ``LineSampling @ Fourier @ Coils``.

    Parameters
    ----------
    shape : sequence of int
        Image shape ``(y, x)``.
    mask : LineMask or sequence of int
        Measured ``ky`` lines.
    maps : Tensor, shape (coil, y, x), optional
        Complex coil sensitivities; without them the scan has a single, uniform coil.

    Returns
    -------
    LinearOperator
        ``(y, x) complex -> (lines, kx) complex``, with maps ``-> (coil, lines, kx) complex``.

    Raises
    ------
    ShapeError
        If the maps or the mask do not fit the image.
    """
    shape = tuple(shape)
    if maps is not None and tuple(maps.shape[-2:]) != shape:
        raise ShapeError(f"The coil maps {tuple(maps.shape)} do not fit images of shape {shape}.")
    full = shape if maps is None else tuple(maps.shape)
    scan = LineSampling(full, mask) @ Fourier(full)
    return scan if maps is None else scan @ Coils(maps)
