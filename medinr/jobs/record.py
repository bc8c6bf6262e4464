"""What is kept of each reconstructed slice, so that a killed run continues and a finished one can be read."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from medinr.errors import OutputExistsError
from medinr.io.atomic import atomic_path, write_text
from medinr.solve.checks import Check
from medinr.solve.solution import Solution, Step


def new_result(out: Path, name: str, overwrite: bool) -> Path:
    """Path of a result in a folder.

    Raises
    ------
    OutputExistsError
        When it is there already and may not be replaced.
    """
    path = out / name
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists. Choose another --out, or replace it with --overwrite.")
    return path


@dataclass(frozen=True, eq=False)
class SliceRecord:
    """One slice's images in export units, by method with their wall seconds, and how its fit went.

    ``joint``: whether it was solved together with other slices. ``checks``: of itself. ``agreement``: how far auxiliary
    scans agree with it. ``expected_residual``: of an image of so many degrees of freedom, where these are known.
    """

    images: Mapping[str, NDArray[np.float32]]
    times: Mapping[str, float]
    reason: str
    stopped_at: int
    residual: float
    steps: tuple[Step, ...]
    joint: bool = False
    checks: tuple[Check, ...] = ()
    agreement: float | None = None
    expected_residual: float | None = None

    @classmethod
    def of(
        cls,
        solution: Solution,
        images: Mapping[str, NDArray[np.float32]],
        times: Mapping[str, float],
        joint: bool,
        checks: tuple[Check, ...] = (),
    ) -> SliceRecord:
        """Keep a solution with its exported images."""
        return cls(
            images,
            times,
            solution.reason,
            solution.stopped_at,
            solution.residual,
            solution.steps,
            joint,
            checks,
            expected_residual=solution.expected_residual,
        )

    def summary(self) -> dict[str, Any]:
        """What result.json says about the slice."""
        return {
            "stopped_at": self.stopped_at,
            "reason": self.reason,
            "seconds": {name: round(value, 3) for name, value in self.times.items()},
            "whitened_residual": round(self.residual, 4),
            "expected_residual": None if self.expected_residual is None else round(self.expected_residual, 4),
            "joint": self.joint,
            "auxiliary_scan_agreement": self.agreement,
        }


def save_record(path: Path, record: SliceRecord, fingerprint: str) -> None:
    """Write a record atomically."""
    facts = record.summary() | {
        "seconds": dict(record.times),
        "whitened_residual": record.residual,
        "expected_residual": record.expected_residual,
        "steps": [asdict(step) for step in record.steps],
        "checks": [asdict(check) for check in record.checks],
    }
    metadata_ = {"fingerprint": fingerprint, "facts": json.dumps(facts)}
    with atomic_path(path, overwrite=True) as partial:
        save_file({k: np.ascontiguousarray(v) for k, v in record.images.items()}, partial, metadata=metadata_)


def load_record(path: Path, fingerprint: str) -> SliceRecord | None:
    """Read a record back; None when there is none, or it belongs to other settings or data."""
    if not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="np") as file:
            found = file.metadata() or {}
            images = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
    except (OSError, safetensors.SafetensorError):
        return None
    if found.get("fingerprint") != fingerprint:
        return None
    facts = json.loads(found["facts"])
    steps = tuple(Step(**step) for step in facts["steps"])
    return SliceRecord(
        images,
        facts["seconds"],
        facts["reason"],
        facts["stopped_at"],
        facts["whitened_residual"],
        steps,
        facts["joint"],
        tuple(Check(**check) for check in facts["checks"]),
        facts["auxiliary_scan_agreement"],
        facts["expected_residual"],
    )


def write_convergence(path: Path, numbers: Sequence[int], records: Sequence[SliceRecord]) -> None:
    """Write one row per slice and step."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["slice", "phase", "step", "seconds", "residual", "held_out", "rate"])
    for number, record in zip(numbers, records, strict=True):
        for step in record.steps:
            writer.writerow([number, *asdict(step).values()])
    write_text(path, text.getvalue(), overwrite=True)


def versions() -> dict[str, str]:
    """Versions that a result depends on, and the threads it had."""
    names = ("medinr", "torch", "monai", "numpy", "pydicom", "nibabel", "scikit-image", "sigpy", "SimpleITK")
    return {name: _version(name) for name in names} | {
        "python": platform.python_version(),
        "threads": str(torch.get_num_threads()),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        # No reason to lose a result: what needs a missing package has said so.
        return "not installed"
