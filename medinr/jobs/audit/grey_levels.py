"""Findings on grey levels: clipped, windowed, eight bits, few levels, negative magnitudes, blocks of JPEG."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medinr.jobs.audit.catalogue import found
from medinr.jobs.audit.finding import Finding
from medinr.jobs.audit.header import SIGNED_SHARE
from medinr.jobs.audit.sample import ScanSample

#: Pixels at the largest value, in all and as a share of those in the upper 2 % of the range, that count as clipped.
#: In 34 unclipped scans the largest value occurs once.
CLIPPED_PIXELS = 20
CLIPPED_SHARE = 0.25

#: A CT in HU reaches air; one that stops above this, with this share of its pixels there, was cut to a window.
WINDOW_LOW_HU = -500.0
WINDOW_SHARE = 0.01

#: Grey levels between the 1st and 99th percentile of what is not zero. Real scans measured: 150 to 1200.
FEW_LEVELS = 64

#: Share of negative MR values that a filter leaves; resampled scans have 0.0004 to 0.0016, scanners' own none.
NEGATIVE_SHARE = 1e-4

#: Mean difference across every eighth pixel boundary over that across the others. Unblocked scans: at most 1.06.
BLOCK_RATIO = 1.2
_BLOCK = 8


def grey_level_findings(sample: ScanSample) -> Iterator[Finding]:
    """Check the distribution of the values."""
    low, high = sample.low, sample.high
    if not high > low:
        return
    planes = sample.magnitudes
    whole = bool(np.array_equal(planes, np.rint(planes)))
    eight = whole and low == 0 and high == 255
    levels = _levels(planes)
    clipped = _clipped(sample) if levels >= FEW_LEVELS else 0
    if eight:
        yield found("eight-bits", "values are whole numbers from 0 to 255")
    elif 1 < levels < FEW_LEVELS:
        yield found("few-grey-levels", f"{levels} grey levels")
    if sample.unit == "HU" and low > WINDOW_LOW_HU and sample.share_at_low() >= WINDOW_SHARE:
        share = 100 * sample.share_at_low()
        yield found(
            "windowed", f"values stop at {low:.0f} and {high:.0f} HU, {share:.0f} % of the pixels at the lower end"
        )
    elif sample.modality == "CT" and eight:
        yield found("windowed", "a CT of eight bits is a display window")
    elif clipped:
        yield found("clipped", f"{clipped} pixels are at the largest value {high:.6g}, few just below it")
    yield from _negative(sample)
    ratio = block_ratio(planes)
    if ratio >= BLOCK_RATIO:
        words = f"differences across every eighth pixel are {ratio:.1f} times those elsewhere"
        yield found("block-artefacts", words)


def _clipped(sample: ScanSample) -> int:
    high = sample.high
    slices = [s for s in sample.statistics if s.high == high and not s.constant]
    at, near = sum(s.at_high for s in slices), sum(s.near_high for s in slices)
    return at if at >= CLIPPED_PIXELS and at >= CLIPPED_SHARE * (at + near) else 0


def _levels(planes: NDArray[np.float32]) -> int:
    some = planes[planes != 0]
    if not some.size:
        return 0
    low, high = np.percentile(some, [1, 99])
    return len(np.unique(some[(some >= low) & (some <= high)]))


def _negative(sample: ScanSample) -> Iterator[Finding]:
    if sample.modality != "MR" or sample.facts.component in ("phase", "real", "imaginary"):
        return
    share = sum(s.negative for s in sample.statistics) / sample.voxels
    if NEGATIVE_SHARE <= share < SIGNED_SHARE:
        yield found("negative-values", f"{100 * share:.2g} % of the values are negative, down to {sample.low:.4g}")


def block_ratio(planes: NDArray[np.float32]) -> float:
    """Mean difference between neighbours at every eighth boundary over that at the others; the lesser of x and y.

    Blocks of JPEG are 8 x 8 pixels and start at the first pixel. Slices shape (n, y, x); 1 where there are no blocks.
    """
    ratios = []
    for axis in (1, 2):
        if planes.shape[axis] < 4 * _BLOCK:
            return 1.0
        difference = np.abs(np.diff(planes, axis=axis)).mean(axis=(0, 3 - axis))
        at = np.arange(len(difference)) % _BLOCK == _BLOCK - 1
        others = float(difference[~at].mean())
        ratios.append(float(difference[at].mean()) / others if others > 0 else 1.0)
    return min(ratios)
