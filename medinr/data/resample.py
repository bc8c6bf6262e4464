"""A scan on another grid: isotropic voxels, or the grid of another scan."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter, spline_filter

from medinr.errors import GeometryError
from medinr.io.limits import require_readable_size
from medinr.io.padding import HU_FLOOR
from medinr.units import SIGMA_PER_FWHM
from medinr.volume import Affine, Volume

#: Voxels by which `continued_onto` continues a scan before it is interpolated.
_CONTINUED = 2

#: Rounding of positions, in voxels.
_ROUNDING = 1e-6

#: Axes whose spacing already is the wanted one to within this share are not smoothed.
_SAME_SPACING = 1e-3


def isotropic(volume: Volume, spacing: float | None = None) -> Volume:
    """Resample a scan to cubic voxels over the same field of view, its axes kept.

    Parameters
    ----------
    volume : Volume
    spacing : float, optional
        Edge of the voxels in mm; by default the scan's smallest spacing.

    Returns
    -------
    Volume
        By cubic splines (see `onto_scan`); the outer faces of the voxels stay to within half a new voxel.

    Raises
    ------
    GeometryError
        When the spacing is not above 0.
    FileError
        When the new grid is larger than any scan that is read.
    """
    size = min(volume.spacing) if spacing is None else spacing
    if not size > 0:
        raise GeometryError(f"Voxels of {size:g} mm were asked for; more than 0 is wanted.")
    counts = [
        max(1, round(count * old / size)) for count, old in zip(reversed(volume.shape), volume.spacing, strict=True)
    ]
    affine = volume.affine.copy()
    affine[:3, :3] *= size / np.array(volume.spacing)
    middle = np.array([(count - 1) / 2 for count in reversed(volume.shape)])
    new_middle = np.array([(count - 1) / 2 for count in counts])
    affine[:3, 3] = (volume.affine[:3, :3] @ middle + volume.affine[:3, 3]) - affine[:3, :3] @ new_middle
    return _onto(volume, affine, (counts[2], counts[1], counts[0]))


def onto_scan(volume: Volume, other: Volume) -> Volume:
    """Resample a scan to the grid of another, by their positions in the patient; nothing is registered.

    Cubic splines, after smoothing by the Gaussian whose full width at half maximum makes the old voxel as wide as the
    new one where the new grid is coarser. Values stay within the range of the scan. Outside the scan is 0, or
    `medinr.io.padding.HU_FLOOR` in HU.

    Parameters
    ----------
    volume : Volume
    other : Volume
        Its grid is used, not its values.

    Returns
    -------
    Volume
        With the provenance of `volume` and a note.

    Raises
    ------
    GeometryError
        When the two scans do not overlap at all.
    """
    result = _onto(volume, other.affine, other.shape)
    ends = np.array(np.meshgrid(*[(0.0, size - 1.0) for size in reversed(other.shape)], [1.0])).reshape(4, -1)
    inside = np.linalg.solve(volume.affine, other.affine @ ends)[:3]
    sizes = np.array(volume.shape[::-1])[:, None]
    if (inside.max(axis=1) < -0.5).any() or (inside.min(axis=1) > sizes[:, 0] - 0.5).any():
        raise GeometryError("The two scans do not overlap: their positions are of different patients or visits.")
    return result


def continued_onto(volume: Volume, affine: Affine, shape: tuple[int, int, int]) -> Volume:
    """Bring a scan to a grid by cubic splines, continued beyond its outermost voxels by the nearest.

    Parameters
    ----------
    volume : Volume
    affine : ndarray, shape (4, 4)
        Of the grid.
    shape : tuple of int
        Of the grid, (z, y, x). It may extend a little further than the scan, where values mean nothing.

    Returns
    -------
    Volume
        See `onto_scan`.
    """
    moved = volume.affine.copy()
    moved[:3, 3] -= volume.affine[:3, :3].sum(axis=1) * _CONTINUED
    padded: Any = np.pad(volume.array, _CONTINUED, mode="edge")
    grid = replace(volume, array=np.broadcast_to(np.float32(0), shape), affine=affine)
    return onto_scan(replace(volume, array=padded, affine=moved, provenance=volume.provenance.cut_anew()), grid)


def _onto(volume: Volume, affine: Affine, shape: tuple[int, int, int]) -> Volume:
    require_readable_size(shape[::-1], "the new grid")
    outside = HU_FLOOR if volume.unit == "HU" else 0.0
    index = np.linalg.solve(volume.affine, affine)
    values: NDArray[np.float32] | NDArray[np.complex64]
    if np.iscomplexobj(volume.array):
        parts = [_resampled(part, index, shape, 0.0) for part in (volume.array.real, volume.array.imag)]
        values = (parts[0] + 1j * parts[1]).astype(np.complex64)
    else:
        values = _resampled(volume.array, index, shape, outside)
    note = f"resampled from {_size(volume.spacing)} to {_size(tuple(np.linalg.norm(affine[:3, :3], axis=0)))} voxels"
    provenance = replace(volume.provenance.cut_anew(), notes=(*volume.provenance.notes, note))
    return replace(volume, array=values, affine=affine, provenance=provenance)


def _resampled(
    values: Any,
    index: NDArray[Any],
    shape: tuple[int, int, int],
    outside: float,
) -> NDArray[np.float32]:
    # The widest step along each old axis decides on smoothing; arrays count (z, y, x).
    steps = np.abs(index[:3, :3]).max(axis=1)[::-1]
    sigma = [SIGMA_PER_FWHM * math.sqrt(max(step**2 - 1, 0.0)) if step > 1 + _SAME_SPACING else 0.0 for step in steps]
    if any(sigma):
        values = gaussian_filter(values, sigma)
    low, high = float(values.min()), float(values.max())
    splines = spline_filter(values, order=3, output=np.float32, mode="mirror")
    found = affine_transform(
        splines,
        index[2::-1, 2::-1],
        index[2::-1, 3],
        shape,
        output=np.float32,
        order=3,
        mode="mirror",
        prefilter=False,
    )
    np.clip(found, low, high, out=found)
    for number, plane in enumerate(found):
        plane[~_within(index, number, shape, values.shape)] = outside
    return np.asarray(found, dtype=np.float32)


def _within(index: NDArray[Any], number: int, shape: tuple[int, int, int], old: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which voxels of a new slice have their centre in a voxel of the old grid, to its outer faces; shape (y, x)."""
    y, x = np.arange(shape[1])[:, None], np.arange(shape[2])
    inside = np.ones(shape[1:], np.bool_)
    for row, size in zip(index[:3], reversed(old), strict=True):
        position = row[0] * x + row[1] * y + (row[2] * number + row[3])
        inside &= (position >= -0.5 - _ROUNDING) & (position <= size - 0.5 + _ROUNDING)
    return inside


def _size(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{mm:.2f}" for mm in spacing) + " mm"
