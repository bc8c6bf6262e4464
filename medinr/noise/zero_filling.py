"""Pixels per acquired sample, where k-space was zero-filled or the image interpolated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medinr.noise.measured_band import axis_profile, measured_share, plane_power

#: Pixels along an axis below which its spectrum is too coarse to judge.
_LEAST_PIXELS = 48

#: Samples that the header gives, as a share of the pixels, from which it counts as zero-filled.
_HEADER_SHARE = 0.97

#: Slices whose spectra are averaged, at most.
_PLANES = 5


def pixels_per_sample(planes: NDArray[np.generic]) -> tuple[float, float]:
    """Pixels per acquired sample along (y, x), from the spectrum of the slices; 1 where nothing was filled in.

    Parameters
    ----------
    planes : ndarray, shape (n, y, x)
        Real or complex.
    """
    _, height, width = planes.shape
    chosen = planes[np.unique(np.linspace(0, len(planes) - 1, _PLANES).round().astype(int))]
    power = plane_power(chosen)
    found: list[float] = []
    for axis, size in ((0, height), (1, width)):
        profile = axis_profile(power, axis) if size >= _LEAST_PIXELS else np.zeros(1)
        share = measured_share(profile) if profile.any() else None
        found.append(1.0 if share is None else 1.0 / share)
    return found[0], found[1]


def header_pixels_per_sample(shape: tuple[int, int, int], acquired: tuple[int, int] | None) -> tuple[float, float]:
    """Pixels per sample along (y, x) by the header, whose samples are along (x, y); 1 where it says nothing."""
    if acquired is None or min(acquired) < 1:
        return 1.0, 1.0
    along_y, along_x = (size / samples for size, samples in zip(shape[1:], acquired[::-1], strict=True))
    return (along_y if along_y * _HEADER_SHARE > 1 else 1.0), (along_x if along_x * _HEADER_SHARE > 1 else 1.0)
