"""Padding of a CT as its file has it: reading sets it to one value, and a result gives it back."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medinr.io.nifti.header import open_voxels
from medinr.io.nifti.stored import nifti_source
from medinr.io.nifti.voxels import read_voxels
from medinr.io.padding import HU_FLOOR
from medinr.volume import Volume


def with_stored_padding(
    values: NDArray[np.float32], volume: Volume, index: int = 0, slices: Sequence[int] | None = None
) -> NDArray[np.float32]:
    """Return a result of a CT in HU whose padding is that of its NIfTI file.

    Parameters
    ----------
    values : ndarray, shape (z, y, x)
        The result, on the voxels of `volume`.
    volume : Volume
        As it was read.
    index : int
        Which volume of the file it is, from 0.
    slices : sequence of int, optional
        Those of the file that it has; all by default.

    Returns
    -------
    ndarray, shape (z, y, x)
        The same values where the source is no such file, or is not there any more.
    """
    if volume.unit != "HU" or not (volume.array <= HU_FLOOR).any():
        return values
    source = nifti_source(volume)
    if source is None:
        return values
    try:
        with open_voxels(source) as file:
            stored = read_voxels(file, source.layout, index, [], to_end=False)
    except (EOFError, OSError, zlib.error, ValueError, HeaderDataError):
        return values
    if slices is not None:
        stored = stored[list(slices)]
    if stored.shape != values.shape or np.iscomplexobj(stored):
        return values
    return np.where((stored < HU_FLOOR) & (values <= HU_FLOOR), stored, values).astype(np.float32, copy=False)
