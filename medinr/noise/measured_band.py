"""Share of k-space that was measured, from the spectrum of an image.

Where a scanner fills k-space with zeros up to the matrix of the image, the power spectrum has a step at the end of
what was measured. The spectra of tissue, of white noise and of smoothing filters have slopes, but no step. Magnitude
images keep it: their phase is smooth, so taking magnitudes widens the measured band by little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

#: A step falls by this many decades within 12 % of the band. Zero-filled vendor images of five scanners: 1.05 to 1.76;
#: all others (resampled, white noise, 1/f^n, Gaussian blur, splines): up to 0.8.
STEP_DECADES = 0.85

#: And by this many more than the same width just before it, which tells a step from a steep slope. Zero-filled: 0.77 to
#: 1.70; others up to 0.62.
STEP_EXCESS = 0.68

#: Half the width of a step, and the frequencies at which it is searched, as shares of the highest frequency. Closer to
#: the highest, a step looks like linear interpolation, whose spectrum falls to zero there.
_HALF_WIDTH = 0.06
_SEARCHED = (0.30, 0.86)

#: After a step comes a floor: within the next 12 %, the spectrum falls by less than this share of the step.
_FLOOR = 0.7

#: Width of the median filter over a spectrum, as a share of its length: it removes single lines, and keeps steps.
_SMOOTHING = 0.04


def measured_share(spectrum: NDArray[np.float64]) -> float | None:
    """Share of the band below a step of the spectrum; None when there is no step.

    Parameters
    ----------
    spectrum : ndarray
        Decimal logarithm of the power, from the lowest to the highest frequency.
    """
    at = frequencies(spectrum)
    middle = np.linspace(*_SEARCHED, 113)

    def value(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(frequency, at, spectrum)

    drop = value(middle - _HALF_WIDTH) - value(middle + _HALF_WIDTH)
    before = value(middle - 4 * _HALF_WIDTH) - value(middle - 2 * _HALF_WIDTH)
    excess = drop - np.maximum(before, 0.0)
    best = int(np.argmax(excess))
    if drop[best] < STEP_DECADES or excess[best] < STEP_EXCESS:
        return None
    after = value(middle + _HALF_WIDTH) - value(middle + 3 * _HALF_WIDTH)
    if after[best] >= _FLOOR * drop[best]:
        return None
    edge = np.linspace(middle[best] - _HALF_WIDTH, middle[best] + 2 * _HALF_WIDTH, 91)
    levels = value(edge)
    return float(edge[np.argmax(levels <= levels.max() - 0.5 * drop[best])])


def frequencies(spectrum: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the frequency of every value, as a share of the highest."""
    return (np.arange(len(spectrum)) + 1.0) / (len(spectrum) + 1)


def plane_power(planes: NDArray[np.generic]) -> NDArray[np.float64]:
    """Power spectrum of Hann-windowed planes ``(n, y, x)``, summed over them, zero frequency first; shape (y, x)."""
    height, width = planes.shape[1:]
    window = np.outer(np.hanning(height), np.hanning(width)).astype(np.float32)
    power = np.zeros((height, width))
    for plane in planes:
        power += np.abs(np.fft.fft2((plane - plane.mean()) * window, norm="ortho")) ** 2
    return power


def axis_profile(power: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Decimal logarithm of the power along an axis, frequency 0 left out: the median over the other axis.

    A few strong structures do not decide the median.
    """
    line = np.median(power, axis=1 - axis)
    half = len(line) // 2
    # Both signs of the frequency; they are equal for real images.
    both = 0.5 * (line[1:half] + line[:-half:-1])
    if not (both > 0).any():
        return np.zeros(len(both))
    logarithm = np.log10(np.maximum(both, both.max() * 1e-12))
    width = max(3, int(_SMOOTHING * len(both)) | 1)
    return np.asarray(median_filter(logarithm, size=width, mode="nearest"), dtype=np.float64)
