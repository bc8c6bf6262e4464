"""Decoding by GDCM in a process of its own.

Damaged JPEG streams make that library end its process (2026-11-29: 3 of 400 with single bytes changed), and with it a
whole run. Here they end a helper process, and the file is refused in words.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import lru_cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from medinr.errors import FileError
from medinr.io.dicom.headers import read_header
from medinr.io.dicom.lenient import leniently

#: The decoder that is kept apart.
ISOLATED = "gdcm"

#: Seconds that one picture may take.
_LONGEST = 60.0

_COMMAND = (sys.executable, "-c", "from medinr.io.dicom.isolated import serve; serve()")

_lock = threading.Lock()
#: The process, and the process that started it: one that was forked from that starts its own.
_helper: tuple[subprocess.Popen[bytes], int] | None = None


def decode_isolated(path: Path, number: int) -> NDArray[Any]:
    """Decode one picture of a file.

    Parameters
    ----------
    path : Path
    number : int
        Of the frame, from 0.

    Returns
    -------
    ndarray, shape (rows, columns)
        Stored numbers.

    Raises
    ------
    FileError
        When the stream is damaged: the decoder refuses it, ends, or takes longer than a minute.
    """
    with _lock:
        process = _running()
        timer = threading.Timer(_LONGEST, process.kill)
        timer.start()
        try:
            answer, pixels = _ask(process, path, number)
        except (OSError, ValueError):
            answer, pixels = None, b""
        finally:
            timer.cancel()
        if answer is None:
            process.kill()
            process.wait()
    if answer is None or "error" in answer:
        raise FileError(f"{path.name}: its compressed pixels are damaged. Copy or export the file again.")
    return np.frombuffer(pixels, dtype=answer["dtype"]).reshape(answer["shape"])


def _running() -> subprocess.Popen[bytes]:
    global _helper
    if _helper is None or _helper[1] != os.getpid() or _helper[0].poll() is not None:
        process = subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, close_fds=True
        )
        _helper = process, os.getpid()
        Finalize(process, _end, args=(process,), exitpriority=0)
    return _helper[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()


def _ask(process: subprocess.Popen[bytes], path: Path, number: int) -> tuple[dict[str, Any] | None, bytes]:
    if process.stdin is None or process.stdout is None:
        return None, b""
    process.stdin.write(json.dumps([os.fspath(path.absolute()), number]).encode() + b"\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        return None, b""
    answer: dict[str, Any] = json.loads(line)
    pixels = process.stdout.read(answer.get("bytes", 0))
    return (answer, pixels) if len(pixels) == answer.get("bytes", 0) else (None, b"")


def serve(requests: IO[bytes] | None = None, answers: IO[bytes] | None = None) -> None:
    """Answer requests until there are no more: what the helper process does."""
    requests, answers = requests or sys.stdin.buffer, answers or sys.stdout.buffer
    for line in requests:
        path, number = json.loads(line)
        try:
            with leniently(Path(path)):
                found = pixel_array(_dataset(path), index=number, raw=True, decoding_plugin=ISOLATED)
            stored = np.ascontiguousarray(found)
        except Exception as error:
            answers.write(json.dumps({"error": type(error).__name__}).encode() + b"\n")
        else:
            facts = {"dtype": stored.dtype.str, "shape": stored.shape, "bytes": stored.nbytes}
            answers.write(json.dumps(facts).encode() + b"\n" + stored.tobytes())
        answers.flush()


@lru_cache(maxsize=1)
def _dataset(path: str) -> Dataset:
    dataset = read_header(Path(path), pixels=True)
    if dataset is None:
        raise FileError(f"{path}: not DICOM.")
    return dataset
