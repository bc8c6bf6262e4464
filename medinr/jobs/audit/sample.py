"""What an audit keeps of a scan: statistics of every slice, a few whole slices, and a coarse copy.

Slices come one at a time and are let go, so that a large scan needs no more memory than this sample.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.volume import Affine, ScanFacts, Volume

#: Whole slices that are kept; they lie evenly between 10 and 90 % of the stack, where the body is.
PLANES = 5

#: Pixels along each side of a slice in the coarse copy, which takes every n-th pixel: exact zeros stay exact.
COARSE_PIXELS = 128

#: Share of a slice's range below its largest value that counts as near it.
_NEAR = 0.02


@dataclass(frozen=True)
class SliceStatistics:
    """Of one slice's finite values (absolute values when complex).

    Attributes
    ----------
    low, high : float
        Smallest and largest value.
    at_low, at_high : int
        Pixels that have exactly these.
    near_high : int
        Pixels within 2 % of the range below the largest, without those that have it.
    negative : int
    non_finite : int
    repeated : bool
        Whether the slice equals the one before it.
    """

    low: float
    high: float
    at_low: int
    at_high: int
    near_high: int
    negative: int
    non_finite: int
    repeated: bool

    @property
    def constant(self) -> bool:
        """Whether all finite pixels have one value."""
        return self.low >= self.high


@dataclass(frozen=True, eq=False)
class ScanSample:
    """What an audit works on.

    Attributes
    ----------
    affine : ndarray, shape (4, 4)
        Index (x, y, z) to RAS mm.
    shape : (int, int, int)
        Voxels along (z, y, x) of the scan.
    modality, unit : str
    facts : ScanFacts
        Of the header.
    statistics : tuple of SliceStatistics
        One per slice that was read.
    numbers : tuple of int
        Of the slices in `planes`.
    planes : ndarray, shape (at most 5, y, x)
    coarse : ndarray, shape (slices, y / step, x / step)
        Every n-th pixel of every slice that was read; absolute values when complex.
    step : int
        n.
    """

    affine: Affine
    shape: tuple[int, int, int]
    modality: str
    unit: str
    facts: ScanFacts
    statistics: tuple[SliceStatistics, ...]
    numbers: tuple[int, ...]
    planes: NDArray[Any] = field(repr=False)
    coarse: NDArray[np.float32] = field(repr=False)
    step: int = 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel spacing along (x, y, z) in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def is_complex(self) -> bool:
        """Whether the scan is complex."""
        return bool(np.iscomplexobj(self.planes))

    @property
    def magnitudes(self) -> NDArray[np.float32]:
        """The whole slices, absolute values when complex, NaN and infinity as 0; shape (at most 5, y, x)."""
        values = np.abs(self.planes) if self.is_complex else self.planes
        return np.asarray(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), dtype=np.float32)

    @property
    def low(self) -> float:
        """Smallest finite value of the scan; NaN when there is none."""
        return min((s.low for s in self.statistics if not np.isnan(s.low)), default=float("nan"))

    @property
    def high(self) -> float:
        """Largest finite value of the scan; NaN when there is none."""
        return max((s.high for s in self.statistics if not np.isnan(s.high)), default=float("nan"))

    @property
    def voxels(self) -> int:
        """Number of voxels that were read."""
        return len(self.statistics) * self.shape[1] * self.shape[2]

    def share_at_low(self) -> float:
        """Share of the voxels that have exactly the smallest value."""
        low = self.low
        return sum(s.at_low for s in self.statistics if s.low == low) / self.voxels


def sample_scan(
    slices: Iterable[NDArray[Any]],
    shape: tuple[int, int, int],
    affine: Affine,
    modality: str,
    unit: str,
    facts: ScanFacts | None = None,
    taken: Sequence[int] | None = None,
) -> ScanSample:
    """Go through a scan slice by slice and keep what an audit needs.

    Parameters
    ----------
    slices : iterable of ndarray, shape (y, x)
        In order; each may be let go when the next one is asked for.
    shape : (int, int, int)
        Voxels along (z, y, x).
    affine : ndarray, shape (4, 4)
    modality, unit : str
    facts : ScanFacts, optional
    taken : sequence of int, optional
        Numbers of the slices that come, where these are not all.
    """
    count, height, width = shape
    step = -(-max(height, width) // COARSE_PIXELS)
    taken = range(count) if taken is None else taken
    numbers = tuple(taken[place] for place in spread(len(taken), PLANES))
    coarse = np.empty((len(taken), -(-height // step), -(-width // step)), np.float32)
    planes: list[NDArray[Any]] = []
    statistics: list[SliceStatistics] = []
    before: int | None = None
    for place, (number, plane) in enumerate(zip(taken, slices, strict=True)):
        digest = zlib.crc32(np.ascontiguousarray(plane).data)
        values = np.abs(plane) if np.iscomplexobj(plane) else plane
        statistics.append(_statistics(values, digest == before))
        coarse[place] = values[::step, ::step]
        if number in numbers:
            planes.append(np.array(plane))
        before = digest
    return ScanSample(
        affine,
        shape,
        modality,
        unit,
        ScanFacts() if facts is None else facts,
        tuple(statistics),
        numbers,
        np.stack(planes),
        coarse,
        step,
    )


def spread(count: int, wanted: int) -> tuple[int, ...]:
    """Return so many of `count` places, evenly between 10 and 90 %; fewer where rounding makes some equal."""
    return tuple(dict.fromkeys(round(place) for place in np.linspace(0.1 * (count - 1), 0.9 * (count - 1), wanted)))


def sample_volume(volume: Volume) -> ScanSample:
    """Return the sample of a scan that is in memory."""
    return sample_scan(volume.array, volume.shape, volume.affine, volume.modality, volume.unit, volume.provenance.facts)


def _statistics(values: NDArray[Any], repeated: bool) -> SliceStatistics:
    finite = np.isfinite(values)
    non_finite = int(values.size - np.count_nonzero(finite))
    if non_finite:
        values = values[finite]
    if not values.size:
        return SliceStatistics(float("nan"), float("nan"), 0, 0, 0, 0, non_finite, repeated)
    low, high = float(values.min()), float(values.max())
    at_high = int(np.count_nonzero(values == high))
    near = int(np.count_nonzero(values >= high - _NEAR * (high - low))) - at_high
    negative = int(np.count_nonzero(values < 0)) if low < 0 else 0
    return SliceStatistics(
        low, high, int(np.count_nonzero(values == low)), at_high, near, negative, non_finite, repeated
    )
