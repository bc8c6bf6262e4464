"""Gantry tilt: slices that are sheared against each other, resampled to a straight stack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift

from medinr.errors import FileError
from medinr.io.limits import require_readable_size
from medinr.volume import Affine

#: A stack is not made larger than this many times its matrix: beyond, the slices hardly overlap.
_MOST_GROWTH = 3.0

#: Pixels by which positions may be rounded without the matrix growing for them.
_ROUNDING = 1e-3


def straighten(array: NDArray[np.float32], affine: Affine, outside: float) -> tuple[NDArray[np.float32], Affine]:
    """Shift every slice within its plane, so that the stacking direction is the slice normal.

    Linear interpolation within slices; the slices themselves and their thickness stay. The matrix grows so that no
    pixel is lost.

    Parameters
    ----------
    array : ndarray, shape (z, y, x), float32
    affine : ndarray, shape (4, 4)
        Sheared: its third column is not along the slice normal.
    outside : float
        Value of new pixels.

    Returns
    -------
    array : ndarray, shape (z, y', x'), float32
    affine : ndarray, shape (4, 4)
        Straight; every voxel of the tissue stays where it was.

    Raises
    ------
    FileError
        When the stack leans so far that its slices hardly overlap.
    """
    x, y, step = affine[:3, 0], affine[:3, 1], affine[:3, 2]
    along = np.cross(x, y)
    along *= np.sign(along @ step) / np.linalg.norm(along)
    # Pixels by which each slice lies further along x and y than the one before.
    lean = np.array([step @ x / (x @ x), step @ y / (y @ y)])
    offsets = lean * np.arange(len(array))[:, None]
    low = np.floor(offsets.min(axis=0) + _ROUNDING).astype(int)
    growth = np.ceil(offsets.max(axis=0) - _ROUNDING).astype(int) - low
    rows, columns = array.shape[1] + int(growth[1]), array.shape[2] + int(growth[0])
    if rows > _MOST_GROWTH * array.shape[1] or columns > _MOST_GROWTH * array.shape[2]:
        raise FileError("The stack leans so far that its slices hardly overlap. Is its geometry right?")
    require_readable_size((columns, rows, len(array)), "the straightened stack")
    result = np.full((len(array), rows, columns), outside, dtype=np.float32)
    for number, plane in enumerate(array):
        result[number, : array.shape[1], : array.shape[2]] = plane
        moved = offsets[number] - low
        result[number] = shift(result[number], moved[::-1], order=1, mode="grid-constant", cval=outside)
    straight = affine.copy()
    straight[:3, 2] = along * (step @ along)
    straight[:3, 3] = affine[:3, 3] + low[0] * x + low[1] * y
    return result, straight
