"""What the scans of an evaluation went through before it, by finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medinr.jobs.audit.finding import SEVERITIES
from medinr.jobs.evaluate.results import Case


@dataclass(frozen=True)
class FindingRow:
    """One finding, and the scans that have it.

    Attributes
    ----------
    code, severity, meaning : str
        Of `medinr.jobs.audit.finding.Finding`.
    scans : tuple of (str, str)
        Name of each scan, and what was found there.
    """

    code: str
    severity: str
    meaning: str
    scans: tuple[tuple[str, str], ...]


def finding_rows(cases: Sequence[Case]) -> list[FindingRow]:
    """Collect the findings of all scans: the most severe first, then those of most scans."""
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for case in cases:
        for finding in case.findings:
            key = finding["code"], finding["severity"], finding["meaning"]
            words = found.setdefault(key, {})
            if finding["words"] not in words.get(case.scan, "").split("; "):
                words[case.scan] = "; ".join(filter(None, (words.get(case.scan, ""), finding["words"])))
    rows = [FindingRow(*key, tuple(sorted(words.items()))) for key, words in found.items()]
    return sorted(rows, key=lambda row: (-SEVERITIES.index(row.severity), -len(row.scans), row.code))
