"""A scan as it was acquired, of a fine volume: voxels of any size and distance along every axis, placed by affines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from medinr.errors import ConfigError, GeometryError, ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.operators.linear_map import linear_map
from medinr.operators.resolution.along_axis import AlongAxis
from medinr.operators.resolution.slice_profile import SliceProfile

#: Voxels by which two grids may be apart anywhere and still count as parallel, or as the same.
_SAME = 1e-3


class ScanSampling(LinearOperator):
    """Measure a fine volume on the grid of a scan.

    ``y = (W_z x W_y x W_x) x``: along each axis a voxel of the scan is the integral of the fine volume over the
    voxel's profile, normalised to weights of sum 1 (see `SliceProfile`, which makes the matrices). Ratios need not be
    whole. Voxels that are thinner than their distance leave gaps, thicker ones overlap.

    ``(..., z, y, x) -> (..., slices, rows, columns)``

    Parameters
    ----------
    fine_shape : sequence of int
        ``(z, y, x)`` of the fine grid.
    fine_affine : array-like, shape (4, 4)
        Maps the fine index ``(x, y, z, 1)`` to mm.
    shape : sequence of int
        ``(z, y, x)`` of the scan.
    affine : array-like, shape (4, 4)
        Of the scan. Its axes are those of the fine grid, in order and direction.
    widths : sequence of (float or None)
        Full width at half maximum of the profile in mm, along (z, y, x). None: nothing happens along an axis where
        the two grids are the same; elsewhere the voxel is as wide as the distance of the voxels.
    profile : {"gaussian", "rect"}

    Attributes
    ----------
    matrices : tuple of Tensor, shapes (voxels of the scan, fine voxels), float64
        Along (z, y, x).
    measured : tuple of bool
        Along (z, y, x): whether the matrix is another than the identity.

    Raises
    ------
    ShapeError
        If a shape is not (z, y, x).
    GeometryError
        If the axes are not parallel, a voxel of the scan has its centre outside the fine grid, or a width is not
        positive.
    ConfigError
        If the profile is unknown, or there are not three widths.
    """

    def __init__(
        self,
        fine_shape: Sequence[int],
        fine_affine: ArrayLike | Tensor,
        shape: Sequence[int],
        affine: ArrayLike | Tensor,
        widths: Sequence[float | None] = (None, None, None),
        profile: str = "gaussian",
    ) -> None:
        fine_shape, shape = tuple(fine_shape), tuple(shape)
        for name, sizes in (("fine volume", fine_shape), ("scan", shape)):
            if len(sizes) != 3 or min(sizes) < 1:
                raise ShapeError(f"ScanSampling wants the shape (z, y, x) of the {name}; got {sizes}.")
        if len(widths) != 3:
            raise ConfigError(f"ScanSampling wants three widths, along (z, y, x); got {len(widths)}.")
        fine = _affine(fine_affine)
        steps, offsets = _places(fine, _affine(affine), shape)
        spacing = torch.linalg.vector_norm(fine[:3, :3], dim=0).flip(0).tolist()
        parts = [
            _along("zyx"[k], fine_shape[k], shape[k], spacing[k], steps[k], offsets[k], widths[k], profile)
            for k in range(3)
        ]
        self.matrices = tuple(matrix for matrix, _ in parts)
        self.measured = tuple(measured for _, measured in parts)
        self.domain, self.range = Space(fine_shape), Space(shape)
        # The axis that loses most voxels first: what follows has less to do.
        ratios = [rows / columns for rows, columns in zip(shape, fine_shape, strict=True)]
        self._order = [axis for axis in sorted(range(3), key=lambda axis: ratios[axis]) if self.measured[axis]]
        self._product = AlongAxis()

    def _apply(self, x: Tensor) -> Tensor:
        return linear_map(x, self._measure, self._spread)

    def _adjoint(self, y: Tensor) -> Tensor:
        return linear_map(y, self._spread, self._measure)

    def _measure(self, x: Tensor) -> Tensor:
        for axis in self._order:
            x = self._product(self.matrices[axis], x, axis - 3, transposed=False)
        return x

    def _spread(self, y: Tensor) -> Tensor:
        for axis in reversed(self._order):
            y = self._product(self.matrices[axis], y, axis - 3, transposed=True)
        return y


def _affine(given: ArrayLike | Tensor) -> Tensor:
    affine = torch.as_tensor(given, dtype=torch.float64)
    if tuple(affine.shape) != (4, 4) or not bool(affine.isfinite().all()) or float(affine[:3, :3].det()) == 0:
        raise GeometryError(f"ScanSampling wants finite, invertible 4 x 4 affines in mm; got {affine.tolist()}.")
    return affine


def _places(fine: Tensor, affine: Tensor, shape: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """Step and first position of the scan's voxels in fine voxels, along (z, y, x)."""
    index = torch.linalg.solve(fine, affine)
    steps = index.diagonal()[:3]
    # How far the last voxel along each axis strays sideways, in fine voxels.
    astray = (index[:3, :3] - steps.diag()).abs() @ torch.tensor(shape[::-1], dtype=torch.float64)
    if float(astray.max()) > _SAME or float(steps.min()) <= 0:
        raise GeometryError(
            "ScanSampling wants a fine grid along the axes of the scan, in the same order and direction; one fine "
            f"index per index of the scan is {[[round(float(v), 4) for v in row] for row in index[:3, :3]]}."
        )
    return steps.flip(0).tolist(), index[:3, 3].flip(0).tolist()


def _along(
    name: str, fine: int, count: int, spacing: float, step: float, offset: float, width: float | None, profile: str
) -> tuple[Tensor, bool]:
    """Matrix of one axis, and whether it is another than the identity."""
    if width is None:
        last = offset + step * (count - 1)
        if fine == count and max(abs(offset), abs(last - (count - 1))) < _SAME:
            return torch.eye(count, dtype=torch.float64), False
        width = step * spacing
    if not (math.isfinite(width) and width > 0):
        raise GeometryError(f"ScanSampling wants a positive width along {name} in mm; got {width}.")
    first, last = offset, offset + step * (count - 1)
    if first < -0.5 - _SAME or last > fine - 0.5 + _SAME:
        raise GeometryError(
            f"Along {name} the scan has voxel centres from {first:.3f} to {last:.3f}, counted in fine voxels, and the "
            f"fine grid reaches from -0.5 to {fine - 0.5:g}. Choose a fine grid that covers the scan."
        )
    made = SliceProfile(
        (fine, 1, 1), spacing, width, step * spacing, profile, slices=count, first=_inside(offset, spacing)
    )
    return made.matrix, True


def _inside(offset: float, spacing: float) -> float:
    """Position of the first voxel in mm; rounding must not put it before the first face."""
    return max(offset, -0.5) * spacing
