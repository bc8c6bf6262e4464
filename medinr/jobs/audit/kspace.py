"""Findings on the spectrum: a border of zeros in k-space, smoothing, sharpening.

Where a scanner fills k-space with zeros up to the matrix of the image, the power spectrum has a step at the end of
what was measured. The spectra of tissue, of white noise and of smoothing filters have slopes, but no step. Magnitude
images keep it: their phase is smooth, so taking magnitudes widens the measured band by little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from medinr.jobs.audit.catalogue import found
from medinr.jobs.audit.finding import Finding
from medinr.jobs.audit.sample import ScanSample
from medinr.jobs.audit.spectrum import axis_spectra, frequencies, level

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

#: Fall in decades between 20 % and 95 % of the band, without a step, from which resolution is coarser than the pixels.
#: Measured: 0 to 1.9 for tissue and noise, 2.9 after a Gaussian of one pixel, 2.3 to 3.3 after interpolation by 1.5.
SMOOTH_DECADES = 2.2

#: Rise in decades from the lower to the upper middle of the band; tissue and white noise never rise (at most 0.06).
SHARPENED_DECADES = 0.15

#: Samples along an axis that the header gives, as a share of its pixels, from which it counts as zero-filled.
HEADER_SHARE = 0.97


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


def kspace_findings(sample: ScanSample) -> Iterator[Finding]:
    """Check the spectrum along each axis, and the header's number of samples."""
    spectra = axis_spectra(sample)
    shares = {axis: share for axis, spectrum in spectra.items() if (share := measured_share(spectrum)) is not None}
    if sample.modality != "CT" and shares:
        yield found("zero-filled", _zero_filled_words(sample, shares))
    elif sample.modality == "MR" and (words := _header_words(sample)):
        yield found("zero-filled", words)
    rest = {axis: spectrum for axis, spectrum in spectra.items() if axis not in shares}
    falls = {axis: level(s, 0.15, 0.25) - level(s, 0.90, 0.98) for axis, s in rest.items()}
    smooth = [axis for axis, fall in falls.items() if fall >= SMOOTH_DECADES]
    if smooth:
        fall = max(falls[axis] for axis in smooth)
        yield found("smooth", f"high frequencies along {' and '.join(smooth)} are {10**fall:.0f} times weaker")
    sharpened = [axis for axis, s in rest.items() if level(s, 0.5, 0.8) - level(s, 0.15, 0.4) >= SHARPENED_DECADES]
    if sharpened:
        yield found("sharpened", f"high frequencies along {' and '.join(sharpened)} are stronger than low ones")


def _zero_filled_words(sample: ScanSample, shares: Mapping[str, float]) -> str:
    depth, height, width = sample.shape
    total = 100 * float(np.prod(list(shares.values())))
    along = ", ".join(f"{100 * share:.0f} % along {axis}" for axis, share in shares.items())
    size = f"{width} x {height} pixels" + (f" x {depth} slices" if "z" in shares else "")
    header = sample.facts.acquired_matrix
    said = f"; the header says {header[0]} x {header[1]} samples" if header else ""
    return f"k-space with a border of zeros: {size}, about {total:.0f} % of k-space measured ({along}){said}"


def _header_words(sample: ScanSample) -> str:
    matrix = sample.facts.acquired_matrix
    if matrix is None or min(matrix) < 1:
        return ""
    _, height, width = sample.shape
    x, y = (min(1.0, matrix[0] / width), min(1.0, matrix[1] / height))
    if min(x, y) >= HEADER_SHARE:
        return ""
    return (
        f"the header says {matrix[0]} x {matrix[1]} samples for {width} x {height} pixels: about "
        f"{100 * x * y:.0f} % of k-space measured"
    )
