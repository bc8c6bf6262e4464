"""How long a run will take and how much memory, found from a small part of the scan before it starts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

#: Pixels along each side of the part that is timed: those of smaller parts take longer each. It has as many slices as
#: there are threads, which share them, and two at least.
PIXELS, _SLICES = 128, 2

#: Part for methods that take many iterations.
SMALL_PART = (3, 80, 80)

#: Treated before, untimed: libraries start slowly.
_WARMING = (3, 32, 32)

#: Bytes that the process needs in any case, per voxel of a volume, and per pixel of the slices that threads work on.
#: Measured: 586 MB for 256 x 256 x 48 voxels and one thread, 996 MB for 512 x 512 x 4.
BASE_BYTES, BYTES_PER_VOXEL, BYTES_PER_PIXEL = 330e6, 40, 2400

#: Seconds per minute from which on minutes are said.
_MINUTE = 90


@dataclass(frozen=True)
class Forecast:
    """What a run will need.

    Attributes
    ----------
    seconds : float
    bytes : float
        Of memory.
    """

    seconds: float
    bytes: float

    @property
    def words(self) -> str:
        """Both in words."""
        long = self.seconds >= _MINUTE
        took = f"{self.seconds / 60:.0f} min" if long else f"{max(1.0, self.seconds):.0f} s"
        return f"about {took} and {self.bytes / 1e9:.1f} GB of memory"

    @property
    def facts(self) -> dict[str, float]:
        """Plain values for records."""
        return {"seconds": float(f"{self.seconds:.3g}"), "megabytes": round(self.bytes / 1e6)}


def forecast(
    volume: Volume,
    noise: ScanNoise,
    count: int,
    treat: Callable[[Volume, ScanNoise], object],
    voxels: int | None = None,
    size: tuple[int, int, int] | None = None,
) -> Forecast:
    """Treat a part of the scan and extend its time to the whole.

    Parameters
    ----------
    volume : Volume
    noise : ScanNoise
    count : int
        How many such volumes there are.
    treat : callable
        Treats a volume with its noise.
    voxels : int, optional
        Of the result of one volume; as many as of the scan by default.
    size : (int, int, int), optional
        Of the part, (z, y, x).
    """
    treat(*_part(volume, noise, _WARMING))
    part, noise = _part(volume, noise, size or (max(_SLICES, torch.get_num_threads()), PIXELS, PIXELS))
    started = time.perf_counter()
    treat(part, noise)
    seconds = (time.perf_counter() - started) * volume.array.size / part.array.size
    return Forecast(seconds * count, memory(volume, voxels))


def memory(volume: Volume, voxels: int | None = None) -> float:
    """Bytes that treating a volume needs, where the result has so many voxels (by default as many)."""
    largest = max(math.prod(volume.shape), voxels or 0)
    if np.iscomplexobj(volume.array):
        largest *= 2
    pixels = math.prod(volume.shape[1:]) * torch.get_num_threads()
    return BASE_BYTES + BYTES_PER_VOXEL * largest + BYTES_PER_PIXEL * pixels


def _part(volume: Volume, noise: ScanNoise, most: tuple[int, int, int]) -> tuple[Volume, ScanNoise]:
    """Cut the middle out of a scan."""
    places = []
    for size, wanted in zip(volume.shape, most, strict=True):
        start = max(0, (size - wanted) // 2)
        places.append(slice(start, start + wanted))
    where = tuple(places)
    part = replace(volume, array=volume.array[where], provenance=volume.provenance.cut_anew())
    return part, noise if noise.sigma_map is None else replace(noise, sigma_map=noise.sigma_map[where])
