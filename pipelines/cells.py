"""The cells of an evaluation, task x scan x slice: their measurements simulated once, their references kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from medinr.pipelines.beside import scans_beside
from medinr.pipelines.measure import measure_slices, open_measurement, taken_slices
from medinr.pipelines.slices import Truth
from numpy.typing import NDArray
from safetensors.numpy import save_file

from medinr.config import ReconstructConfig
from medinr.config.protocol import NamedTask
from medinr.data.acquisition import line_mask
from medinr.errors import FileError
from medinr.evaluate.results import Cell
from medinr.io.atomic import atomic_path, write_json
from medinr.io.claims import wait_for_claim
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.measurement import write_measurement
from medinr.io.nifti import write_nifti
from medinr.io.raw import read_raw
from medinr.io.scan import read_scan
from medinr.measurement import Measurement
from medinr.volume import Volume

#: Folder of what an evaluation goes on from; tables and images are made of it.
WORK = "work"


def scan_name(row: ManifestRow) -> str:
    """A scan's name in files and tables: pseudonym, session, contrast and the beginning of its hash; no path."""
    parts = [re.sub(r"[^A-Za-z0-9.-]+", "-", part).strip("-.") for part in (row.subject, row.session, row.contrast)]
    return "_".join([part for part in parts if part] + [row.sha256[:8]])


def prepare_cells(
    folder: Path, task: NamedTask, manifest: Manifest, row: ManifestRow, slices: int, seed: int
) -> list[str]:
    """Simulate and keep the measurements of one scan for one task; what is there already stays.

    Parameters
    ----------
    folder : Path
        Of the evaluation.
    task : NamedTask
    manifest : Manifest
    row : ManifestRow
        One of its rows.
    slices : int
        At most, evenly spread over the manifest's choice.
    seed : int
        Of the evaluation; every slice of every scan draws its own from it.

    Returns
    -------
    list of str
        Names of the cells.
    """
    scan = scan_name(row)
    wanted = {"slices": slices, "choice": row.slices, "seed": seed, "sha256": row.sha256}
    others = scans_beside(manifest, row, task.beside) if task.beside else ()
    if task.beside and not others:
        return []
    if others:
        wanted["beside"] = [other.sha256 for other in others]
    listing = folder / WORK / f"{task.name}__{scan}.json"
    with wait_for_claim(listing.with_suffix(".claim")):
        if listing.exists():
            found = json.loads(listing.read_text())
            if found["wanted"] == wanted:
                return list(found["cells"])
        source = Source.open(task, manifest, row)
        for path in paths_beside(folder, task.name, scan):
            path.unlink()
        for position, other in enumerate(others):
            read = read_scan(manifest.verify(other), modality=other.modality)
            write_nifti(read, folder / WORK / f"{task.name}__{scan}__{position}.nii.gz", overwrite=True)
        cells = []
        for number in _spread(source.numbers, slices):
            around = source.around(number, task.neighbours)
            measurement, truth = source.measure(seeded(task.config, seed, row.sha256, number), around)
            position = measurement.slice_numbers.index(number)
            cell = Cell(
                cell=f"{task.name}__{scan}__{number:04d}",
                task=task.name,
                subject=row.subject,
                session=row.session,
                contrast=row.contrast,
                slice=number,
                series_description=", ".join([_described(row), *(f"beside {_described(other)}" for other in others)]),
                spacing=measurement.spacing,
                unit=measurement.unit,
                modality=measurement.modality,
                peak=truth.peak,
                sampling=sampling_facts(measurement, position),
            )
            write_measurement(measurement, folder / "measurements" / f"{cell.cell}.safetensors", overwrite=True)
            save_tensors(
                folder / WORK / f"{cell.cell}.safetensors", {"reference": truth.images[position]}, asdict(cell)
            )
            cells.append(cell.cell)
        write_json(listing, {"wanted": wanted, "cells": cells}, overwrite=True)
    return cells


def paths_beside(folder: Path, task: str, scan: str) -> tuple[Path, ...]:
    """Where the scans are kept that lie beside a measured one, in their order."""
    return tuple(sorted((folder / WORK).glob(f"{task}__{scan}__*.nii.gz")))


def _described(row: ManifestRow) -> str:
    return " ".join(part for part in (row.contrast or row.modality, row.session) if part)


@dataclass(frozen=True, eq=False)
class Source:
    """A scan to simulate measurements of, or raw data of which some are left out, and the slices to be used."""

    row: ManifestRow
    path: Path
    sidecar: Path | None
    scan: Volume | None
    numbers: tuple[int, ...]

    @classmethod
    def open(cls, task: NamedTask, manifest: Manifest, row: ManifestRow) -> Source:
        """Read a row of a manifest, with no slice at all where the scan cannot stand for the task."""
        path, sidecar = manifest.verify(row), manifest.explained_by(row)
        if task.real:
            return cls(row, path, sidecar, None, row.slice_numbers(read_raw(path, sidecar=sidecar).slices))
        scan, numbers = taken_slices(read_scan(path, modality=row.modality), task.config, row)
        return cls(row, path, None, scan, numbers)

    def around(self, number: int, neighbours: int) -> list[int]:
        """A slice and its neighbours on either side, up to a number, where the scan ends, or where nothing is seen."""
        found = [number]
        if self.scan is None:
            return found
        for step in (-1, 1):
            for other in range(number + step, number + step * (neighbours + 1), step):
                if not 0 <= other < self.scan.shape[0] or not np.abs(self.scan.array[other]).any():
                    break
                found.append(other)
        return sorted(found)

    def measure(self, config: ReconstructConfig, numbers: list[int]) -> tuple[Measurement, Truth]:
        """Give the measurement of slices and what they are judged by."""
        if self.scan is not None:
            simulated: tuple[Measurement, Truth] = measure_slices(self.scan, config, numbers, self.row.path)
            return simulated
        measurement, truth = open_measurement(self.path, config, slices=numbers, sidecar=self.sidecar)
        assert truth is not None, "a task of raw data leaves some out"
        return measurement, truth


def seeded(config: ReconstructConfig, seed: int, sha256: str, number: int) -> ReconstructConfig:
    """Give a slice a seed of its own: one sampling pattern for all would be judged by its luck."""
    text = f"{config.simulation.seed}/{seed}/{sha256}/{number}"
    own = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
    return replace(config, simulation=replace(config.simulation, seed=own), raw=replace(config.raw, seed=own))


def sampling_facts(measurement: Measurement, position: int) -> dict[str, Any]:
    """Plain values to draw how one of the slices was sampled."""
    facts = measurement.parameters
    if measurement.task == "kspace" and "mask" in facts:
        maps = measurement.arrays.get("coil_maps")
        mask = line_mask(measurement, position)
        return {
            "kind": "lines",
            "axis": "y",
            "count": mask.count,
            "lines": list(mask.lines),
            "acceleration": float(facts["achieved_acceleration"]),
            "coils": 1 if maps is None else int(maps.shape[-3]),
        }
    if measurement.task == "ct":
        return {"kind": "angles", "views": len(facts["angles"]), "angles": [float(a) for a in facts["angles"]]}
    return {"kind": "none"} | {key: facts[key] for key in ("factor", "sigma") if key in facts}


def save_tensors(path: Path, images: dict[str, NDArray[np.float32]], facts: dict[str, Any]) -> None:
    """Write images and facts in one file, atomically."""
    with atomic_path(path, overwrite=True) as partial:
        tensors = {name: np.ascontiguousarray(image, np.float32) for name, image in images.items()}
        save_file(tensors, partial, metadata={"medinr": json.dumps(facts, sort_keys=True)})
        partial.chmod(0o644)  # the library writes files that only their owner may read


def load_facts(path: Path) -> dict[str, Any]:
    """Read the facts of a file of `save_tensors` (raises `FileError` when damaged)."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})["medinr"])
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise FileError(
            f"{path} is damaged ({type(error).__name__}). Delete it and run the evaluation again."
        ) from None
    return facts


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    if len(numbers) <= count + 1:
        # Between one more than wanted, evenly spaced positions would round to the same slice twice.
        return list(numbers[:count])
    return [numbers[round(i)] for i in np.linspace(0, len(numbers) - 1, count + 2)[1:-1]]
