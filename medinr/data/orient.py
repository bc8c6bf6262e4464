"""Standard radiological orientation of scans, by permuting and flipping axes only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.errors import GeometryError
from medinr.io.grid import onto_grid, reorder
from medinr.volume import THICKEST, Volume

#: Directions of x, y and the slice axis, by slice plane: as viewers show them, slices in the order of DICOM.
#: Axial: x to the patient's left, y to posterior, slices to superior.
STANDARD_AXES = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIR"}

_RAS = {
    "R": (1, 0, 0),
    "L": (-1, 0, 0),
    "A": (0, 1, 0),
    "P": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}


def standard_orientation(volume: Volume) -> Volume:
    """Reorient a scan to the standard orientation of its slice plane; slices stay slices, no value changes.

    Parameters
    ----------
    volume : Volume
        Of any orientation; for oblique ones the nearest axes are used.

    Returns
    -------
    Volume
        Axes as in `STANDARD_AXES` for its slice plane; every voxel keeps its position in the patient.
    """
    return reorder(volume, _moves(volume))


def across_slices(volume: Volume, name: str = "the scan") -> Volume:
    """Reformat an axial or coronal scan across its slices: the rows of the new slices run through the old ones.

    Through-plane resolution then is one of the two in-plane axes, as models trained on slices need it.

    Parameters
    ----------
    volume : Volume
    name : str
        For errors.

    Returns
    -------
    Volume
        The same voxels; coronal where the scan was axial, axial where it was coronal.

    Raises
    ------
    GeometryError
        When the slices are sagittal, or much further apart than pixels, so that there is no reference of thin slices.
    """
    x, y, z = volume.spacing
    if volume.plane == "sagittal":
        raise GeometryError(f"{name}: sagittal slices are not cut across. Choose an axial or coronal scan.")
    if z > THICKEST * min(x, y):
        raise GeometryError(
            f"{name}: slices are {z:.2f} mm apart and pixels {min(x, y):.2f} mm wide. Through-plane resolution is "
            f"simulated from nearly cubic voxels (at most {THICKEST:g} times as thick as wide); choose another scan."
        )
    affine = volume.affine[:, [0, 2, 1, 3]]
    array: Any = np.ascontiguousarray(volume.array.transpose(1, 0, 2))
    return replace(volume, array=array, affine=affine, provenance=volume.provenance.cut_anew())


def restore_orientation(volume: Volume, like: Volume) -> Volume:
    """Return a result in the voxel order of the scan it came from (inverse of `standard_orientation`).

    Parameters
    ----------
    volume : Volume
        On the voxels of `like`, in any order.
    like : Volume
        The scan as it was read.

    Returns
    -------
    Volume
        Affine and source files those of `like`.

    Raises
    ------
    GeometryError
        When the two do not hold the same points.
    """
    back = onto_grid(volume, like.affine, like.shape, "the scan it came from")
    own = like.provenance
    provenance = replace(back.provenance, files=own.files, frames=own.frames, in_slice_order=own.in_slice_order)
    return replace(back, provenance=provenance)


def _moves(volume: Volume) -> NDArray[np.int_]:
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    wanted = np.array([_RAS[letter] for letter in STANDARD_AXES[volume.plane]]).T
    # Entry (i, j): how far old axis i runs along new axis j.
    along = directions.T @ wanted
    straight = abs(along[0, 0]) + abs(along[1, 1])
    swapped = abs(along[0, 1]) + abs(along[1, 0])
    pairs = ((0, 0), (1, 1), (2, 2)) if straight >= swapped else ((0, 1), (1, 0), (2, 2))
    moves = np.zeros((3, 3), dtype=int)
    for old, new in pairs:
        moves[old, new] = 1 if along[old, new] >= 0 else -1
    return moves
