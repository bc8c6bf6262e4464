"""Scans in two files or more: a header, and voxels in another file beside it."""

from __future__ import annotations

import re
from pathlib import Path

from medinr.errors import FileError

#: Endings of header and voxels of NIfTI pairs and ANALYZE 7.5.
_PAIRED = {".hdr": ".img", ".img": ".hdr", ".HDR": ".IMG", ".IMG": ".HDR"}

#: Endings of headers that name the file of their voxels.
_DETACHED = (".mhd", ".nhdr")

#: A text header ends within this many bytes.
_LONGEST_HEADER = 64 * 1024

#: Slices of one scan in files of their own, at most.
_MOST_FILES = 10_000

_DATA_FILE = re.compile(rb"(?im)^(?:ElementDataFile[ \t]*=|data ?file:)[ \t]*(.*?)[ \t\r]*$")
_PATTERN = re.compile(r"^([^%/\\]*)%(0?\d?)d([^%/\\ ]*) +(\d+) +(\d+) +(\d+)$")


def other_of_pair(path: Path) -> Path | None:
    """Return the ``.img`` of a ``.hdr`` or the reverse (compressed ones too), whether it exists or not."""
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    ending = _PAIRED.get(inner.suffix)
    if ending is None:
        return None
    other = inner.with_suffix(ending)
    compressed = other.with_name(other.name + ".gz")
    preferred, second = (compressed, other) if inner != path else (other, compressed)
    return second if second.is_file() and not preferred.is_file() else preferred


def scan_files(path: Path) -> tuple[Path, ...]:
    """Return every file that a scan given as one file consists of, header first.

    Both of a ``.hdr/.img`` pair, whichever is given; a ``.mhd`` or ``.nhdr`` with the files that it names; else the
    file alone. Missing ones are left out.

    Raises
    ------
    FileError
        When a header names voxels outside its own folder.
    """
    other = other_of_pair(path)
    if other is not None and other.is_file():
        header_first = path.name.lower().removesuffix(".gz").endswith(".hdr")
        return (path, other) if header_first else (other, path)
    if path.suffix.lower() in _DETACHED:
        return (path, *(file for file in detached_files(path) if file.is_file()))
    return (path,)


def detached_files(header: Path) -> tuple[Path, ...]:
    """Return the files that a MetaImage or NRRD header names for its voxels; none when they follow in the same file.

    Raises
    ------
    FileError
        When a name leads out of the header's folder, or is written in a way that is not understood.
    """
    with header.open("rb") as file:
        text = file.read(_LONGEST_HEADER)
    names = {match.decode("utf-8", "replace") for match in _DATA_FILE.findall(text)}
    if not names or names == {"LOCAL"}:
        return ()
    if len(names) > 1:
        raise FileError(f"{header.name}: the header names several files of voxels. Convert it to .nii.gz.")
    name = names.pop()
    pattern = _PATTERN.match(name)
    if pattern is not None:
        before, width, after, *numbers = pattern.groups()
        first, last, step = (int(number) for number in numbers)
        if step < 1 or not 0 <= last - first < _MOST_FILES * step:
            raise FileError(f"{header.name}: the header numbers its files {first} to {last} by {step}.")
        form = f"{{:{width or '0'}d}}"
        files = [f"{before}{form.format(number)}{after}" for number in range(first, last + 1, step)]
    else:
        files = [name]
    return tuple(_beside(header, file) for file in files)


def _beside(header: Path, name: str) -> Path:
    """A file of the header's own folder; links may not lead out of it."""
    file = header.parent / name
    plain = (
        bool(name) and name == Path(name).name and name not in (".", "..") and not re.search(r"[%\\\x00-\x1f]", name)
    )
    if not plain or name.upper() == "LIST" or name.split()[0].upper() in ("LIST", "LOCAL"):
        raise FileError(
            f"{header.name}: the header places its voxels in {name!r}; only a file of the same folder is read. "
            "Move it there and name it so, or convert the scan to .nii.gz."
        )
    if file.is_symlink() and file.resolve().parent != header.resolve().parent:
        raise FileError(f"{header.name}: the file of its voxels is a link out of the folder. Copy the file there.")
    return file
