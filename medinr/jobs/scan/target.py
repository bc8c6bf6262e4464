"""The grid that a scan is to be brought to: finer voxels over the same field of view, or those of another scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from medinr.io.limits import require_readable_size
from medinr.jobs.scan.effect import untouched
from medinr.jobs.scan.suitable import require_slices
from medinr.solve.sharpen_grid import TargetGrid, grid_for, slice_axis
from medinr.solve.sharpen_measurement import thickness_of
from medinr.volume import Affine, Volume


@dataclass(frozen=True)
class WantedGrid:
    """What a user asks for: one of the three.

    Attributes
    ----------
    spacing : tuple of float, optional
        Of the voxels in mm: one of cubic ones, or three along (x, y, z).
    factor : tuple of float, optional
        Times finer: one for all axes, or three along (x, y, z).
    like : Volume, optional
        A scan whose grid is wanted.
    """

    spacing: tuple[float, ...] | None = None
    factor: tuple[float, ...] | None = None
    like: Volume | None = None


@dataclass(frozen=True, eq=False)
class FinerGrid:
    """Where a scan is to be brought, and how its slices were acquired.

    Attributes
    ----------
    target : TargetGrid
        On which it is solved, and the one that is wanted where that is another.
    thickness : float
        Of the slices in mm.
    """

    target: TargetGrid
    thickness: float

    @property
    def affine(self) -> Affine:
        """Of the grid that is wanted."""
        return self.target.affine if self.target.final_affine is None else self.target.final_affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the grid that is wanted."""
        return self.target.shape if self.target.final_shape is None else self.target.final_shape

    @property
    def words(self) -> str:
        """What it is, in words."""
        z, y, x = self.shape
        spacing = " x ".join(f"{mm:.2f}" for mm in np.linalg.norm(self.affine[:3, :3], axis=0))
        return f"to {x} x {y} pixels x {z} slices of {spacing} mm"

    @property
    def facts(self) -> dict[str, Any]:
        """Plain values for records."""
        return {"affine": self.affine.tolist(), "shape": list(self.shape), "thickness": self.thickness}


def plan_grid(scan: Volume, wanted: WantedGrid, thickness: float | None) -> tuple[FinerGrid, tuple[str, ...]]:
    """Give the grid that is wanted of a scan, and notes on it.

    Raises
    ------
    InputError
        When it cannot be: no axis becomes finer, one slice has nothing between slices, an impossible thickness.
    """
    target = grid_for(scan, spacing=_plain(wanted.spacing), factor=_plain(wanted.factor), like=wanted.like)
    for shape in (target.shape, target.final_shape):
        if shape is not None:
            require_readable_size(shape[::-1], "the new grid")
    require_slices(scan, target.shape[0] > scan.shape[0])
    mm, notes = slice_thickness(scan, thickness)
    return FinerGrid(target, mm), notes


def slice_thickness(scan: Volume, told: float | None) -> tuple[float, tuple[str, ...]]:
    """Give the slice thickness in mm that is told, or the header's, else the distance of the slices, with a note.

    Raises
    ------
    GeometryError
        When it cannot be one of slices at that distance.
    """
    axis = slice_axis(scan)
    found = thickness_of(scan, axis, told)
    if told is None and not (axis == 2 and scan.provenance.facts.thickness):
        return found, (
            f"the slice thickness is not known; slices are taken to be as thick as their distance, {found:.2f} mm "
            "(--slice-thickness says otherwise)",
        )
    return found, ()


def kept_on_target(
    scan: Volume, affine: Affine, shape: tuple[int, int, int], mask: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find the voxels of a grid that no prior decides.

    Returns
    -------
    blank : ndarray of bool, shape ``shape``
        Outside the field of view or blanked, with all that surrounds them; and those beyond the scan.
    masked : ndarray of bool, shape ``shape``
        Outside the mask.
    """
    blank, masked = np.empty(shape, np.bool_), np.empty(shape, np.bool_)
    # A voxel between tissue and a blanked background is both.
    outside = binary_erosion(untouched(scan), np.ones((3, 3, 3), np.bool_), border_value=1)
    index = np.linalg.solve(scan.affine, affine)
    size = np.array(scan.shape[::-1])
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in shape[1:]), indexing="ij")
    for z in range(shape[0]):
        at = np.rint(
            index[:3, 0, None, None] * x
            + index[:3, 1, None, None] * y
            + index[:3, 2:3, None] * z
            + index[:3, 3, None, None]
        ).astype(int)
        beyond = ((at < 0) | (at >= size[:, None, None])).any(axis=0)
        i, j, k = np.clip(at, 0, size[:, None, None] - 1)
        blank[z] = beyond | outside[k, j, i]
        masked[z] = False if mask is None else ~mask[k, j, i]
    return blank, masked


def _plain(values: tuple[float, ...] | None) -> float | tuple[float, ...] | None:
    return values[0] if values is not None and len(values) == 1 else values
