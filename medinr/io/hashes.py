"""Hashes by which a scan is recognised, independent of its name and location."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from medinr.errors import FileError
from medinr.io.folder import files_below, looks_like_dicom, why_unreadable
from medinr.io.images.pairs import scan_files


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits.

    Raises
    ------
    FileError
        When it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path}: {why_unreadable(path, error)}") from error


def combine_hashes(hashes: Iterable[str]) -> str:
    """Join the hashes of a series' files into one that depends on neither names nor order.

    SHA-256 over the sorted hexadecimal hashes, one a line; one file alone keeps its own hash, so that it is
    recognised whether it is given by name or by its folder.
    """
    ordered = sorted(hashes)
    if len(ordered) == 1:
        return ordered[0]
    return hashlib.sha256("\n".join(ordered).encode("ascii")).hexdigest()


def hash_scan(path: Path | str) -> str:
    """Return the hash of a scan: of the file, or over the DICOM files of a folder (see `combine_hashes`).

    Of a header with its voxels in another file (``.hdr/.img``), both count (`medinr.io.images.pairs.scan_files`).
    Files that are not DICOM (a licence, a README) do not count, as they are no part of the series.

    Raises
    ------
    FileError
        When there is nothing at `path`, or a folder holds no DICOM file.
    """
    path = Path(path)
    if path.is_file():
        return combine_hashes(hash_file(file) for file in scan_files(path))
    if not path.is_dir():
        raise FileError(f"{path}: no such file or folder.")
    files = [file for file in files_below(path) if looks_like_dicom(file)]
    if not files:
        raise FileError(f"{path}: the folder holds no DICOM file. Give the folder that holds the slices.")
    return combine_hashes(hash_file(file) for file in files)
