"""What is wrong with a manifest: scans missing or changed, persons in two splits, one picture in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from medinr.errors import InputError, ManifestError
from medinr.io.manifest import Manifest, ManifestRow, subjects_in_several_splits
from medinr.io.raw.recognise import is_raw
from medinr.io.scan import count_volumes, read_scan
from medinr.jobs.manifest.build import SILENT, Progress
from medinr.jobs.manifest.fingerprints import Fingerprint, find_copies, fingerprint


@dataclass(frozen=True)
class Finding:
    """Something about a manifest.

    Attributes
    ----------
    kind : str
        ``"missing"``, ``"changed"``, ``"unreadable"``, ``"subject"``, ``"leakage"``, ``"copy"`` or ``"not compared"``.
    scan : str
        Name of the row, or pseudonym of the person.
    words : str
    wrong : bool
        False for what need not be repaired.
    """

    kind: str
    scan: str
    words: str
    wrong: bool = True


def verify_rows(
    rows: Sequence[ManifestRow], root: Path, images: bool = True, progress: Progress = SILENT
) -> list[Finding]:
    """Check the rows of a manifest against their scans and each other.

    Parameters
    ----------
    rows : sequence of ManifestRow
    root : Path
        Folder to which their paths are relative.
    images : bool
        Whether slices are compared too, so that a copy in another format is found.
    progress : callable

    Returns
    -------
    list of Finding
    """
    findings = [
        Finding("subject", subject, f"in {' and '.join(splits)}; all scans of a person belong in one split")
        for subject, splits in subjects_in_several_splits(rows).items()
    ]
    prints: list[Fingerprint] = []
    for number, row in enumerate(rows):
        progress("reading scans", number, len(rows))
        found, one = _check(row, root, images)
        findings += found
        prints.append(one)
    progress("reading scans", len(rows), len(rows))
    findings += _same_bytes(rows)
    if images:
        findings += _same_pictures(rows, prints, progress)
    return findings


def _check(row: ManifestRow, root: Path, images: bool) -> tuple[list[Finding], Fingerprint]:
    nothing = Fingerprint({})
    manifest = Manifest((row,), root)
    path = manifest.resolve(row)
    if not path.exists():
        return [Finding("missing", row.name, "no such file or folder")], nothing
    try:
        manifest.verify(row)
    except ManifestError:
        return [Finding("changed", row.name, "its SHA-256 is not that of the manifest")], nothing
    except InputError as error:
        return [Finding("unreadable", row.name, _line(error))], nothing
    if row.sidecar and not (root / row.sidecar).is_file():
        return [Finding("missing", row.name, f"its sidecar {row.sidecar} is not there")], nothing
    if not images:
        return [], nothing
    if row.sidecar or (path.is_file() and is_raw(path)):
        return [Finding("not compared", row.name, "raw data; only its bytes are compared", wrong=False)], nothing
    try:
        # Of several volumes in one file, the first stands for all.
        index = 0 if count_volumes(path) > 1 else None
        return [], fingerprint(read_scan(path, index=index, series=row.series_number, modality=row.modality))
    except InputError as error:
        return [Finding("unreadable", row.name, _line(error))], nothing


def _same_bytes(rows: Sequence[ManifestRow]) -> Iterator[Finding]:
    alike: defaultdict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        alike[row.sha256].append(row)
    for group in alike.values():
        for one, other in combinations(group, 2):
            if one.subject != other.subject or one.split != other.split:
                yield _pair(one, other, "the same bytes")


def _same_pictures(rows: Sequence[ManifestRow], prints: Sequence[Fingerprint], progress: Progress) -> Iterator[Finding]:
    found = find_copies(prints, lambda done: progress("comparing", done, len(rows)))
    for a, b, distance in found:
        one, other = rows[a], rows[b]
        told = one.sha256 == other.sha256  # by their bytes already
        if not told and (one.subject != other.subject or one.split != other.split):
            yield _pair(one, other, f"the same picture (distance {distance:.3f})")


def _pair(one: ManifestRow, other: ManifestRow, same: str) -> Finding:
    leakage = one.split != other.split
    where = f"{one.split} and {other.split}" if leakage else one.split
    return Finding(
        "leakage" if leakage else "copy",
        one.name,
        f"{same} as {other.name}: subjects {one.subject} and {other.subject}, in {where}",
        wrong=leakage,
    )


def _line(error: InputError) -> str:
    return " ".join(str(error).split())[:300]
