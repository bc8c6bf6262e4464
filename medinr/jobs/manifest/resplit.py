"""New splits for the persons of a manifest; all else stays."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medinr.io.manifest import Manifest, ManifestRow
from medinr.jobs.manifest.splits import assign_splits, groups_of


def resplit(rows: Sequence[ManifestRow], fractions: Mapping[str, float], seed: int, root: Path, out: Path) -> Manifest:
    """Draw new splits by person; persons who share a scan byte for byte stay together.

    Parameters
    ----------
    rows : sequence of ManifestRow
        One person may be in several splits here.
    fractions : mapping of str to float
    seed : int
    root : Path
        Folder to which the rows' paths are relative.
    out : Path
        File of the new manifest, to whose folder they are made relative.

    Returns
    -------
    Manifest
    """
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        holders[row.sha256].append(row.subject)
    links = [(subjects[0], other) for subjects in holders.values() for other in subjects[1:]]
    groups = groups_of(((row.subject, row.modality) for row in rows), links)
    split_of = assign_splits(groups, fractions, seed)

    def moved(path: str) -> str:
        return Path(os.path.relpath((root / path).absolute(), out.absolute().parent)).as_posix() if path else ""

    new = (replace(row, path=moved(row.path), sidecar=moved(row.sidecar), split=split_of[row.subject]) for row in rows)
    return Manifest(tuple(new), out.parent)
