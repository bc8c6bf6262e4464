"""Folder in, manifest out; manifest in, what is wrong with it; manifest in, the same with new splits."""

from __future__ import annotations

from pathlib import Path

from medinr.config import find_manifest
from medinr.io.manifest import Manifest, read_rows, write_manifest
from medinr.jobs.manifest.build import (
    SILENT,
    BuildSettings,
    Built,
    Progress,
    build_manifest,
    previous_splits,
    require_writable,
    with_findings,
)
from medinr.jobs.manifest.candidates import find_candidates
from medinr.jobs.manifest.journal import Journal, journal_path
from medinr.jobs.manifest.pseudonyms import Pseudonyms, open_salt
from medinr.jobs.manifest.resplit import resplit
from medinr.jobs.manifest.splits import parse_fractions
from medinr.jobs.manifest.verify import Finding, verify_rows


def build(
    folder: Path,
    out: Path,
    settings: BuildSettings | None = None,
    *,
    salt: str | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Built:
    """Write a manifest of the scans below a folder; an interrupted build continues.

    Parameters
    ----------
    folder : Path
        DICOM series, BIDS trees and other files, mixed.
    out : Path
        CSV file. The salt of its pseudonyms is kept beside it (``.salt``, for its owner alone).
    settings : BuildSettings, optional
    salt : str, optional
        File with the salt, or the salt itself.
    overwrite : bool
        Replace a manifest; persons who are in it keep their split.
    progress : callable
        Called with stage, number done and number planned.

    Raises
    ------
    ManifestError
        When nothing can be used, or a choice is not understood.
    FileError
        When the folder cannot be read or the manifest cannot be written.
    OutputExistsError
    """
    require_writable(out, overwrite)
    keep = previous_splits(out)
    found = find_candidates(folder, lambda done, total: progress("searching", done, total))
    pseudonyms = Pseudonyms(open_salt(salt, out))
    with Journal(journal_path(out)) as journal:
        built = build_manifest(
            found.candidates, folder, out, settings or BuildSettings(), pseudonyms, journal, keep, progress
        )
        write_manifest(built.manifest, out, overwrite)
        journal.remove()
    return with_findings(built, found.excluded, found.others)


def verify(manifest: Path | str, *, images: bool = True, progress: Progress = SILENT) -> list[Finding]:
    """Check a manifest: presence and hashes of the scans, persons in one split, pictures in one split.

    Parameters and result as of `medinr.jobs.manifest.verify.verify_rows`.

    Raises
    ------
    ManifestError
        When the file cannot be read as a manifest.
    """
    path = find_manifest(manifest)
    return verify_rows(read_rows(path), path.parent, images, progress)


def split(manifest: Path | str, out: Path, *, fractions: str, seed: int = 0, overwrite: bool = False) -> Manifest:
    """Write a manifest with new splits, drawn by person; all else stays.

    Parameters
    ----------
    manifest : Path or str
    out : Path
    fractions : str
        Such as ``70,15,15`` (train, validation, test) or ``train=0.7,devtest=0.3``.
    seed : int
    overwrite : bool

    Raises
    ------
    ManifestError, OutputExistsError
    """
    path = find_manifest(manifest)
    shares = parse_fractions(fractions)
    require_writable(out, overwrite)
    new = resplit(read_rows(path), shares, seed, path.parent, out)
    write_manifest(new, out, overwrite)
    return new
