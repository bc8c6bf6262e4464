"""One image read on the grid of another, each with its own place and orientation in space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from medinr.errors import GeometryError, ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.operators.sparse_product import SparseProduct

#: Largest distance of a target pixel from the plane of a 2D source, in units of the source's slice spacing.
IN_PLANE = 0.01

#: Index positions are rounded to this many voxels: two affines that agree but for rounding share their voxels.
_ROUNDING = 1e-9


class AffineResampling(LinearOperator):
    """Linear interpolation of a source image at the voxel centres of a target grid.

    ``y[t] = sum_s prod_axes max(0, 1 - |i_s - s|) x[s]`` where ``i = inverse(source affine) target affine t``
    is the target voxel in the source's index coordinates. Outside the source the image is zero, reached linearly
    within one voxel beyond the outermost centres: SciPy's ``affine_transform(order=1, mode="grid-constant")``
    and ``grid_sample(padding_mode="zeros", align_corners=True)`` do the same, SciPy's ``mode="constant"`` drops
    to zero at once.

    Interpolation alone aliases when the target is coarser: blur first,
    ``AffineResampling(...) @ GaussianPSF(...)``.

    Parameters
    ----------
    source_shape, target_shape : sequence of int
        ``(z, y, x)`` each, or ``(y, x)`` each.
    source_affine, target_affine : array-like, shape (4, 4)
        Map the index ``(x, y, z, 1)`` to mm in the same (RAS) frame; a 2D image lies at index ``z = 0``.

    Raises
    ------
    GeometryError
        If an affine is not 4 x 4, not finite or singular, if the grids do not overlap, or if a 2D target
        leaves the plane of the source.
    ShapeError
        If the shapes are not both 2D or both 3D.
    """

    def __init__(
        self,
        source_shape: Sequence[int],
        source_affine: ArrayLike | Tensor,
        target_shape: Sequence[int],
        target_affine: ArrayLike | Tensor,
    ) -> None:
        source, target = tuple(source_shape), tuple(target_shape)
        if len(source) not in (2, 3) or len(source) != len(target):
            raise ShapeError(f"AffineResampling wants two shapes (y, x) or two (z, y, x); got {source} and {target}.")
        self.domain, self.range = Space(source), Space(target)
        position = _source_index(target, _affine(source_affine, "source"), _affine(target_affine, "target"))
        if len(source) == 2:
            away = float(position[0].abs().max())
            if away > IN_PLANE:
                raise GeometryError(
                    f"The 2D target leaves the plane of the source by {away:.3g} of its slice spacing. Give both "
                    "images one plane, or resample volumes."
                )
            position = position[1:]
        self.voxels, self.weights = _corners(position, source)
        if float(self.weights.sum()) == 0.0:
            raise GeometryError("The two grids do not overlap in space. Check units (mm) and the frame (RAS or LPS).")
        count = math.prod(target)
        rows = torch.arange(count).repeat(len(self.voxels))
        self._product = SparseProduct(rows, self.voxels.flatten(), self.weights.flatten(), (count, math.prod(source)))

    def _apply(self, x: Tensor) -> Tensor:
        flat = x.flatten(-len(self.domain.shape))
        image: Tensor = self._multiply(flat, transposed=False).unflatten(-1, self.range.shape)
        return image

    def _adjoint(self, y: Tensor) -> Tensor:
        flat = y.flatten(-len(self.range.shape))
        image: Tensor = self._multiply(flat, transposed=True).unflatten(-1, self.domain.shape)
        return image

    def _multiply(self, flat: Tensor, transposed: bool) -> Tensor:
        if flat.is_complex():
            return torch.complex(self._multiply(flat.real, transposed), self._multiply(flat.imag, transposed))
        if flat.device.type == "cpu" and flat.dtype in (torch.float32, torch.float64):
            return self._product(flat, transposed)
        return self._spread(flat) if transposed else self._gathered(flat)

    def _gathered(self, flat: Tensor) -> Tensor:
        """Product corner by corner, on any device."""
        weights = self.weights.to(flat.dtype)
        total = weights[0] * flat.index_select(-1, self.voxels[0])
        for voxel, weight in zip(self.voxels[1:], weights[1:], strict=True):
            total = total + weight * flat.index_select(-1, voxel)
        return total

    def _spread(self, flat: Tensor) -> Tensor:
        """Transpose of `_gathered`."""
        total = flat.new_zeros((*flat.shape[:-1], math.prod(self.domain.shape)))
        for voxel, weight in zip(self.voxels, self.weights.to(flat.dtype), strict=True):
            total = total.index_add(-1, voxel, weight * flat)
        return total


def _affine(matrix: ArrayLike | Tensor, name: str) -> Tensor:
    affine = torch.as_tensor(matrix, dtype=torch.float64).cpu()
    if tuple(affine.shape) != (4, 4):
        raise GeometryError(f"AffineResampling wants a 4 x 4 {name} affine; got shape {tuple(affine.shape)}.")
    if not bool(affine.isfinite().all()) or abs(float(torch.linalg.det(affine[:3, :3]))) < 1e-9:
        raise GeometryError(f"The {name} affine is not finite, or singular: {affine.tolist()}.")
    return affine


def _source_index(shape: tuple[int, ...], source: Tensor, target: Tensor) -> Tensor:
    """Source index ``(z, y, x)`` of every target voxel, shape (3, voxels)."""
    axes = [torch.arange(n, dtype=torch.float64) for n in shape]
    grid = torch.meshgrid(*axes, indexing="ij")
    zyx = grid if len(shape) == 3 else (torch.zeros_like(grid[0]), *grid)
    homogeneous = torch.stack([*reversed(zyx), torch.ones_like(zyx[0])]).flatten(1)
    index = torch.linalg.solve(source, target @ homogeneous)[:3].flip(0)
    nearest = index.round()
    return torch.where((index - nearest).abs() < _ROUNDING, nearest, index)


def _corners(position: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Flat source voxel and weight of each corner around each position, shapes (2^axes, voxels)."""
    below = position.floor()
    fraction = position - below
    voxels, weights = [], []
    for corner in itertools.product((0, 1), repeat=len(shape)):
        voxel = torch.zeros(position.shape[1], dtype=torch.int64)
        weight = torch.ones(position.shape[1], dtype=torch.float64)
        for axis, (size, upper) in enumerate(zip(shape, corner, strict=True)):
            index = below[axis] + upper
            inside = (index >= 0) & (index < size)
            weight = weight * torch.where(inside, fraction[axis] if upper else 1.0 - fraction[axis], 0.0)
            voxel = voxel * size + index.clamp(0, size - 1).long()
        voxels.append(voxel)
        weights.append(weight)
    return torch.stack(voxels), torch.stack(weights)
