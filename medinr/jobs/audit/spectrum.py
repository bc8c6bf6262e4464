"""Power of a scan by spatial frequency along each axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from medinr.jobs.audit.sample import ScanSample

#: Pixels along an axis below which its spectrum is too coarse to judge.
LEAST_PIXELS = 48

#: Width of the median filter over a spectrum, as a share of its length: it removes single lines, and keeps steps.
_SMOOTHING = 0.04

#: Planes across the slices whose spectra are averaged.
_ACROSS = 9


def axis_spectra(sample: ScanSample) -> dict[str, NDArray[np.float64]]:
    """Decimal logarithm of the power from frequency 0 (exclusive) to the highest, along x, y and z.

    Spectra are two-dimensional, of Hann-windowed planes. The value at a frequency is the median over the frequencies
    of the other axis, so that a few strong structures do not decide. Axes with fewer than `LEAST_PIXELS` are left out.
    """
    planes = np.nan_to_num(sample.planes) if sample.is_complex else sample.magnitudes
    power = _power(planes)
    found = {"x": _profile(power, 1), "y": _profile(power, 0)}
    if len(sample.coarse) >= LEAST_PIXELS:
        height = sample.coarse.shape[1]
        rows = np.unique(np.linspace(0.2 * (height - 1), 0.8 * (height - 1), _ACROSS).round().astype(int))
        across = np.nan_to_num(sample.coarse[:, rows], posinf=0.0, neginf=0.0).transpose(1, 0, 2)
        found["z"] = _profile(_power(across), 0)
    sizes = {"x": sample.shape[2], "y": sample.shape[1], "z": len(sample.coarse)}
    return {axis: profile for axis, profile in found.items() if sizes[axis] >= LEAST_PIXELS and profile.any()}


def level(spectrum: NDArray[np.float64], low: float, high: float) -> float:
    """Mean of a spectrum between two frequencies, given as shares of the highest."""
    at = frequencies(spectrum)
    return float(spectrum[(at >= low) & (at <= high)].mean())


def frequencies(spectrum: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequency of every value, as a share of the highest."""
    return (np.arange(len(spectrum)) + 1.0) / (len(spectrum) + 1)


def _power(planes: NDArray[np.float32]) -> NDArray[np.float64]:
    height, width = planes.shape[1:]
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    power = np.zeros((height, width))
    for plane in planes:
        power += np.abs(np.fft.fft2((plane - plane.mean()) * window, norm="ortho")) ** 2
    return power


def _profile(power: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    line = np.median(power, axis=1 - axis)
    half = len(line) // 2
    # Both signs of the frequency; they are equal for real images.
    both = 0.5 * (line[1:half] + line[:-half:-1])
    if not (both > 0).any():
        return np.zeros(len(both))
    logarithm = np.log10(np.maximum(both, both.max() * 1e-12))
    width = max(3, int(_SMOOTHING * len(both)) | 1)
    return np.asarray(median_filter(logarithm, size=width, mode="nearest"), dtype=np.float64)
