"""Refusal to evaluate a model on a scan, or a person, of its training data."""

from __future__ import annotations

from collections.abc import Collection

from medinr.errors import LeakageError
from medinr.io.manifest import Manifest, ManifestRow
from medinr.models.card import ModelCard


def refuse_leakage(card: ModelCard, subject: str, sha256: str, scan: str) -> None:
    """Raise `LeakageError` when the subject or the scan's hash is among the model's training scans.

    Parameters
    ----------
    card : ModelCard
    subject : str
        Empty when unknown.
    sha256 : str
        Empty when unknown.
    scan : str
        Named in the error.
    """
    seen = _seen(card.subjects, card.scan_hashes, subject, sha256)
    if seen:
        raise LeakageError(
            f"{scan} cannot be evaluated with model {card.name!r}: {seen}. "
            "Use a scan of another person or another model."
        )


def refuse_trained(manifest: Manifest, name: str, row: ManifestRow) -> None:
    """Raise `LeakageError` when baselines would be evaluated on a scan, or a person, of their training data.

    Parameters
    ----------
    manifest : Manifest
        Their training data.
    name : str
        Of that manifest, for the error.
    row : ManifestRow
        Of the scan to be evaluated.
    """
    subjects, hashes = ({getattr(one, field) for one in manifest} for field in ("subject", "sha256"))
    seen = _seen(subjects, hashes, row.subject, row.sha256)
    if seen:
        raise LeakageError(
            f"{row.path} cannot be evaluated with baselines trained on manifest {name!r}: {seen}. "
            "Use a scan of another person or another manifest (baselines.training)."
        )


def _seen(subjects: Collection[str], hashes: Collection[str], subject: str, sha256: str) -> str:
    if sha256 and sha256 in hashes:
        return "this very scan is among its training scans"
    if subject and subject in subjects:
        return f"subject {subject} is among its training subjects"
    return ""
