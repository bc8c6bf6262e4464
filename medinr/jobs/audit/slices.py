"""Findings on single slices: NaN, empty, repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medinr.jobs.audit.catalogue import found
from medinr.jobs.audit.finding import Finding
from medinr.jobs.audit.sample import ScanSample


def slice_findings(sample: ScanSample) -> Iterator[Finding]:
    """Check the statistics of every slice."""
    statistics = sample.statistics
    count = len(statistics)
    bad = [n for n, s in enumerate(statistics) if s.non_finite]
    empty = [n for n, s in enumerate(statistics) if s.constant and not s.non_finite]
    if bad:
        words = f"{len(bad)} of {count} slices hold NaN or infinity ({_numbers(bad)})"
        yield found("non-finite", words, "unusable" if len(bad) == count else None)
    if empty:
        what = "are zero throughout" if all(statistics[n].high == 0 for n in empty) else "have one value throughout"
        words = f"{len(empty)} of {count} slices {what} ({_numbers(empty)})"
        yield found("empty-slices", words, "unusable" if len(empty) == count else None)
    repeated = [n for n, s in enumerate(statistics) if s.repeated and not s.constant]
    if repeated:
        words = f"{len(repeated)} of {count} slices equal the one before ({_numbers(repeated)})"
        yield found("duplicate-slices", words)


def _numbers(numbers: Sequence[int]) -> str:
    return f"number {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"number {numbers[0]}"
