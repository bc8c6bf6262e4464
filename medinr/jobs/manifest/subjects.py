"""Whose scan it is, and of which visit: by DICOM header, BIDS name, folder, or a pattern of the user."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from medinr.errors import ManifestError
from medinr.io.dicom.identity import Identity, read_identity
from medinr.jobs.manifest.candidates import Candidate

#: Rules by name; any other text is a pattern.
RULES = ("bids", "folder", "dicom")

_SUBJECT = re.compile(r"(?:^|[_/])sub-([A-Za-z0-9]+)")
_SESSION = re.compile(r"(?:^|[_/])ses-([A-Za-z0-9]+)")


@dataclass(frozen=True)
class Whose:
    """Identifiers of a person and a visit, for pseudonyms; none is part of the text form.

    Attributes
    ----------
    person, session : str
        The session may be empty.
    order : tuple or None
        By which visits of a person are sorted in time; None when it is unknown.
    """

    person: str = field(repr=False)
    session: str = field(repr=False)
    order: tuple[str, tuple[int | str, ...]] | None = field(repr=False)


def whose(candidate: Candidate, root: Path, rule: str | None = None) -> Whose:
    """Find out whose a scan is.

    Parameters
    ----------
    candidate : Candidate
    root : Path
        Folder that is searched.
    rule : str, optional
        ``"dicom"``, ``"bids"`` or ``"folder"`` (the first one below `root`), or a regular expression that is searched
        for in the path below `root`: its first group, or all of it, names the person. Without it, the DICOM header,
        the BIDS label and the folder are tried in this order.

    Raises
    ------
    ManifestError
        When the rule finds nobody, in words that say what to do.
    FileError
        When a DICOM file is damaged.
    """
    path = candidate.files[0].relative_to(root).as_posix()
    identity = read_identity(candidate.files[0]) if candidate.stack else Identity("", "", "")
    person = _person(path, identity, rule)
    if not person:
        raise ManifestError(_nobody(candidate, rule))
    labels = _labels(_SESSION, path)
    if labels:
        return Whose(person, f"label|{labels[-1]}", ("label", _sortable(labels[-1])))
    order = ("moment", (identity.moment,)) if identity.moment else None
    return Whose(person, f"study|{identity.study}" if identity.study else "", order)


def check_rule(rule: str | None) -> None:
    """Refuse a pattern that is none (raises `ManifestError`)."""
    try:
        re.compile(rule or "")
    except re.error as error:
        raise ManifestError(
            f"--subject-from {rule!r}: neither {', '.join(RULES)} nor a regular expression ({error})."
        ) from error


def _person(path: str, identity: Identity, rule: str | None) -> str:
    labels = _labels(_SUBJECT, path)
    if len(labels) > 1 and rule in (None, "bids"):
        raise ManifestError("its path has two different labels sub-...; one person was expected.")
    label = f"label|{labels[0]}" if labels else ""
    upper = f"folder|{path.partition('/')[0]}" if "/" in path else ""
    if rule is None:
        return identity.person or label or upper
    if rule in RULES:
        return {"dicom": identity.person, "bids": label, "folder": upper}[rule]
    match = re.search(rule, path)
    name = (match[1] if match.re.groups else match[0]) if match else ""
    return f"pattern|{name}" if name else ""


def _nobody(candidate: Candidate, rule: str | None) -> str:
    if rule == "dicom":
        what = "its header has neither PatientID nor PatientName" if candidate.stack else "it has no DICOM header"
    elif rule == "bids":
        what = "its path has no label sub-..."
    elif rule in (None, "folder"):
        what = "it is in no folder of a person"
    else:
        what = "the pattern of --subject-from is not in its path"
    return (
        f"whose scan is it? {what[0].upper()}{what[1:]}. Put each person in a folder, name files as BIDS does "
        "(sub-01_T1w.nii.gz), or give --subject-from with a pattern such as 'patient[0-9]+'."
    )


def _labels(pattern: re.Pattern[str], path: str) -> list[str]:
    return list(dict.fromkeys(pattern.findall(path)))


def _sortable(label: str) -> tuple[int | str, ...]:
    # Numbers are compared as numbers; each is preceded by a text, so that like is compared with like.
    parts = re.split(r"(\d+)", label)
    return tuple(int(part) if number % 2 else part for number, part in enumerate(parts))
