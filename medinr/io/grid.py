"""The same voxels in another order: in-plane axes swapped, any axis flipped, nothing resampled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.errors import GeometryError
from medinr.volume import Affine, Volume

#: Two grids are one when no corner voxel of one lies further from its counterpart than this (mm).
SAME_GRID_MM = 1e-2


def reorder(volume: Volume, moves: NDArray[np.int_]) -> Volume:
    """Swap and flip voxel axes; every voxel stays where it is in the patient, slices stay slices.

    Parameters
    ----------
    volume : Volume
    moves : ndarray of int, shape (3, 3)
        Signed permutation of (x, y, z): column j gives the old axis along which the new axis j runs, and its
        direction. The last axis, along which slices are stacked, may be flipped but not swapped.

    Returns
    -------
    Volume
        Source files are reversed with the slices.

    Raises
    ------
    GeometryError
        When `moves` is no signed permutation that keeps the slices.
    """
    size = np.abs(moves)
    if not (size.sum(axis=0) == 1).all() or not (size.sum(axis=1) == 1).all() or size[2, 2] != 1:
        raise GeometryError(f"Axes can be swapped in-plane and flipped; {moves.tolist()} asks for more.")
    old_axis = [int(np.flatnonzero(column)[0]) for column in moves.T]
    # Arrays count their axes backwards, (z, y, x), so new array axis k holds spatial axis 2 - k.
    array: Any = volume.array.transpose([2 - old_axis[2 - axis] for axis in range(3)])
    array = np.flip(array, tuple(axis for axis in range(3) if moves[:, 2 - axis].sum() < 0))
    to_old = np.eye(4)
    to_old[:3, :3] = moves
    to_old[:3, 3] = [
        count - 1 if row.sum() < 0 else 0 for row, count in zip(moves, reversed(volume.shape), strict=True)
    ]
    count = volume.shape[0]
    order = range(count)[::-1] if moves[2, 2] < 0 else range(count)
    return replace(
        volume,
        array=np.ascontiguousarray(array),
        affine=volume.affine @ to_old,
        provenance=volume.provenance.of_slices(order, count),
    )


def onto_grid(volume: Volume, affine: Affine, shape: tuple[int, int, int], name: str) -> Volume:
    """Return the volume in the voxel order of another grid over the same points.

    Parameters
    ----------
    volume : Volume
    affine : ndarray, shape (4, 4)
        Of the wanted grid, RAS mm.
    shape : tuple of int
        Of the wanted grid, (z, y, x).
    name : str
        Of the grid, for errors.

    Raises
    ------
    GeometryError
        When the two grids do not hold the same points.
    """
    moves = np.rint(np.linalg.solve(volume.affine, affine)[:3, :3]).astype(int)
    try:
        moved = reorder(volume, moves)
    except GeometryError:
        moved = None
    if moved is None or moved.shape != shape or _apart(moved.affine, affine, shape) > SAME_GRID_MM:
        z, y, x = volume.shape
        raise GeometryError(
            f"A volume of {x} x {y} pixels x {z} slices does not lie on the voxels of {name} "
            f"({shape[2]} x {shape[1]} x {shape[0]}). Only results on the scan's own voxels "
            "can go back; write NIfTI for others."
        )
    return replace(moved, affine=affine)


def _apart(a: Affine, b: Affine, shape: tuple[int, int, int]) -> float:
    ends = [(0.0, size - 1.0) for size in reversed(shape)]
    corners = np.array(np.meshgrid(*ends, [1.0])).reshape(4, -1)
    return float(np.linalg.norm(((a - b) @ corners)[:3], axis=0).max())
