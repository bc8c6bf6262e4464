"""Volumes that are finished, and the state of the one that is not: a run that was stopped goes on from there."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medinr.errors import MedinrError
from medinr.tensors import own_tensors, write_tensors

#: Seconds between two states of an unfinished volume, at least, and as times what writing one takes.
SECONDS_BETWEEN, TIMES_WRITING = 20.0, 50.0


@dataclass(frozen=True)
class KeptVolumes:
    """Finished volumes in a folder.

    Attributes
    ----------
    folder : Path
    fingerprint : str
        Of everything that they depend on; others are not read.
    """

    folder: Path
    fingerprint: str

    def save(self, number: int, values: NDArray[Any], facts: dict[str, float]) -> None:
        """Keep the values of a volume, shape (z, y, x), float32 or complex64, and a few numbers; atomically."""
        _write(self._path(number), self.fingerprint, values, facts)
        self._unfinished_path(number).unlink(missing_ok=True)

    def load(self, number: int) -> tuple[NDArray[Any], dict[str, float]] | None:
        """Read a volume back; None when there is none, it is damaged, or belongs to other settings or data."""
        return _read(self._path(number), self.fingerprint)

    def required(self, number: int) -> tuple[NDArray[Any], dict[str, float]]:
        """Read a volume back that must be there (raises `MedinrError` when it is not)."""
        found = self.load(number)
        if found is None:
            raise MedinrError(f"volume {number} is not there any more. Run the same command again.")
        return found

    def unfinished(self, number: int) -> UnfinishedVolume:
        """State of a volume that is not finished; it is removed when that is saved."""
        return UnfinishedVolume(self._unfinished_path(number), self.fingerprint)

    def remove(self) -> None:
        """Remove them all, with the folder where it holds nothing else."""
        # What a run that was killed was writing has something before its name, and may have after it.
        for path in self.folder.glob("*volume_*.safetensors*"):
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"volume_{number:04d}.safetensors"

    def _unfinished_path(self, number: int) -> Path:
        return self.folder / f"unfinished_volume_{number:04d}.safetensors"


@dataclass
class UnfinishedVolume:
    """A `medinr.solve.unfinished.Unfinished` in a file, written so seldom that it costs next to nothing.

    Attributes
    ----------
    path : Path
    fingerprint : str
    """

    path: Path
    fingerprint: str
    _due: float = field(default_factory=lambda: time.monotonic() + SECONDS_BETWEEN)

    def load(self) -> tuple[int, NDArray[Any]] | None:
        """Give the steps that were done and the values after them; None as of `KeptVolumes.load`."""
        found = _read(self.path, self.fingerprint)
        return None if found is None else (int(found[1]["done"]), found[0])

    def save(self, done: int, values: NDArray[Any]) -> None:
        """Keep the values after so many steps, where the last time was long enough ago; atomically."""
        started = time.monotonic()
        if started < self._due:
            return
        _write(self.path, self.fingerprint, values, {"done": done})
        ended = time.monotonic()
        self._due = ended + max(SECONDS_BETWEEN, TIMES_WRITING * (ended - started))


def _write(path: Path, fingerprint: str, values: NDArray[Any], facts: dict[str, float]) -> None:
    tensors = {"values": torch.from_numpy(np.ascontiguousarray(values))}
    write_tensors(path, tensors, {"fingerprint": fingerprint, "facts": json.dumps(facts)})


def _read(path: Path, fingerprint: str) -> tuple[NDArray[Any], dict[str, float]] | None:
    found = own_tensors(path, fingerprint)
    return None if found is None else (found[0]["values"].numpy(), json.loads(found[1]["facts"]))
