"""Power of a scan by spatial frequency along each axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medinr.jobs.audit.sample import ScanSample
from medinr.noise.measured_band import axis_profile, frequencies, plane_power

#: Pixels along an axis below which its spectrum is too coarse to judge.
LEAST_PIXELS = 48

#: Planes across the slices whose spectra are averaged.
_ACROSS = 9


def axis_spectra(sample: ScanSample) -> dict[str, NDArray[np.float64]]:
    """Decimal logarithm of the power from frequency 0 (exclusive) to the highest, along x, y and z.

    Spectra are two-dimensional, of Hann-windowed planes. The value at a frequency is the median over the frequencies
    of the other axis, so that a few strong structures do not decide. Axes with fewer than `LEAST_PIXELS` are left out.
    """
    planes = np.nan_to_num(sample.planes) if sample.is_complex else sample.magnitudes
    power = plane_power(planes)
    found = {"x": axis_profile(power, 1), "y": axis_profile(power, 0)}
    if len(sample.coarse) >= LEAST_PIXELS:
        height = sample.coarse.shape[1]
        rows = np.unique(np.linspace(0.2 * (height - 1), 0.8 * (height - 1), _ACROSS).round().astype(int))
        across = np.nan_to_num(sample.coarse[:, rows], posinf=0.0, neginf=0.0).transpose(1, 0, 2)
        found["z"] = axis_profile(plane_power(across), 0)
    sizes = {"x": sample.shape[2], "y": sample.shape[1], "z": len(sample.coarse)}
    return {axis: profile for axis, profile in found.items() if sizes[axis] >= LEAST_PIXELS and profile.any()}


def level(spectrum: NDArray[np.float64], low: float, high: float) -> float:
    """Mean of a spectrum between two frequencies, given as shares of the highest."""
    at = frequencies(spectrum)
    return float(spectrum[(at >= low) & (at <= high)].mean())
