"""Volumes that are finished, kept until all are: a run that was stopped goes on after the last of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save_file

from medinr.errors import MedinrError
from medinr.io.atomic import atomic_path


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
        parts = {"values": np.ascontiguousarray(values.real)}
        if np.iscomplexobj(values):
            parts["imaginary"] = np.ascontiguousarray(values.imag)
        metadata = {"fingerprint": self.fingerprint, "facts": json.dumps(facts)}
        with atomic_path(self._path(number), overwrite=True) as partial:
            save_file(parts, partial, metadata=metadata)

    def load(self, number: int) -> tuple[NDArray[Any], dict[str, float]] | None:
        """Read a volume back; None when there is none, it is damaged, or belongs to other settings or data."""
        path = self._path(number)
        if not path.is_file():
            return None
        try:
            with safetensors.safe_open(path, framework="np") as file:
                found = file.metadata() or {}
                if found.get("fingerprint") != self.fingerprint:
                    return None
                values = file.get_tensor("values")
                if "imaginary" in file.keys():  # noqa: SIM118  (not a dict)
                    values = (values + 1j * file.get_tensor("imaginary")).astype(np.complex64)
                return values, json.loads(found["facts"])
        except (OSError, safetensors.SafetensorError, ValueError):
            return None

    def required(self, number: int) -> tuple[NDArray[Any], dict[str, float]]:
        """Read a volume back that must be there (raises `MedinrError` when it is not)."""
        found = self.load(number)
        if found is None:
            raise MedinrError(f"volume {number} is not there any more. Run the same command again.")
        return found

    def remove(self) -> None:
        """Remove them all, with the folder where it holds nothing else."""
        for path in self.folder.glob("volume_*.safetensors"):
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"volume_{number:04d}.safetensors"
