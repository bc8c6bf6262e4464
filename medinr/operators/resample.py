"""Low resolution: the point spread of large voxels, and the coarse grid they are read on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from medinr.errors import GeometryError, ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.units import SIGMA_PER_FWHM

#: Half width of the sampled Gaussian in standard deviations; what is cut off weighs 6e-5.
TRUNCATION = 4.0


class GaussianPSF(LinearOperator):
    """Separable Gaussian blur, given in millimetres.

    ``g(d) ~ exp(-d^2 / (2 sigma^2))``, ``sigma = fwhm / 2.3548``, cut off at `TRUNCATION` sigma and
    normalised to sum 1. At the border the image is continued by reflection (half-sample symmetric, ``c b a |
    a b c``): what lies beyond the field of view is unknown, and zeros there would darken the rim.

    Each axis is one small matrix product. That is exact in both directions, reflection included, and for a
    batch of feature images faster than a convolution.

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
        shape = tuple(shape)
        widths = (float(fwhm),) * len(shape) if isinstance(fwhm, int | float) else tuple(fwhm)
        _require_per_axis("spacing", spacing, shape)
        _require_per_axis("fwhm", widths, shape)
        if not all(math.isfinite(s) and s > 0 for s in spacing):
            raise GeometryError(f"GaussianPSF wants positive voxel sizes in mm; got {tuple(spacing)}.")
        if not all(math.isfinite(w) and w >= 0 for w in widths):
            raise GeometryError(f"GaussianPSF wants widths of at least 0 mm; got {widths}.")
        self.spacing, self.fwhm = tuple(spacing), widths
        self.domain = self.range = Space(shape)
        self.matrices = tuple(
            _blur_matrix(n, w * SIGMA_PER_FWHM / s) for n, s, w in zip(shape, spacing, widths, strict=True)
        )

    def _along_axes(self, x: Tensor, transposed: bool) -> Tensor:
        for axis, matrix in enumerate(self.matrices, start=-len(self.matrices)):
            if self.fwhm[axis] > 0:
                x = _multiply((matrix.T if transposed else matrix).to(x), x, axis)
        return x

    def _apply(self, x: Tensor) -> Tensor:
        return self._along_axes(x, transposed=False)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._along_axes(y, transposed=True)


class Decimation(LinearOperator):
    """Read an image on a coarser grid: every ``factor``-th voxel per axis.

    An axis of ``n`` voxels keeps ``n // factor`` of them, those at ``offset + factor i``, with the offset
    that centres them: ``(n - 1 - factor (n // factor - 1)) // 2``, rounded down where no voxel is in the
    middle.

    Parameters
    ----------
    shape : sequence of int
        Fine image shape, such as ``(y, x)`` or ``(z, y, x)``.
    factor : int or sequence of int
        Per axis, at least 1.

    Raises
    ------
    ShapeError
        If a factor is below 1 or above its axis.
    """

    def __init__(self, shape: Sequence[int], factor: int | Sequence[int]) -> None:
        shape = tuple(shape)
        factors = (factor,) * len(shape) if isinstance(factor, int) else tuple(factor)
        _require_per_axis("factor", factors, shape)
        if not all(isinstance(f, int) and 1 <= f <= n for n, f in zip(shape, factors, strict=True)):
            raise ShapeError(f"Decimation of {shape} wants whole factors between 1 and the axis; got {factors}.")
        coarse = tuple(n // f for n, f in zip(shape, factors, strict=True))
        self.factor = factors
        self.offset = tuple((n - 1 - f * (m - 1)) // 2 for n, m, f in zip(shape, coarse, factors, strict=True))
        self.domain, self.range = Space(shape), Space(coarse)

    def _kept(self, fine: Tensor) -> Tensor:
        """View of the voxels that the coarse grid keeps."""
        axes = zip(self.offset, self.factor, self.range.shape, strict=True)
        for axis, (offset, factor, size) in enumerate(axes, start=-len(self.factor)):
            moved = fine.movedim(axis, -1)[..., offset : offset + factor * (size - 1) + 1 : factor]
            fine = moved.movedim(-1, axis)
        return fine

    def _apply(self, x: Tensor) -> Tensor:
        return self._kept(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        fine = y.new_zeros((*y.shape[: y.ndim - len(self.range.shape)], *self.domain.shape))
        self._kept(fine).copy_(y)
        return fine


def downsampling(shape: Sequence[int], spacing: Sequence[float], factor: int | Sequence[int]) -> LinearOperator:
    """Low-resolution acquisition: ``Decimation @ GaussianPSF`` with a width of one coarse voxel.

    Parameters
    ----------
    shape : sequence of int
        Fine image shape.
    spacing : sequence of float
        Fine voxel size per axis in mm.
    factor : int or sequence of int
        Coarse voxels per fine voxel size; an axis of factor 1 is not blurred.

    Returns
    -------
    LinearOperator
        ``shape -> coarse shape``.

    Raises
    ------
    ShapeError, GeometryError
        As `GaussianPSF` and `Decimation`.
    """
    decimation = Decimation(shape, factor)
    _require_per_axis("spacing", spacing, tuple(shape))
    fwhm = [s * f if f > 1 else 0.0 for s, f in zip(spacing, decimation.factor, strict=True)]
    return decimation @ GaussianPSF(shape, spacing, fwhm)


def decimated_affine(affine: ArrayLike | Tensor, decimation: Decimation) -> Tensor:
    """Affine of the coarse grid, on which every kept voxel centre stays where it is in space.

    ``coarse = fine @ [diag(factor) | offset]``

    Parameters
    ----------
    affine : array-like, shape (4, 4)
        Maps the fine index ``(x, y, z, 1)`` to mm.
    decimation : Decimation
        On ``(y, x)`` or ``(z, y, x)``.

    Returns
    -------
    Tensor, shape (4, 4), float64
        Maps the coarse index ``(x, y, z, 1)`` to mm.

    Raises
    ------
    GeometryError
        If the affine is not 4 x 4.
    """
    fine = torch.as_tensor(affine, dtype=torch.float64)
    if tuple(fine.shape) != (4, 4):
        raise GeometryError(f"decimated_affine wants a 4 x 4 affine; got shape {tuple(fine.shape)}.")
    step = torch.eye(4, dtype=torch.float64)
    for axis, (factor, offset) in enumerate(zip(reversed(decimation.factor), reversed(decimation.offset), strict=True)):
        step[axis, axis], step[axis, 3] = factor, offset
    return fine @ step


def _blur_matrix(size: int, sigma: float) -> Tensor:
    """Matrix (size, size) of the Gaussian with ``sigma`` in voxels and reflecting borders; rows sum to 1."""
    if sigma == 0.0:
        return torch.eye(size, dtype=torch.float64)
    reach = max(1, math.ceil(TRUNCATION * sigma))
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets / sigma).double().square())
    weights = weights / weights.sum()
    source = (torch.arange(size)[:, None] + offsets) % (2 * size)
    source = torch.minimum(source, 2 * size - 1 - source)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, source, weights.expand(size, -1))


def _multiply(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    if axis == -1:
        return x @ matrix.T
    return (matrix @ x.movedim(axis, -2)).movedim(-2, axis)


def _require_per_axis(name: str, values: Sequence[float], shape: tuple[int, ...]) -> None:
    if len(values) != len(shape):
        raise ShapeError(f"{name} wants one value per axis of {shape}; got {tuple(values)}.")
