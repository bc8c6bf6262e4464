"""Findings that the header gives away: component of the signal, lossy compression, inverted display, derivation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medinr.jobs.audit.catalogue import found
from medinr.jobs.audit.finding import Finding
from medinr.jobs.audit.sample import ScanSample

#: Words of ImageType for images that were interpolated to another grid, and what each means.
RESAMPLED_WORDS = {
    "MPR": "reformatted to other planes",
    "RESAMPLED": "resampled",
    "DIS2D": "corrected for distortion within the slices",
    "DIS3D": "corrected for distortion in three dimensions",
    "CSAPARALLEL": "reformatted to other planes",
}

#: Share of negative MR values from which they are signed by nature, rather than left by a filter.
SIGNED_SHARE = 0.2

#: Largest and smallest value of phase images are opposite to within this; and their spread is nearly uniform, whose
#: standard deviation is 0.577 of the largest value. Measured: real parts of MR have 0.1 to 0.3.
PHASE_ASYMMETRY = 0.05
PHASE_SPREAD = 0.4


def header_findings(sample: ScanSample) -> Iterator[Finding]:
    """Check the facts of the header, and the sign of the values where it is silent."""
    facts = sample.facts
    if sample.modality == "MR":
        yield from _component(sample)
    if facts.lossy:
        yield found("lossy", f"stored with lossy compression: {facts.lossy}")
    if facts.inverted:
        yield found("inverted", "low values are shown bright (MONOCHROME1)")
    words = {word.upper() for word in facts.image_type}
    for word in sorted(words & RESAMPLED_WORDS.keys()):
        yield found("resampled", f"the image type says {word}: {RESAMPLED_WORDS[word]}")
    if "DERIVED" in words and not words & RESAMPLED_WORDS.keys():
        yield found("derived", "the image type says DERIVED")


def _component(sample: ScanSample) -> Iterator[Finding]:
    component = sample.facts.component
    if component == "phase":
        yield found("phase", "a phase image")
    elif component in ("real", "imaginary"):
        yield found("signed", f"the {component} part of the signal")
    elif not sample.is_complex and component != "complex":
        negative = sum(s.negative for s in sample.statistics) / sample.voxels
        if negative < SIGNED_SHARE:
            yield found("magnitude-only", "magnitude without phase")
        elif _like_phase(sample):
            words = f"values from {sample.low:.5g} to {sample.high:.5g} spread evenly, as a phase image has them"
            yield found("phase", words)
        else:
            yield found("signed", f"{100 * negative:.0f} % of the values are negative")


def _like_phase(sample: ScanSample) -> bool:
    largest = max(abs(sample.low), abs(sample.high))
    even = abs(sample.low + sample.high) <= PHASE_ASYMMETRY * largest
    spread = float(np.std(sample.magnitudes))
    return bool(even and spread >= PHASE_SPREAD * largest)
