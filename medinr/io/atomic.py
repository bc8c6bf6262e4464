"""Outputs that are either complete or absent, and overwritten only on request."""

from __future__ import annotations

import json
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from medinr.errors import FileError, OutputExistsError


@contextmanager
def atomic_path(path: Path | str, overwrite: bool = False) -> Iterator[Path]:
    """Give a path to write to; what was written appears under `path` only when the block succeeds.

    The temporary path stands in the same folder (so the final rename is atomic) and keeps the suffix, which
    some writers read. The block may make a file or a folder of it. Its permissions are those of any new file there
    (umask), also where a library makes files that only their owner may read.

    Parameters
    ----------
    path : Path or str
        Where the finished file or folder is to stand. Its parent is made when missing.
    overwrite : bool
        Replace a finished output.

    Yields
    ------
    Path
        The temporary path; not created yet.

    Raises
    ------
    OutputExistsError
        When `path` exists and `overwrite` is not set.
    """
    path = Path(path)
    if not overwrite and path.exists():
        raise OutputExistsError(f"{path} exists already. Choose another name or allow overwriting (--overwrite).")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        if not overwrite and path.exists():
            raise OutputExistsError(f"{path} appeared while it was being written; the new output was dropped.")
        _follow_umask(temporary)
        if path.is_dir() and temporary.is_dir():
            _swap_folder(temporary, path)
        else:
            temporary.replace(path)
    finally:
        _remove(temporary)


def require_writable(out: Path) -> None:
    """Refuse a folder in which nothing can be written, before anything is computed; it need not exist yet.

    Raises
    ------
    FileError
    """
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    try:
        # Permissions alone do not tell: the disk may be full or mounted read-only.
        with tempfile.TemporaryFile(dir=existing) as trial:
            trial.write(b"\0")
    except OSError as error:
        raise FileError(
            f"{out}: nothing can be written there ({error.strerror}). Choose another --out, or change its permissions."
        ) from error


def write_text(path: Path | str, text: str, overwrite: bool = False) -> Path:
    """Write a UTF-8 text file atomically and return its path (see `atomic_path`)."""
    with atomic_path(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: Path | str, content: Any, overwrite: bool = False) -> Path:
    """Write indented JSON atomically and return its path; NaN is refused because JSON has none.

    Raises
    ------
    ValueError
        When `content` holds NaN or infinity.
    """
    return write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", overwrite)


def _follow_umask(path: Path) -> None:
    # A file made on the spot shows the permissions; asking for the umask would change it for all threads.
    probe = path.with_name(f"{path.name}.mode")
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
        if file.is_file() and not file.is_symlink() and stat.S_IMODE(file.stat().st_mode) != mode:
            with suppress(PermissionError):  # some network folders refuse; the output is complete all the same
                file.chmod(mode)


def _swap_folder(new: Path, old: Path) -> None:
    # A folder cannot be renamed onto a filled one: the old one is renamed first, and restored if that fails.
    aside = old.with_name(f".{uuid.uuid4().hex[:8]}-{old.name}")
    old.replace(aside)
    try:
        new.replace(old)
    except OSError:
        aside.replace(old)
        raise
    shutil.rmtree(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
