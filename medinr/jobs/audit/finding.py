"""One thing that was found about a scan, and the verdict on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: note: good to know. caution: results are biased or look better than they are. unusable: nothing can be made of it.
SEVERITIES = ("note", "caution", "unusable")


@dataclass(frozen=True)
class Finding:
    """What was found about a scan.

    Attributes
    ----------
    code : str
        Short name, a key of `medinr.jobs.audit.catalogue.CATALOGUE`.
    words : str
        What was found, with numbers; nothing that identifies the patient or names a file.
    meaning : str
        What that means for a reconstruction of it, or for a comparison with it.
    severity : {"note", "caution", "unusable"}
    """

    code: str
    words: str
    meaning: str
    severity: str = "caution"

    def facts(self) -> dict[str, str]:
        """Return plain values for JSON."""
        return {"code": self.code, "severity": self.severity, "words": self.words, "meaning": self.meaning}

    def __str__(self) -> str:
        return f"{self.words.rstrip('.')}. {self.meaning}"


def by_severity(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings with the most severe first, else in their order."""
    return tuple(sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity)))


def is_usable(findings: Sequence[Finding]) -> bool:
    """Whether nothing rules the scan out."""
    return all(finding.severity != "unusable" for finding in findings)


def verdict(findings: Sequence[Finding]) -> str:
    """Return one line: ``usable``, ``usable with cautions: ...`` or ``not usable: ...``."""
    against = [finding.words for finding in findings if finding.severity == "unusable"]
    if against:
        return f"not usable: {'; '.join(against)}"
    cautions = [finding.code.replace("-", " ") for finding in findings if finding.severity == "caution"]
    return f"usable with cautions: {', '.join(cautions)}" if cautions else "usable"
