"""Claim files: locks by which processes that share a folder divide their work.

A claim is created exclusively and touched every few seconds while its work goes on. It is stale when its process has
ended, or when it has not been touched for a minute; then any process may take it. Claimed work must still be safe to do
twice (written atomically, with the same result): two processes that find a stale claim at once may both proceed.
"""

from __future__ import annotations

import hashlib
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
    """Try to claim a file; yield whether that succeeded, and release it at the end.

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
    """Claim a file, waiting until it is free."""
    while True:
        with claim(path) as ours:
            if ours:
                yield
                return
        time.sleep(pause)


def sweep(folder: Path) -> None:
    """Remove stale claims, as a process that was killed leaves one behind."""
    for path in folder.glob("*.claim"):
        with claim(path):
            pass


def _take(path: Path, token: str) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        json.dump({"token": token, "pid": os.getpid(), "host": _host()}, file)
    return True


def _host() -> str:
    # A hash: a killed process leaves its claim behind, and names of computers tell the institution.
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:16]


def _is_stale(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False
    owner = _read(path)
    if age > STALE:
        return True
    # A claim that is being written may be empty; it becomes stale by age only.
    return owner.get("host") == _host() and not _runs(int(str(owner.get("pid", 0))))


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
    if os.name == "nt":  # signal 0 would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    try:
        # A zombie: it has ended, but its parent has not read its exit status.
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT):
        with suppress(OSError):
            path.touch()
