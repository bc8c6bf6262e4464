"""A trunk is never judged on a scan, or a person, it was trained on."""

from __future__ import annotations

from medinr.errors import LeakageError
from medinr.trunks.checkpoint import TrunkCard


def refuse_leakage(card: TrunkCard, subject: str, sha256: str, scan: str) -> None:
    """Raise `LeakageError` when the subject or the scan's hash is among the trunk's training scans.

    Parameters
    ----------
    card : TrunkCard
    subject : str
        Empty when unknown.
    sha256 : str
        Empty when unknown.
    scan : str
        Named in the error.
    """
    if sha256 and sha256 in card.scan_hashes:
        why = "this very scan is among its training scans"
    elif subject and subject in card.subjects:
        why = f"subject {subject} is among its training subjects"
    else:
        return
    raise LeakageError(
        f"{scan} cannot be evaluated with trunk {card.name!r}: {why}. Use a scan of another person or another trunk."
    )
