"""Findings on the spectrum: a border of zeros in k-space, smoothing, sharpening (`noise.measured_band`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from medinr.jobs.audit.catalogue import found
from medinr.jobs.audit.finding import Finding
from medinr.jobs.audit.sample import ScanSample
from medinr.jobs.audit.spectrum import axis_spectra, level
from medinr.noise.measured_band import measured_share

#: Fall in decades between 20 % and 95 % of the band, without a step, from which resolution is coarser than the pixels.
#: Measured: 0 to 1.9 for tissue and noise, 2.9 after a Gaussian of one pixel, 2.3 to 3.3 after interpolation by 1.5.
SMOOTH_DECADES = 2.2

#: Rise in decades from the lower to the upper middle of the band; tissue and white noise never rise (at most 0.06).
SHARPENED_DECADES = 0.15

#: Samples along an axis that the header gives, as a share of its pixels, from which it counts as zero-filled.
HEADER_SHARE = 0.97


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
