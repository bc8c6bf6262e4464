"""Resampling of one image to the grid of another, each with its own position and orientation in space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from medinr.errors import GeometryError, ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.operators.compiling import loops_take
from medinr.operators.linear_map import linear_map

if TYPE_CHECKING:
    from medinr.operators.resolution.interpolation_compiled import CompiledInterpolation

#: Largest distance of a target pixel from the plane of a 2D source, in units of the source's slice spacing.
IN_PLANE = 0.01

#: Steps are rounded to this many voxels: two affines that agree but for rounding share their voxels.
_ROUNDING = 1e-11

#: Voxels of the target below which plain torch is as quick as a compiled loop.
_SMALL = 4096


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

    Attributes
    ----------
    matrix : Tensor, shape (4, 4), float64
        Maps the index ``(x, y, z, 1)`` of the target to that of the source.

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
        matrix = torch.linalg.solve(_affine(source_affine, "source"), _affine(target_affine, "target"))
        self.matrix = torch.where((matrix - matrix.round()).abs() < _ROUNDING, matrix.round(), matrix)
        # Positions are computed on the processor, on whatever device the operator is.
        self._origin, self._steps = self.matrix.numpy()[2::-1, 3].copy(), self.matrix.numpy()[2::-1, 2::-1].copy()
        position = self._positions()
        if len(source) == 2:
            away = float(position[0].abs().max())
            if away > IN_PLANE:
                raise GeometryError(
                    f"The 2D target leaves the plane of the source by {away:.3g} of its slice spacing. Give both "
                    "images one plane, or resample volumes."
                )
            self._origin[0] = self._steps[0] = 0.0
            position = position[1:]
        size = torch.tensor(source)[:, None]
        if not bool(((position > -1) & (position < size)).all(0).any()):
            raise GeometryError("The two grids do not overlap in space. Check units (mm) and the frame (RAS or LPS).")
        self._ready: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, object]:
        # What is prepared is cheaper to make again than to send to another process.
        return {**vars(self), "_ready": {}}

    def _apply(self, x: Tensor) -> Tensor:
        if x.is_complex():
            return torch.complex(self._apply(x.real), self._apply(x.imag))
        if self._is_compiled(x):
            return linear_map(x, self._compiled.forward, self._compiled.backward)
        flat = self._gathered(x.flatten(-len(self.domain.shape)))
        return flat.reshape(*flat.shape[:-1], *self.range.shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        if y.is_complex():
            return torch.complex(self._adjoint(y.real), self._adjoint(y.imag))
        if self._is_compiled(y):
            return linear_map(y, self._compiled.backward, self._compiled.forward)
        flat = self._spread(y.flatten(-len(self.range.shape)))
        return flat.reshape(*flat.shape[:-1], *self.domain.shape)

    def _is_compiled(self, value: Tensor) -> bool:
        return math.prod(self.range.shape) >= _SMALL and loops_take(value)

    @property
    def _compiled(self) -> CompiledInterpolation:
        if "compiled" not in self._ready:
            from medinr.operators.resolution.interpolation_compiled import CompiledInterpolation

            shapes = (self.domain.shape, self.range.shape)
            self._ready["compiled"] = CompiledInterpolation(*shapes, self._origin, self._steps)
        way: CompiledInterpolation = self._ready["compiled"]
        return way

    def _positions(self) -> Tensor:
        """Source index ``(z, y, x)`` of every target voxel, shape (3, voxels)."""
        axes = [torch.arange(n, dtype=torch.float64) for n in (1, *self.range.shape)[-3:]]
        index = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
        return torch.from_numpy(self._steps) @ index + torch.from_numpy(self._origin)[:, None]

    def _corners(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Flat source voxels and weights of the corners around each place, each of shape (2^axes, target voxels)."""
        where = str(like.device)
        if where not in self._ready:
            position = self._positions()[3 - len(self.domain.shape) :]
            self._ready[where] = tuple(part.to(like.device) for part in _corners(position, self.domain.shape))
        voxels, weights = self._ready[where]
        return voxels, weights.to(like)

    def _gathered(self, flat: Tensor) -> Tensor:
        """Read corner by corner, on any device."""
        voxels, weights = self._corners(flat)
        total = weights[0] * flat.index_select(-1, voxels[0])
        for voxel, weight in zip(voxels[1:], weights[1:], strict=True):
            total = total + weight * flat.index_select(-1, voxel)
        return total

    def _spread(self, flat: Tensor) -> Tensor:
        """Transpose of `_gathered`."""
        total = flat.new_zeros((*flat.shape[:-1], math.prod(self.domain.shape)))
        for voxel, weight in zip(*self._corners(flat), strict=True):
            total = total.index_add(-1, voxel, weight * flat)
        return total


def _affine(matrix: ArrayLike | Tensor, name: str) -> Tensor:
    affine = torch.as_tensor(matrix, dtype=torch.float64).cpu()
    if tuple(affine.shape) != (4, 4):
        raise GeometryError(f"AffineResampling wants a 4 x 4 {name} affine; got shape {tuple(affine.shape)}.")
    if not bool(affine.isfinite().all()) or abs(float(torch.linalg.det(affine[:3, :3]))) < 1e-9:
        raise GeometryError(f"The {name} affine is not finite, or singular: {affine.tolist()}.")
    return affine


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
