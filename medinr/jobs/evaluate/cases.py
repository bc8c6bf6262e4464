"""Cases of an evaluation (task x scan x slice): measurements, simulated once, and references."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save_file

from medinr.acquisition.ways import acquisition_of
from medinr.config import ReconstructConfig
from medinr.config.protocol import NamedTask
from medinr.data.orient import standard_orientation
from medinr.errors import FileError
from medinr.io.atomic import atomic_path, write_json
from medinr.io.claims import wait_for_claim
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.measurement import write_measurement
from medinr.io.nifti import write_nifti
from medinr.io.raw.read import read_raw
from medinr.io.scan import count_volumes, read_scan
from medinr.jobs.audit.audit import audit_volume
from medinr.jobs.audit.carried import findings_of, with_findings
from medinr.jobs.audit.finding import Finding
from medinr.jobs.evaluate.auxiliary_rows import auxiliary_rows
from medinr.jobs.evaluate.repeats import (
    RepeatReference,
    Repeats,
    find_repeats,
    measure_repeat,
    wants_repeats,
)
from medinr.jobs.evaluate.results import Case
from medinr.jobs.measure import open_measurement
from medinr.jobs.reference import Reference
from medinr.jobs.reference_noise import OwnNoise
from medinr.jobs.simulated import measure_slices, measured_slices, taken_slices
from medinr.measurement import Measurement
from medinr.metrics.image_quality import body_mask
from medinr.metrics.lesions import insert_lesions
from medinr.volume import Volume

#: What contrasts of lesions in CT refer to, in HU.
LESION_HU = 1000.0

#: Folder of intermediate results, from which an interrupted evaluation continues and tables and images are made.
WORK = "work"


def scan_name(row: ManifestRow) -> str:
    """Return a scan's name in files and tables: pseudonym, session, contrast and the first digits of its hash."""
    parts = [re.sub(r"[^A-Za-z0-9.-]+", "-", part).strip("-.") for part in (row.subject, row.session, row.contrast)]
    return "_".join([part for part in parts if part] + [row.sha256[:8]])


def prepare_cases(
    folder: Path, task: NamedTask, manifest: Manifest, row: ManifestRow, slices: int, seed: int
) -> list[str]:
    """Simulate and store the measurements of one scan for one task; existing ones are kept.

    Parameters
    ----------
    folder : Path
        Of the evaluation.
    task : NamedTask
    manifest : Manifest
    row : ManifestRow
        One of its rows.
    slices : int
        At most, evenly spread over those that the manifest names.
    seed : int
        Of the evaluation; every slice of every scan has a seed derived from it.

    Returns
    -------
    list of str
        Names of the cases.
    """
    scan = scan_name(row)
    wanted = {"slices": slices, "choice": row.slices, "seed": seed, "sha256": row.sha256}
    others = auxiliary_rows(manifest, row, task.auxiliary) if task.auxiliary else ()
    if task.auxiliary and not others:
        return []
    if others:
        wanted["auxiliary"] = [other.sha256 for other in others]
    listing = folder / WORK / f"{task.name}__{scan}.json"
    with wait_for_claim(listing.with_suffix(".claim")):
        if listing.exists():
            found = json.loads(listing.read_text())
            if found["wanted"] == wanted:
                return list(found["cases"])
        source = Source.open(task, manifest, row)
        reason = f"{scan} was left out of {task.name}: {source.left_out}." if source.left_out else ""
        for path in auxiliary_paths(folder, task.name, scan):
            path.unlink()
        for position, other in enumerate(others):
            read = read_scan(manifest.verify(other), series=other.series_number, modality=other.modality)
            copy = folder / WORK / f"{task.name}__{scan}__{position}.nii.gz"
            write_nifti(read, copy, overwrite=True, source_header=False)
        cases = []
        for number in _spread(source.numbers, slices):
            around = source.around(number, task.neighbours)
            config = seeded(task.config, seed, row.sha256, number)
            measured, lesions = source.with_lesions(number, config) if task.lesions else (source, None)
            measurement, reference = measured.measure(config, around)
            position = measurement.slice_numbers.index(number)
            images = {"reference": reference.images[position]} | (lesions or {})
            noise, uncorrected = source.noise_of(reference, around, position)
            description = [_described(row), *(f"with {_described(other)}" for other in others)]
            if isinstance(reference, RepeatReference):
                images["sigma"] = reference.sigma[position]
                description.append(f"repeat {reference.number}")
            case = Case(
                case=f"{task.name}__{scan}__{number:04d}",
                task=task.name,
                subject=row.subject,
                session=row.session,
                contrast=row.contrast,
                slice=number,
                series_description=", ".join(description),
                spacing=measurement.spacing,
                unit=measurement.unit,
                modality=measurement.modality,
                peak=reference.peak,
                sampling=acquisition_of(measurement).sampling(position),
                findings=tuple(findings_of(measurement)),
                reference_noise=noise,
                uncorrected=uncorrected,
            )
            write_measurement(measurement, folder / "measurements" / f"{case.case}.safetensors", overwrite=True)
            save_tensors(folder / WORK / f"{case.case}.safetensors", images, asdict(case))
            cases.append(case.case)
        write_json(listing, {"wanted": wanted, "cases": cases, "left_out": reason}, overwrite=True)
    return cases


def scans_left_out(folder: Path) -> list[str]:
    """Say in a sentence each which scans were left out of which task, and why, as far as a reason is known."""
    listings = sorted((folder / WORK).glob("*.json"))
    reasons = [json.loads(listing.read_text()).get("left_out", "") for listing in listings]
    return [reason for reason in reasons if reason]


def auxiliary_paths(folder: Path, task: str, scan: str) -> tuple[Path, ...]:
    """Files of the auxiliary scans of a measured one, in their order."""
    return tuple(sorted((folder / WORK).glob(f"{task}__{scan}__*.nii.gz")))


def _described(row: ManifestRow) -> str:
    return " ".join(part for part in (row.contrast or row.modality, row.session) if part)


@dataclass(frozen=True, eq=False)
class Source:
    """A scan whose measurements are simulated, its repeats, or raw data, and the slices to be used.

    ``left_out`` says why there are none. ``own_noise`` is of the scan as it was read, for judging alone.
    """

    row: ManifestRow
    path: Path
    sidecar: Path | None
    scan: Volume | None
    numbers: tuple[int, ...]
    findings: tuple[Finding, ...] = ()
    repeats: Repeats | None = None
    left_out: str = ""
    own_noise: OwnNoise = field(default_factory=OwnNoise)

    @classmethod
    def open(cls, task: NamedTask, manifest: Manifest, row: ManifestRow) -> Source:
        """Read a row of a manifest; without slices where the scan does not suit the task."""
        path, sidecar = manifest.verify(row), manifest.sidecar_of(row)
        if task.real:
            return cls(row, path, sidecar, None, row.slice_numbers(read_raw(path, sidecar=sidecar).slices))
        if wants_repeats(task.config):
            repeats, reason = find_repeats(path, row)
            if repeats is None:
                return cls(row, path, None, None, (), left_out=reason)
            first = repeats.volumes[0]
            return cls(row, path, None, first, row.slice_numbers(first.shape[0]), audit_volume(first), repeats)
        if (count := count_volumes(path)) > 1:
            return cls(row, path, None, None, (), left_out=f"it holds {count} volumes, and a scan of one is wanted")
        read = read_scan(path, series=row.series_number, modality=row.modality)
        scan, numbers = taken_slices(read, task.config, row)
        if not numbers:
            return cls(row, path, None, scan, numbers)
        noise = OwnNoise.found(read, lambda volume: measured_slices(volume, task.config, row.path))
        return cls(row, path, None, scan, numbers, audit_volume(read), own_noise=noise)

    def around(self, number: int, neighbours: int) -> list[int]:
        """A slice and at most so many neighbours on either side, up to the end of the scan or an empty slice."""
        found = [number]
        if self.scan is None:
            return found
        for step in (-1, 1):
            for other in range(number + step, number + step * (neighbours + 1), step):
                if not 0 <= other < self.scan.shape[0] or not np.abs(self.scan.array[other]).any():
                    break
                found.append(other)
        return sorted(found)

    def with_lesions(self, number: int, config: ReconstructConfig) -> tuple[Source, dict[str, NDArray[np.float32]]]:
        """The same with lesions in one slice; beside it, upright, the slice without and the labels."""
        assert self.scan is not None, "lesions are for simulated measurements"
        plane = np.abs(self.scan.array[number]) if self.scan.modality == "MR" else self.scan.array[number].real
        level = LESION_HU if self.scan.unit == "HU" else float(np.percentile(np.abs(self.scan.array), 99))
        found = insert_lesions(plane.astype(np.float32), body_mask(plane), level, config.simulation.seed)
        array = self.scan.array.copy()
        array[number] = found.image
        one = self.scan.select([number])

        def upright(values: NDArray[Any]) -> NDArray[np.float32]:
            return np.asarray(
                standard_orientation(one.with_array(values[None].astype(np.float32))).array[0], np.float32
            )

        beside = {"without_lesions": upright(plane), "lesions": upright(found.labels)}
        return replace(self, scan=self.scan.with_array(array)), beside

    def measure(self, config: ReconstructConfig, numbers: list[int]) -> tuple[Measurement, Reference]:
        """Return the measurement of slices and their references."""
        if self.repeats is not None:
            given, others = measure_repeat(self.repeats, config, numbers, self.row.path)
            return with_findings(given, self.findings), others
        if self.scan is not None:
            simulated, images = measure_slices(self.scan, config, numbers, self.row.path)
            return with_findings(simulated, self.findings), images
        measurement, reference = open_measurement(self.path, config, slices=numbers, sidecar=self.sidecar)
        assert reference is not None, "a task on raw data undersamples them"
        return measurement, reference

    def noise_of(self, reference: Reference, numbers: list[int], position: int) -> tuple[dict[str, float], str]:
        """Facts of the noise of a slice's reference; of none, the second value may say in words why."""
        if isinstance(reference, RepeatReference):
            return reference.noise_of(position), ""
        return self.own_noise.by_region(reference, numbers, position)


def seeded(config: ReconstructConfig, seed: int, sha256: str, number: int) -> ReconstructConfig:
    """Derive the seed of a slice: with one sampling pattern for all, results would depend on that pattern."""
    text = f"{config.simulation.seed}/{seed}/{sha256}/{number}"
    own = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1
    return replace(config, simulation=replace(config.simulation, seed=own))


def save_tensors(path: Path, images: dict[str, NDArray[np.float32]], facts: dict[str, Any]) -> None:
    """Write images and facts in one file, atomically."""
    with atomic_path(path, overwrite=True) as partial:
        tensors = {name: np.ascontiguousarray(image, np.float32) for name, image in images.items()}
        save_file(tensors, partial, metadata={"medinr": json.dumps(facts, sort_keys=True)})


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
