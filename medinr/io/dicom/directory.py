"""DICOMDIR, the index of a medium: the files that it names, none outside its own folder."""

from __future__ import annotations

from pathlib import Path

from medinr.errors import FileError
from medinr.io.dicom.headers import words
from medinr.io.dicom.kinds import class_name
from medinr.io.dicom.lenient import leniently
from medinr.io.folder import LeftOut, first_bytes

#: SOP class of an index, as it stands in the meta header.
_DIRECTORY_CLASS = b"1.2.840.10008.1.3.10"


def is_directory_file(path: Path) -> bool:
    """Whether a file is a DICOMDIR, by its content."""
    return _DIRECTORY_CLASS in first_bytes(path, 2**10)


def referenced_files(path: Path, left_out: list[LeftOut]) -> list[Path]:
    """Return the files that a DICOMDIR names (PS3.3, F.3.2.2); missing ones are added to `left_out`.

    Raises
    ------
    FileError
        When the index is damaged, or names no file.
    """
    import pydicom

    with leniently(path):
        index = pydicom.dcmread(path, force=True)
        if "Directory" not in class_name(index):
            raise FileError(f"{path}: not an index (DICOMDIR), though it says so. Give the folder with the slices.")
        names = [words(record.get("ReferencedFileID")) for record in index.get("DirectoryRecordSequence") or []]
    folder = path.parent
    found: list[Path] = []
    for parts in names:
        if not parts:
            continue
        target = _inside(folder, parts)
        if target is None:
            left_out.append(LeftOut(folder.joinpath(*parts[-1:]), "a file of the index outside its folder"))
        elif target.is_file():
            found.append(target)
        else:
            left_out.append(LeftOut(target, "a file that the index names and that is not there", lost=True))
    if not found:
        raise FileError(f"{path}: an index (DICOMDIR) without any of its files beside it. Copy the whole medium.")
    return sorted(dict.fromkeys(found))


def _inside(folder: Path, parts: tuple[str, ...]) -> Path | None:
    if any(part in ("", ".", "..") or "/" in part or "\\" in part or ":" in part for part in parts):
        return None
    target = folder.joinpath(*parts)
    if not target.exists():
        # Media are written in capitals; copies of them often are not.
        lower = folder.joinpath(*(part.lower() for part in parts))
        target = lower if lower.exists() else target
    return target if target.resolve().is_relative_to(folder.resolve()) else None
