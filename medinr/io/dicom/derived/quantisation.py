"""Real values to the whole numbers that DICOM stores, with the step between them.

``value = slope * stored + intercept`` (PS3.3, C.11.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.errors import IntensityError, UnitError
from medinr.volume import Volume

_INT16 = np.iinfo(np.int16)
_UINT16 = np.iinfo(np.uint16)

#: Zero is a stored number of its own unless the values lie this many times their range away from it.
_FAR_FROM_ZERO = 4.0


@dataclass(frozen=True)
class Quantisation:
    """How values are stored in 16 bits.

    Attributes
    ----------
    slope, intercept : float
        In the volume's unit; they survive as decimal strings of 16 characters.
    signed : bool
    low, high : float
        Extreme values.
    shown : tuple of float
        Values between which most lie (1st and 99th percentile).
    hounsfield : bool
        Whether they are HU; what lies below `medinr.io.padding.HU_FLOOR` is padding then.
    """

    slope: float
    intercept: float
    signed: bool
    low: float
    high: float
    shown: tuple[float, float]
    hounsfield: bool = False

    @property
    def identity(self) -> bool:
        """Whether the stored numbers are the values themselves."""
        return self.slope == 1.0 and self.intercept == 0.0

    def stored(self, plane: NDArray[np.float32]) -> NDArray[Any]:
        """Return the stored numbers of a slice, shape (y, x), int16 or uint16; each is off by half a slope at most."""
        limits = _INT16 if self.signed else _UINT16
        numbers = plane if self.identity else (plane.astype(np.float64) - self.intercept) / self.slope
        return np.clip(np.rint(numbers), limits.min, limits.max).astype(limits.dtype)


def quantisation(volume: Volume) -> Quantisation:
    """Choose how a volume is stored; CT in whole HU, whole numbers as they are, others on all 16 bits.

    Raises
    ------
    IntensityError
        When values are complex, not finite, or beyond 16 bits for HU.
    UnitError
        When CT values are not in HU.
    """
    if volume.modality == "CT" and volume.unit == "1/mm":
        raise UnitError("CT goes out in HU; these values are 1/mm. Use units.hu_from_attenuation.")
    require_real(volume)
    low, high, whole = _range(volume)
    extremes = (low, high, _shown(volume))
    if volume.unit == "HU":
        if low < _INT16.min or high > _INT16.max:
            raise IntensityError(f"HU from {low:.0f} to {high:.0f} do not fit 16 bits. Clip the values first.")
        return Quantisation(1.0, 0.0, True, *extremes, hounsfield=True)
    if whole and low >= 0 and high <= _UINT16.max:
        return Quantisation(1.0, 0.0, False, *extremes)
    if whole and low >= _INT16.min and high <= _INT16.max:
        return Quantisation(1.0, 0.0, True, *extremes)
    span = max(abs(low), abs(high))
    if high > low and span > _FAR_FROM_ZERO * (high - low):
        # Half a step is left at either end, and the rounding of the intercept's decimals is below that.
        slope = _decimal(max((high - low) / (_UINT16.max - 1), 1e-9 * span))
        return Quantisation(slope, _decimal(low - slope / 2), False, *extremes)
    if low >= 0:
        return Quantisation(_decimal(high / _UINT16.max), 0.0, False, *extremes)
    return Quantisation(_decimal(span / _INT16.max), 0.0, True, *extremes)


def require_real(volume: Volume) -> None:
    """Refuse complex, NaN and infinite values (raises `IntensityError`, naming the first slice that holds some)."""
    # Slice by slice: the volume may fill much of the memory.
    for number, plane in enumerate(volume.array):
        if np.iscomplexobj(plane) or not np.isfinite(plane).all():
            raise IntensityError(f"Slice {number}: DICOM holds finite real values. Take the magnitude first.")


def _range(volume: Volume) -> tuple[float, float, bool]:
    low, high, whole = np.inf, -np.inf, True
    for plane in volume.array:
        low, high = min(low, float(plane.min())), max(high, float(plane.max()))
        whole = whole and bool((plane == np.rint(plane)).all())
    return low, high, whole


def _shown(volume: Volume) -> tuple[float, float]:
    # Some pixels of some slices tell as much.
    some = volume.array[:: max(1, len(volume.array) // 16), ::3, ::3]
    low, high = np.percentile(some, (1, 99))
    return float(low), float(high)


def _decimal(number: float) -> float:
    return float(f"{number:.9g}")
