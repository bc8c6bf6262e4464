"""Hashes by which a scan is recognised, independent of its name and location."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from medinr.errors import FileError

#: DICOM files carry this word after a preamble of 128 bytes (PS3.10, section 7.1).
_DICOM_MAGIC = (128, b"DICM")

#: Files written before the preamble was required start with a tag of group 0002 or 0008.
_DICOM_GROUPS = (b"\x02\x00", b"\x08\x00")


def looks_like_dicom(path: Path) -> bool:
    """Whether a file may be DICOM, by its first bytes and not by its name."""
    offset, magic = _DICOM_MAGIC
    with path.open("rb") as file:
        start = file.read(offset + len(magic))
    return start[offset:] == magic or (start[:2] in _DICOM_GROUPS and start[3:4] == b"\x00")


def files_below(folder: Path) -> list[Path]:
    """List the regular, not hidden files of a folder and its subfolders, sorted by path."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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

    Files that are not DICOM (a licence, a README) do not count, as they are no part of the series.

    Raises
    ------
    FileError
        When there is nothing at `path`, or a folder holds no DICOM file.
    """
    path = Path(path)
    if path.is_file():
        return hash_file(path)
    if not path.is_dir():
        raise FileError(f"{path}: no such file or folder.")
    files = [file for file in files_below(path) if looks_like_dicom(file)]
    if not files:
        raise FileError(f"{path}: the folder holds no DICOM file. Give the folder that holds the slices.")
    return combine_hashes(hash_file(file) for file in files)
