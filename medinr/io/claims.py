"""Claim files: who of several processes does a piece of work, seen by all that share the folder.

A claim is created exclusively and touched every few seconds while its work goes on. One whose process has ended, or
that nobody has touched for a minute, belongs to whoever takes it. Work that is claimed must be safe to do twice all the
same (written whole, to the same result): two processes that find one stale claim at one moment may both go ahead.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds between two touches, and after which an untouched claim is stale.
HEARTBEAT, STALE = 5.0, 60.0


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Try to claim; gives whether it is ours, and releases it at the end.

    Parameters
    ----------
    path : Path
        Of the claim file; its folder is created.
    """
    token = uuid.uuid4().hex
    if not _take(path, token) and not (_is_stale(path) and _steal(path) and _take(path, token)):
        yield False
        return
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, over), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        over.set()
        beat.join()
        if _read(path).get("token") == token:
            path.unlink(missing_ok=True)


@contextmanager
def wait_for_claim(path: Path, pause: float = 0.05) -> Iterator[None]:
    """Claim a file, waiting for who has it."""
    while True:
        with claim(path) as ours:
            if ours:
                yield
                return
        time.sleep(pause)


def sweep(folder: Path) -> None:
    """Remove stale claims: a process killed between finishing a piece of work and saying so leaves one behind."""
    for path in folder.glob("*.claim"):
        with claim(path):
            pass


def _take(path: Path, token: str) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        json.dump({"token": token, "pid": os.getpid(), "host": socket.gethostname()}, file)
    return True


def _is_stale(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False
    owner = _read(path)
    if age > STALE:
        return True
    # One that was cut short while being written says nothing; it is given time.
    return owner.get("host") == socket.gethostname() and not _runs(int(str(owner.get("pid", 0))))


def _steal(path: Path) -> bool:
    aside = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        path.rename(aside)
    except OSError:
        return False
    aside.unlink(missing_ok=True)
    return True


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _runs(pid: int) -> bool:
    if os.name == "nt":  # signal 0 would end it there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    try:
        # Ended, but nobody has asked how: it does nothing any more.
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT):
        with suppress(OSError):
            path.touch()
