"""A manifest from a folder: scans found and read, persons under pseudonyms, copies named, splits drawn by person."""

from __future__ import annotations

import os
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

from medinr.errors import FileError, InputError, ManifestError, OutputExistsError
from medinr.io.manifest import Manifest, ManifestRow, read_manifest
from medinr.jobs.manifest.candidates import Candidate, Excluded, in_words
from medinr.jobs.manifest.fingerprints import Fingerprint, find_copies
from medinr.jobs.manifest.journal import Journal, Reading, state_of
from medinr.jobs.manifest.pseudonyms import Pseudonyms
from medinr.jobs.manifest.reading import read_candidate
from medinr.jobs.manifest.splits import DEFAULT_FRACTIONS, assign_splits, groups_of, parse_fractions
from medinr.jobs.manifest.subjects import Whose, check_rule, whose

#: Called with the name of a stage, the number done and the number planned.
Progress = Callable[[str, int, int], None]


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


SILENT: Progress = _silent


@dataclass(frozen=True)
class BuildSettings:
    """Choices of a build.

    Attributes
    ----------
    licence : str
        Of all scans.
    split : str
        See `medinr.jobs.manifest.splits.parse_fractions`.
    seed : int
        Of the split.
    subject_from : str or None
        See `medinr.jobs.manifest.subjects.whose`.

    Raises
    ------
    ManifestError
        When a choice cannot be understood.
    """

    licence: str = "not stated"
    split: str = DEFAULT_FRACTIONS
    seed: int = 0
    subject_from: str | None = None

    def __post_init__(self) -> None:
        parse_fractions(self.split)
        check_rule(self.subject_from)
        if not self.licence.strip():
            raise ManifestError("--licence is empty; every row of a manifest needs one.")


@dataclass(frozen=True)
class Copy:
    """Two scans that are the same picture.

    Attributes
    ----------
    one, other : str
        Names of the scans.
    distance : float
        Of their fingerprints; 0 for the same bytes.
    subjects : tuple of str
        One where both belong to one person.
    """

    one: str
    other: str
    distance: float
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class Built:
    """A manifest, and what is to be said about it.

    Attributes
    ----------
    manifest : Manifest
    excluded : tuple of Excluded
    others : Counter of str
        Files that are no scans, by kind.
    copies : tuple of Copy
    kept : int
        Persons who keep the split that they had in the manifest replaced.
    """

    manifest: Manifest
    excluded: tuple[Excluded, ...]
    others: Counter[str] = field(default_factory=Counter)
    copies: tuple[Copy, ...] = ()
    kept: int = 0


@dataclass(frozen=True)
class _Scan:
    candidate: Candidate
    reading: Reading
    whose: Whose
    subject: str


def require_writable(path: Path, overwrite: bool) -> None:
    """Ask whether a file can be written, before hours of work.

    Raises
    ------
    OutputExistsError
        When it exists and `overwrite` is not set.
    FileError
        When its folder cannot be written to.
    """
    if path.is_dir():
        raise FileError(f"{path}: this is a folder; a manifest is a file, such as {path / 'manifest.csv'}.")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists already. Choose another name or allow overwriting (--overwrite).")
    probe = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror}). Choose another --out.") from error


def previous_splits(path: Path) -> dict[str, str]:
    """Splits of the persons in a manifest that is about to be replaced; empty where there is none."""
    if not path.exists():
        return {}
    return {row.subject: row.split for row in read_manifest(path)}


def build_manifest(
    candidates: Sequence[Candidate],
    root: Path,
    out: Path,
    settings: BuildSettings,
    pseudonyms: Pseudonyms,
    journal: Journal,
    keep: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
) -> Built:
    """Make the rows of a manifest from the candidates of a folder.

    Parameters
    ----------
    candidates : sequence of Candidate
    root : Path
        Folder that was searched.
    out : Path
        File of the manifest; paths are relative to its folder.
    settings : BuildSettings
    pseudonyms : Pseudonyms
    journal : Journal
    keep : mapping of str to str, optional
        Splits of persons who keep theirs.
    progress : callable

    Returns
    -------
    Built

    Raises
    ------
    ManifestError
        When nothing can be used, with the reasons.
    """
    scans, excluded = _read(candidates, root, settings, pseudonyms, journal, progress)
    scans, doubles = _without_doubles(scans)
    excluded += doubles
    if not scans:
        reasons = "\n".join(f"  {one.name}: {one.reason}" for one in excluded[:20])
        raise ManifestError(f"{root}: no scan that can be used, so no manifest was written.\n{reasons}".rstrip())
    copies = _copies(scans, progress)
    fractions = parse_fractions(settings.split)
    links = [(copy.subjects[0], copy.subjects[1]) for copy in copies if len(copy.subjects) == 2]
    groups = groups_of(((scan.subject, scan.reading.modality) for scan in scans), links)
    splits = assign_splits(groups, fractions, settings.seed, keep)
    sessions = _sessions(scans, pseudonyms)
    rows: list[ManifestRow] = []
    for scan, session in zip(scans, sessions, strict=True):
        try:
            rows.append(_row(scan, session, splits[scan.subject], out, settings.licence))
        except ManifestError as error:
            excluded.append(Excluded(scan.candidate.name, in_words(error, root)))
    if not rows:
        raise ManifestError(f"{root}: no scan can be named in a manifest. {excluded[-1].reason}")
    kept = len({scan.subject for scan in scans} & (keep or {}).keys())
    return Built(Manifest(tuple(rows), out.parent), tuple(excluded), copies=tuple(copies), kept=kept)


def _read(
    candidates: Sequence[Candidate],
    root: Path,
    settings: BuildSettings,
    pseudonyms: Pseudonyms,
    journal: Journal,
    progress: Progress,
) -> tuple[list[_Scan], list[Excluded]]:
    scans: list[_Scan] = []
    excluded: list[Excluded] = []
    for number, candidate in enumerate(candidates):
        progress("reading scans", number, len(candidates))
        try:
            person = whose(candidate, root, settings.subject_from)
            key = pseudonyms.digest("reading", candidate.name, state_of(candidate.files))
        except (InputError, OSError) as error:
            reason = error if isinstance(error, InputError) else FileError(f"it cannot be read ({error.strerror}).")
            excluded.append(Excluded(candidate.name, in_words(reason, root)))
            continue
        reading = journal.get(key)
        if reading is None:
            reading = read_candidate(candidate, root)
            journal.add(key, reading)
        if reading.reason:
            excluded.append(Excluded(candidate.name, reading.reason))
        else:
            scans.append(_Scan(candidate, reading, person, pseudonyms.person(person.person)))
    progress("reading scans", len(candidates), len(candidates))
    return scans, excluded


def _without_doubles(scans: Sequence[_Scan]) -> tuple[list[_Scan], list[Excluded]]:
    """Keep the first of files that are the same bytes and belong to the same person."""
    first: dict[tuple[str, str], _Scan] = {}
    excluded: list[Excluded] = []
    kept: list[_Scan] = []
    for scan in scans:
        same = first.setdefault((scan.subject, scan.reading.sha256), scan)
        # Several series of one file share its hash.
        if same is scan or same.candidate.path == scan.candidate.path:
            kept.append(scan)
        else:
            excluded.append(Excluded(scan.candidate.name, f"the same bytes as {same.candidate.name}"))
    return kept, excluded


def _copies(scans: Sequence[_Scan], progress: Progress) -> list[Copy]:
    prints = [Fingerprint.from_json(scan.reading.fingerprint or {}) for scan in scans]
    alike = find_copies(prints, lambda done: progress("comparing", done, len(scans)))
    found = {(a, b): distance for a, b, distance in alike}
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for number, scan in enumerate(scans):
        holders[scan.reading.sha256].append(number)
    found.update(
        ((a, b), 0.0)
        for numbers in holders.values()
        for a, b in combinations(numbers, 2)
        if scans[a].subject != scans[b].subject
    )
    copies = []
    for (a, b), distance in sorted(found.items(), key=lambda item: (item[1], item[0])):
        one, other = scans[a], scans[b]
        subjects = tuple(dict.fromkeys((one.subject, other.subject)))
        copies.append(Copy(one.candidate.name, other.candidate.name, distance, subjects))
    return copies


def _sessions(scans: Sequence[_Scan], pseudonyms: Pseudonyms) -> list[str]:
    """Codes of visits, preceded by their number in time where it is known: names of sessions sort by time."""
    codes = [pseudonyms.session(s.whose.person, s.whose.session) if s.whose.session else "" for s in scans]
    visits: defaultdict[str, dict[str, tuple[str, tuple[int | str, ...]] | None]] = defaultdict(dict)
    for scan, code in zip(scans, codes, strict=True):
        if code:
            visits[scan.subject].setdefault(code, scan.whose.order)
    number: dict[tuple[str, str], int] = {}
    for subject, orders in visits.items():
        known = {code: order for code, order in orders.items() if order is not None}
        if len(known) == len(orders) and len({kind for kind, _ in known.values()}) == 1:
            ordered = sorted(known, key=lambda code: (known[code][1], code))
            number.update({(subject, code): position for position, code in enumerate(ordered, 1)})
    return [
        f"{number[scan.subject, code]:02d}-{code}" if (scan.subject, code) in number else code
        for scan, code in zip(scans, codes, strict=True)
    ]


def _row(scan: _Scan, session: str, split: str, out: Path, licence: str) -> ManifestRow:
    reading, candidate = scan.reading, scan.candidate
    path = Path(os.path.relpath(candidate.path.absolute(), out.absolute().parent)).as_posix()
    if any(not letter.isprintable() for letter in path):
        raise ManifestError("its path has control characters. Rename it.")
    return ManifestRow(
        path,
        reading.sha256,
        scan.subject,
        session,
        reading.modality,
        reading.contrast,
        split,
        licence.strip(),
        series=str(candidate.series or ""),
    )


def with_findings(built: Built, excluded: Sequence[Excluded], others: Counter[str]) -> Built:
    """Add what was left out before scans were read."""
    return replace(built, excluded=(*excluded, *built.excluded), others=others)
