"""What a scan's values alone tell of its kind: CT in HU, phase of the MR signal, or a signed map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Values that are examined, about.
_SAMPLE = 2_000_000

#: CT reaches at least this far down (HU), to air.
_AIR_AT_MOST = -900.0

#: Ranges (HU) of air, of what lies between lung and fat and few voxels have, and of soft tissue.
_AIR, _BETWEEN, _TISSUE = (-1100.0, -900.0), (-700.0, -300.0), (-200.0, 300.0)

#: Least shares of air and soft tissue; fractions (a resampled CT) need more air.
_LEAST_AIR, _LEAST_AIR_OF_FRACTIONS, _LEAST_TISSUE = 0.005, 0.03, 0.02

#: A difference of two scans has its tissue-to-air steps on both sides of zero; few voxels of a CT lie opposite air.
_OPPOSITE_AIR, _LARGEST_OPPOSITE = (700.0, 1300.0), 0.5

#: Below air there is padding: nearly all of it of one value or two. What spreads there is no CT.
_SPREAD_SHARE, _PADDING_SHARE = 0.01, 0.9

#: Largest values of phase images: radians, radians x 1000 (Philips, GE), 12 bits (Siemens).
_PHASE_SCALES = (np.pi, 1000 * np.pi, 4096.0)
_PHASE_RANGE = (0.95, 1.001)

#: A magnitude image has no values below zero but those of interpolation; more and larger ones make a signed map.
_SIGNED_SHARE, _SIGNED_DEPTH = 0.01, 0.1


def sample_values(array: NDArray[Any]) -> NDArray[np.float32]:
    """Up to about two million finite values, evenly spread over slices and pixels of a real scan, shape (n,)."""
    step = max(1, round((array.size / _SAMPLE) ** (1 / 3)))
    sample = np.asarray(array[::step, ::step, ::step], dtype=np.float32).ravel()
    finite: NDArray[np.float32] = sample[np.isfinite(sample)]
    return finite


def are_whole(values: NDArray[np.float32]) -> bool:
    """Whether all values are whole numbers."""
    return bool(np.array_equal(values, np.rint(values)))


def resemble_ct(values: NDArray[np.float32]) -> bool:
    """Whether values are distributed as those of a CT in HU: a peak of air near -1000, soft tissue, little between.

    Parameters
    ----------
    values : ndarray, shape (n,)
        From `sample_values`.

    Notes
    -----
    A difference of two scans decreases from zero to both sides, or has peaks on both; phase spreads evenly to both
    ends, where CT has at most the one or two values of its padding. A CT cropped to the inside of the body is not
    recognised.
    """
    if not values.size or values.min() > _AIR_AT_MOST:
        return False
    air, between, tissue = (_share(values, *limits) for limits in (_AIR, _BETWEEN, _TISSUE))
    least = _LEAST_AIR if are_whole(values) else _LEAST_AIR_OF_FRACTIONS
    widths = (_BETWEEN[1] - _BETWEEN[0]) / (_AIR[1] - _AIR[0])
    peaks = air >= least and tissue >= _LEAST_TISSUE and air * widths > between
    one_sided = _share(values, *_OPPOSITE_AIR) < _LARGEST_OPPOSITE * air
    return bool(peaks and one_sided and not _spreads_below_air(values))


def resemble_phase(values: NDArray[np.float32]) -> bool:
    """Whether values fill the range of a phase image to both ends: +-pi, +-3142 or +-4096."""
    if not values.size:
        return False
    low, high = float(values.min()), float(values.max())
    near, far = _PHASE_RANGE
    for scale in _PHASE_SCALES:
        if all(near * scale <= limit <= far * scale for limit in (-low, high)):
            return scale > np.pi or not are_whole(values)
    return False


def are_signed(values: NDArray[np.float32]) -> bool:
    """Whether more values lie below zero, and further, than interpolation puts there."""
    if not values.size or values.max() <= 0:
        return bool(values.size) and bool(values.min() < 0)
    deep = -float(values.min()) > _SIGNED_DEPTH * float(values.max())
    return deep and float(np.mean(values < 0)) > _SIGNED_SHARE


def _share(values: NDArray[np.float32], low: float, high: float) -> float:
    return float(np.mean((values >= low) & (values <= high)))


def _spreads_below_air(values: NDArray[np.float32]) -> bool:
    below = values[values < _AIR[0]]
    if below.size <= _SPREAD_SHARE * values.size:
        return False
    _, counts = np.unique(below, return_counts=True)
    return bool(np.sort(counts)[-2:].sum() < _PADDING_SHARE * below.size)
