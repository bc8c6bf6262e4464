"""A zip archive as a folder: unpacked once per process, with its declared sizes checked first."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from multiprocessing.util import Finalize
from pathlib import Path, PurePosixPath

from medinr.errors import FileError
from medinr.io.folder import first_bytes, why_unreadable
from medinr.io.limits import FREELY_INFLATED_BYTES, PLAUSIBLE_INFLATION

#: Bytes that an archive may hold when unpacked: a whole study with several thousand slices.
MOST_UNPACKED = 32 * 2**30

#: Files that an archive may hold.
MOST_FILES = 200_000

_PIECE = 2**20

#: Where each archive of this process was unpacked, by path, size and time of change.
_unpacked: dict[tuple[str, int, int], Path] = {}


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, by its content and not by its name."""
    return path.is_file() and first_bytes(path, 4) in (b"PK\x03\x04", b"PK\x05\x06") and zipfile.is_zipfile(path)


def unpack(path: Path) -> Path:
    """Unpack an archive into a temporary folder, which is removed when the process ends.

    Names that lead out of the folder, links and hidden files are left out. An archive that was unpacked before by this
    process is not unpacked again.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileError
        When the archive is damaged, encrypted, larger than `MOST_UNPACKED`, implausibly compressed, or larger than the
        space that is left.
    """
    try:
        state = path.stat()
        key = (str(path.resolve()), state.st_size, state.st_mtime_ns)
        if key not in _unpacked:
            _unpacked[key] = _unpack(path, state.st_size)
        return _unpacked[key]
    except OSError as error:
        raise FileError(f"{path}: {why_unreadable(path, error)}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise FileError(
            f"{path}: the zip archive is damaged. Copy it again, or unpack it and give the folder."
        ) from error


def _unpack(path: Path, size: int) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if _inside(member) and not member.is_dir()]
        _require_plausible(path, size, members)
        folder = Path(tempfile.mkdtemp(prefix="medinr-zip-"))
        # Unlike atexit, it runs at the end of processes of a pool too.
        Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=0)
        for member in members:
            _extract(archive, member, folder.joinpath(*PurePosixPath(member.filename).parts), path)
    return folder


def _inside(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    hidden = any(part.startswith(".") or part in ("/", "__MACOSX") or ":" in part for part in parts)
    is_link = member.external_attr >> 28 == 0xA
    return bool(parts) and not hidden and not is_link


def _require_plausible(path: Path, size: int, members: list[zipfile.ZipInfo]) -> None:
    declared = sum(member.file_size for member in members)
    if any(member.flag_bits & 1 for member in members):
        raise FileError(f"{path}: the zip archive is encrypted. Unpack it with its password and give the folder.")
    if len(members) > MOST_FILES or declared > MOST_UNPACKED:
        raise FileError(
            f"{path}: the zip archive holds {len(members)} files of {declared / 2**30:.1f} GiB; at most {MOST_FILES} "
            f"files and {MOST_UNPACKED / 2**30:.0f} GiB are unpacked. Unpack it and give the folder."
        )
    if declared > max(FREELY_INFLATED_BYTES, PLAUSIBLE_INFLATION * size):
        raise FileError(
            f"{path}: {size} bytes that declare {declared} bytes unpacked; no scan shrinks by more than "
            f"{PLAUSIBLE_INFLATION}. If it is one, unpack it and give the folder."
        )
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if declared > free:
        raise FileError(
            f"{path}: unpacked it takes {declared / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free for temporary "
            "files. Set TMPDIR to a folder with more space."
        )


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, path: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with archive.open(member) as source, target.open("wb") as copy:
        while piece := source.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise FileError(f"{path}: a file in the zip archive is larger than the archive says. Is it damaged?")
            copy.write(piece)
