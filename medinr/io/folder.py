"""What lies below a path: files that can be read, and those that cannot, by name and reason."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from medinr.errors import FileError

#: DICOM files carry this word after a preamble of 128 bytes (PS3.10, section 7.1).
_DICOM_MAGIC = (128, b"DICM")

#: Files written before the preamble was required start with a tag of group 0002 or 0008.
_DICOM_GROUPS = (b"\x02\x00", b"\x08\x00")


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is no part of any stack of slices.

    Attributes
    ----------
    path : Path
        May name the patient: for errors and logs on the terminal, never for outputs.
    kind : str
        What it is, such as ``"a report"``; says nothing of the patient.
    lost : bool
        It may have been a slice, but cannot be read.
    """

    path: Path
    kind: str
    lost: bool = False

    @property
    def may_be_missed(self) -> bool:
        """Whether the user should know of it by name: it could not be read, wholly or in part."""
        return self.lost or "damaged" in self.kind or "cannot be opened" in self.kind


def first_bytes(path: Path, count: int) -> bytes:
    """Return up to `count` bytes from the start of a file.

    Raises
    ------
    FileError
        When it cannot be opened or read, with the reason of the system.
    """
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise FileError(f"{path}: {why_unreadable(path, error)}") from error


def why_unreadable(path: Path, error: OSError) -> str:
    """Say why the system gives no access to a file or folder, and what to do."""
    if isinstance(error, FileNotFoundError):
        if path.is_symlink():
            return "a link that leads nowhere. Get the file that it stands for, or remove the link."
        return "no such file or folder."
    if isinstance(error, PermissionError):
        return "permission denied. Ask for the right to read it, or leave it out."
    return f"it cannot be read ({error.strerror or type(error).__name__})."


def looks_like_dicom(path: Path) -> bool:
    """Whether a file may be DICOM, by its first bytes and not by its name.

    Raises
    ------
    FileError
        When it cannot be read.
    """
    offset, magic = _DICOM_MAGIC
    start = first_bytes(path, offset + len(magic))
    return start[offset:] == magic or (start[:2] in _DICOM_GROUPS and start[3:4] == b"\x00")


def files_below(folder: Path) -> list[Path]:
    """List the readable, not hidden files of a folder and its subfolders, sorted by path (see `survey`)."""
    return survey(folder)[0]


def survey(folder: Path) -> tuple[list[Path], list[LeftOut]]:
    """List the files below a folder, sorted by path, and what cannot be opened there.

    Hidden files and folders are not looked at. Links to files are followed, links to folders are not, as they may lead
    in a circle.

    Returns
    -------
    files : list of Path
    left_out : list of LeftOut
        Links that lead nowhere, files and folders without permission, links to folders.

    Raises
    ------
    FileError
        When the folder itself cannot be listed.
    """
    files: list[Path] = []
    left_out: list[LeftOut] = []
    try:
        _walk(folder, files, left_out)
    except OSError as error:
        raise FileError(f"{folder}: {why_unreadable(folder, error)}") from error
    return sorted(files), left_out


def _walk(folder: Path, files: list[Path], left_out: list[LeftOut]) -> None:
    for entry in _entries(folder):
        path = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            try:
                _walk(path, files, left_out)
            except OSError:
                left_out.append(LeftOut(path, "a folder that cannot be opened (permission)"))
        elif entry.is_symlink() and not path.exists():
            left_out.append(LeftOut(path, "a link that leads nowhere", lost=True))
        elif path.is_dir():
            left_out.append(LeftOut(path, "a link to a folder, which is not followed"))
        elif path.is_file():
            if os.access(path, os.R_OK):
                files.append(path)
            else:
                left_out.append(LeftOut(path, "a file that cannot be opened (permission)", lost=True))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
