"""Blur: point spread functions on the grid of the image, given in millimetres or measured.

At the border the image is continued by reflection (half-sample symmetric, ``c b a | a b c``): what lies beyond
the field of view is unknown, and zeros there would darken the rim.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import GeometryError, ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.operators.linear_map import linear_map
from medinr.operators.parts import in_parts
from medinr.operators.resolution.along_axis import AlongAxis
from medinr.units import SIGMA_PER_FWHM

#: Half width of the sampled Gaussian in standard deviations; the weight beyond is 6e-5.
TRUNCATION = 4.0

#: Pixels of the images that are blurred together.
_PART = 2**20


class _SeparablePSF(LinearOperator):
    """One banded matrix product per axis.

    That is exact in both directions, reflection included, and for a batch of feature images faster than a
    convolution.
    """

    def __init__(
        self, shape: Sequence[int], spacing: Sequence[float], widths: float | Sequence[float], width_name: str
    ) -> None:
        shape = tuple(shape)
        widths = (float(widths),) * len(shape) if isinstance(widths, int | float) else tuple(widths)
        require_per_axis("spacing", spacing, shape)
        require_per_axis(width_name, widths, shape)
        if not all(math.isfinite(s) and s > 0 for s in spacing):
            raise GeometryError(f"{self.name} wants positive voxel sizes in mm; got {tuple(spacing)}.")
        if not all(math.isfinite(w) and w >= 0 for w in widths):
            raise GeometryError(f"{self.name} wants widths of at least 0 mm; got {widths}.")
        self.spacing, self._widths = tuple(spacing), widths
        self.domain = self.range = Space(shape)
        kernels = [self._kernel(w / s) for s, w in zip(spacing, widths, strict=True)]
        self._reaches = tuple(len(kernel) // 2 for kernel in kernels)
        self.matrices = tuple(reflecting_matrix(n, kernel) for n, kernel in zip(shape, kernels, strict=True))
        self._product = AlongAxis()

    @abstractmethod
    def _kernel(self, width: float) -> Tensor:
        """Odd number of weights with sum 1, for a width in voxels."""

    def _along_axes(self, x: Tensor, transposed: bool) -> Tensor:
        for axis, (matrix, reach) in enumerate(zip(self.matrices, self._reaches, strict=True), -len(self.matrices)):
            if reach > 0:
                x = self._product(matrix, x, axis, transposed, reach)
        return x

    def _blurred(self, x: Tensor) -> Tensor:
        return self._in_parts(x, transposed=False)

    def _spread(self, y: Tensor) -> Tensor:
        return self._in_parts(y, transposed=True)

    def _in_parts(self, x: Tensor, transposed: bool) -> Tensor:
        together = _PART // math.prod(self.domain.shape)
        return in_parts(lambda part: self._along_axes(part, transposed), x, len(self.matrices), together)

    def _apply(self, x: Tensor) -> Tensor:
        return linear_map(x, self._blurred, self._spread)

    def _adjoint(self, y: Tensor) -> Tensor:
        return linear_map(y, self._spread, self._blurred)


class GaussianPSF(_SeparablePSF):
    """Separable Gaussian blur, given in millimetres.

    ``g(d) ~ exp(-d^2 / (2 sigma^2))``, ``sigma = fwhm / 2.3548``, cut off at `TRUNCATION` sigma and
    normalised to sum 1. SciPy's ``gaussian_filter(mode="reflect")`` rounds the cut-off to the nearest voxel
    where this rounds it up.

    Parameters
    ----------
    shape : sequence of int
        Image shape, such as ``(y, x)`` or ``(z, y, x)``.
    spacing : sequence of float
        Voxel size per axis in mm.
    fwhm : float or sequence of float
        Full width at half maximum per axis in mm; 0 leaves an axis as it is.

    Raises
    ------
    GeometryError
        If a spacing is not positive or a width negative.
    ShapeError
        If their number is not that of the axes.
    """

    def __init__(self, shape: Sequence[int], spacing: Sequence[float], fwhm: float | Sequence[float]) -> None:
        super().__init__(shape, spacing, fwhm, "fwhm")
        self.fwhm = self._widths

    def _kernel(self, width: float) -> Tensor:
        sigma = width * SIGMA_PER_FWHM
        if sigma == 0.0:
            return torch.ones(1, dtype=torch.float64)
        reach = max(1, math.ceil(TRUNCATION * sigma))
        weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).double().square())
        return weights / weights.sum()


class BoxPSF(_SeparablePSF):
    """Average over a box, given in millimetres: the aperture of a detector element or of a thick voxel.

    The image counts as constant within a voxel, so the weights are the lengths of the voxels inside the box:
    a width of three voxels is the mean of three, a width of two gives ``1/4 1/2 1/4``, and up to one voxel
    nothing changes. SciPy's ``uniform_filter(mode="reflect")`` agrees for odd numbers of voxels; for even
    ones it shifts the image by half a voxel.

    Parameters
    ----------
    shape : sequence of int
        Image shape, such as ``(y, x)`` or ``(z, y, x)``.
    spacing : sequence of float
        Voxel size per axis in mm.
    width : float or sequence of float
        Full width of the box per axis in mm; 0 leaves an axis as it is.

    Raises
    ------
    GeometryError
        If a spacing is not positive or a width negative.
    ShapeError
        If their number is not that of the axes.
    """

    def __init__(self, shape: Sequence[int], spacing: Sequence[float], width: float | Sequence[float]) -> None:
        super().__init__(shape, spacing, width, "width")
        self.width = self._widths

    def _kernel(self, width: float) -> Tensor:
        reach = max(0, math.ceil(0.5 * (width - 1.0)))
        distance = torch.arange(-reach, reach + 1).abs().double()
        inside = (0.5 * max(width, 1.0) + 0.5 - distance).clamp(0.0, 1.0)
        return inside / inside.sum()


class MeasuredPSF(LinearOperator):
    """Convolution with a measured point spread function of any form.

    ``y[i] = sum_j kernel[j] x[i - (j - c)]`` with the centre ``c = n // 2`` per axis: the image of a point is
    the kernel itself. It is applied through the FFT, with one transform for a whole batch. SciPy's
    ``convolve(mode="reflect")`` is the same; its ``correlate`` flips the kernel.

    Parameters
    ----------
    shape : sequence of int
        Image shape, such as ``(y, x)`` or ``(z, y, x)``.
    kernel : Tensor
        Real, as many axes as the shape, at the voxel spacing of the image; even sizes and kernels larger than
        the image are allowed. It is used as given: divide it by its sum to keep the mean of the image.

    Raises
    ------
    ShapeError
        If the kernel is complex, empty, or has another number of axes.
    GeometryError
        If it has infinite values or NaN.
    """

    def __init__(self, shape: Sequence[int], kernel: Tensor) -> None:
        shape = tuple(shape)
        if kernel.ndim != len(shape) or kernel.numel() == 0 or not kernel.is_floating_point():
            raise ShapeError(
                f"MeasuredPSF on {shape} wants a real kernel of {len(shape)} axes; "
                f"got {kernel.dtype} {tuple(kernel.shape)}."
            )
        if not bool(kernel.isfinite().all()):
            raise GeometryError("MeasuredPSF wants a finite kernel; it has NaN or infinite values.")
        self.kernel = kernel.detach().double()
        self.domain = self.range = Space(shape)
        self._padded = tuple(n + k - 1 for n, k in zip(shape, kernel.shape, strict=True))
        self._axes = tuple(range(-len(shape), 0))
        # A voxel reaches from k - 1 - c before it to c after it.
        self._sources = tuple(
            reflected(torch.arange(k // 2 - k + 1, n + k // 2), n) for n, k in zip(shape, kernel.shape, strict=True)
        )

    def _convolve(self, x: Tensor, transposed: bool) -> Tensor:
        kernel = self.kernel.to(x.real.dtype if x.is_complex() else x.dtype)
        if x.is_complex():
            transfer = torch.fft.fftn(kernel, self._padded, self._axes)
            spectrum = torch.fft.fftn(x, dim=self._axes) * (transfer.conj() if transposed else transfer)
            result: Tensor = torch.fft.ifftn(spectrum, dim=self._axes)
        else:
            transfer = torch.fft.rfftn(kernel, self._padded, self._axes)
            spectrum = torch.fft.rfftn(x, dim=self._axes) * (transfer.conj() if transposed else transfer)
            result = torch.fft.irfftn(spectrum, self._padded, self._axes)
        return result

    def _apply(self, x: Tensor) -> Tensor:
        for axis, source in zip(self._axes, self._sources, strict=True):
            x = x.index_select(axis, source)
        blurred = self._convolve(x, transposed=False)
        # The first k - 1 samples of each axis have wrapped around.
        for axis, size in zip(self._axes, self.domain.shape, strict=True):
            blurred = blurred.narrow(axis, blurred.shape[axis] - size, size)
        return blurred

    def _adjoint(self, y: Tensor) -> Tensor:
        pad = [p for k in reversed(self.kernel.shape) for p in (k - 1, 0)]
        spread = self._convolve(torch.nn.functional.pad(y, pad), transposed=True)
        for axis, (source, size) in enumerate(zip(self._sources, self.domain.shape, strict=True), self._axes[0]):
            folded = spread.new_zeros((*spread.shape[:axis], size, *spread.shape[spread.ndim + axis + 1 :]))
            spread = folded.index_add(axis, source, spread)
        return spread


def reflecting_matrix(size: int, weights: Tensor) -> Tensor:
    """Matrix (size, size) of the convolution with an odd number of weights, with reflecting borders."""
    reach = len(weights) // 2
    source = reflected(torch.arange(size)[:, None] + torch.arange(-reach, reach + 1), size)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, source, weights.expand(size, -1))


def require_per_axis(name: str, values: Sequence[float], shape: tuple[int, ...]) -> None:
    """Refuse another number of values than axes (raises `ShapeError`)."""
    if len(values) != len(shape):
        raise ShapeError(f"{name} wants one value per axis of {shape}; got {tuple(values)}.")


def reflected(index: Tensor, size: int) -> Tensor:
    """Fold indices beyond the border back, ``c b a | a b c``, as often as it takes."""
    index = index % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index)
