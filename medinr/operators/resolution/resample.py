"""Low resolution: decimation to a coarse grid, and its affine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from medinr.errors import GeometryError, ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.operators.resolution.blur import GaussianPSF, require_per_axis


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
        require_per_axis("factor", factors, shape)
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
    require_per_axis("spacing", spacing, tuple(shape))
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
