"""How a scan's values are stored: kind of number, slope and intercept; results go back the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.errors import InputError
from medinr.io.nifti.header import NiftiFile, open_nifti
from medinr.volume import Array, Volume

#: Kinds of whole numbers in which scans of other formats than NIfTI go out, the first that holds their values.
_WHOLE = (np.int16, np.uint16)


@dataclass(frozen=True)
class StoredAs:
    """Stored values times slope plus intercept are those of the scan.

    Attributes
    ----------
    dtype : dtype
        Whole numbers, float32 or complex64.
    slope, intercept : float
        1 and 0 unless whole numbers are scaled.
    """

    dtype: np.dtype[Any]
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether values are rounded to whole numbers before they are scaled."""
        return self.dtype.kind in "iu"

    @property
    def step(self) -> float:
        """Distance of two neighbouring values, in the unit of the scan; 0 for fractions."""
        return abs(self.slope) if self.whole else 0.0

    def stored(self, values: Array) -> NDArray[Any]:
        """Return values as they are stored; whole numbers are rounded, and cut at the ends of their range."""
        if not self.whole:
            return values.astype(self.dtype, copy=False)
        limits = np.iinfo(self.dtype)
        numbers = np.rint((values.astype(np.float64) - self.intercept) / self.slope)
        return np.clip(numbers, limits.min, limits.max).astype(self.dtype)


#: Real results that have fractions.
FLOATS = StoredAs(np.dtype(np.float32))


def stored_as(volume: Volume) -> StoredAs:
    """Find how the values of a volume are stored in its source.

    Parameters
    ----------
    volume : Volume
        As it was read.

    Returns
    -------
    StoredAs
        Of a NIfTI file, its kind of whole numbers with its slope and intercept. Of other formats, 16 bits where all
        values are whole and fit. Fractions of any kind: float32; complex64 where they are complex.
    """
    if np.iscomplexobj(volume.array):
        return StoredAs(np.dtype(np.complex64))
    source = nifti_source(volume)
    if source is not None:
        layout = source.layout
        if layout.dtype.kind not in "iu" or not np.isfinite(layout.slope) or layout.slope == 0:
            return FLOATS
        return StoredAs(layout.dtype.newbyteorder("="), layout.slope, layout.intercept)
    low, high = float(volume.array.min()), float(volume.array.max())
    if all(np.array_equal(np.rint(plane), plane) for plane in volume.array):
        for kind in _WHOLE:
            limits = np.iinfo(kind)
            if limits.min <= low and high <= limits.max:
                return StoredAs(np.dtype(kind))
    return FLOATS


def nifti_source(volume: Volume) -> NiftiFile | None:
    """Return the header of the NIfTI file that a volume came from; None for other formats, and ANALYZE."""
    provenance = volume.provenance
    if provenance.format != "nifti" or not provenance.files:
        return None
    try:
        source = open_nifti(provenance.files[0])
    except InputError:
        return None
    return None if source.is_analyze else source
