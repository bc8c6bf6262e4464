"""Padding of a CT as its DICOM files have it: reading sets it to one value, and a result gives it back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medinr.errors import InputError
from medinr.io.dicom.derived.sources import on_source_voxels, open_sources
from medinr.io.dicom.pixels import HU_PADDING_AT_MOST, pictures, rescaled
from medinr.io.padding import HU_FLOOR
from medinr.volume import Volume

#: Derived series hold HU in 16 bits.
_LOWEST = float(np.iinfo(np.int16).min)


def with_stored_padding(values: NDArray[np.float32], volume: Volume) -> NDArray[np.float32]:
    """Return a result of a CT in HU whose padding is that of its DICOM files, in HU by their rescaling.

    Parameters
    ----------
    values : ndarray, shape (z, y, x)
        The result, on the voxels of `volume`.
    volume : Volume
        As it was read.

    Returns
    -------
    ndarray, shape (z, y, x)
        The same values where the source is no such series, was straightened, or is not there any more.
    """
    if volume.unit != "HU" or volume.provenance.format != "dicom":
        return values
    padded = (volume.array <= HU_FLOOR) & (values <= HU_FLOOR)
    if not padded.any():
        return values
    try:
        placed = on_source_voxels(volume, open_sources(volume))
        if placed is None or not np.array_equal(placed[0].affine, volume.affine):
            return values
        result, stored = values.copy(), np.empty(volume.shape[1:], np.float32)
        frames = [place.frame for place in placed[1]]
        for plane, known, (frame, pixels, dataset) in zip(result, padded, pictures(frames), strict=True):
            rescaled(pixels, frame, dataset, stored)
            # Some write -2000 as 63536, which is no HU.
            known &= (stored <= HU_PADDING_AT_MOST) & (stored >= _LOWEST)
            plane[known] = stored[known]
    except (InputError, OSError):
        return values
    return result
