"""Findings of a scan, carried by the measurements that are simulated from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from medinr.jobs.audit.finding import Finding

if TYPE_CHECKING:
    # It loads PyTorch, which an inspection does without.
    from medinr.measurement import Measurement

#: Of the findings among a measurement's parameters.
KEY = "findings"


def with_findings(measurement: Measurement, findings: Sequence[Finding]) -> Measurement:
    """Add the findings of the scan that a measurement was simulated from."""
    return replace(measurement, parameters={**measurement.parameters, KEY: [finding.facts() for finding in findings]})


def findings_of(measurement: Measurement) -> list[dict[str, str]]:
    """Return findings as plain values: code, severity, words, meaning; none for raw data of a scanner."""
    return [dict(finding) for finding in measurement.parameters.get(KEY, ())]
