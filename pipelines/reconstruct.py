"""Scan or measurement in, reconstruction out: NIfTI, derived DICOM, figure, result.json, convergence.csv."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from medinr.pipelines.doubt import MAPS, doubt_summary, require_prior, warnings_of
from medinr.pipelines.earlier import Earlier, hear_earlier, open_earlier
from medinr.pipelines.measure import open_measurement
from medinr.pipelines.record import SliceRecord, load_record, save_record, versions, write_convergence
from medinr.pipelines.show import reconstruction_figures
from medinr.pipelines.slices import Truth, open_trunk, problems_for
from medinr.pipelines.solve_slices import Job, Progress, solve_slices

from medinr.config import ReconstructConfig
from medinr.data.orient import restore_orientation
from medinr.errors import OutputExistsError
from medinr.io.atomic import write_json
from medinr.io.dicom_write import write_derived_series
from medinr.io.hashes import hash_file
from medinr.io.measurement import write_measurement
from medinr.io.nifti import write_nifti
from medinr.measurement import Measurement
from medinr.trunks.checkpoint import find_trunk
from medinr.volume import Volume


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What `reconstruct` made, and where it lies.

    Attributes
    ----------
    folder : Path
    volume : Volume
        The reconstruction, in the scan's units and orientation.
    truth : Truth or None
        The scan the measurement was simulated from, or the image of all raw data where some were left out.
    records : tuple of SliceRecord
    measurement : Measurement
    warnings : tuple of str
        Slices that look unlike the training scans, in words.
    earlier : Earlier or None
        What became of the earlier scans, if any were given.
    """

    folder: Path
    volume: Volume
    truth: Truth | None
    records: tuple[SliceRecord, ...]
    measurement: Measurement
    warnings: tuple[str, ...] = ()
    earlier: Earlier | None = None


def reconstruct(
    source: Path,
    out: Path,
    config: ReconstructConfig,
    *,
    slices: Sequence[int] | None = None,
    sidecar: Path | None = None,
    earlier: Sequence[Path] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
    **reading: Any,
) -> Reconstruction:
    """Reconstruct raw data, a scan (simulating its measurement first) or a measurement file.

    Parameters
    ----------
    source : Path
        Raw data, NIfTI file, DICOM folder, or measurement (.safetensors).
    out : Path
        Folder for everything that is made; an unfinished one is continued, a finished one refused.
    config : ReconstructConfig
    slices : sequence of int, optional
        Evenly spaced slice numbers; all by default.
    sidecar : Path, optional
        What a raw file does not say itself (`medinr.io.sidecar`).
    earlier : sequence of Path, optional
        The patient's earlier scans, or other contrasts, as a prior (MR; `medinr.pipelines.earlier`); first the one that
        is most like what is being reconstructed.
    overwrite : bool
        Replace a finished result.
    progress : callable, optional
        Called with the position among the slices and every `Step`.
    **reading
        ``index``, ``series`` and ``modality``, see `medinr.io.scan.read_scan`.

    Returns
    -------
    Reconstruction
    """
    started = time.perf_counter()
    if (out / "result.json").exists() and not overwrite:
        raise OutputExistsError(f"{out} holds a finished result. Choose another --out, or replace it with --overwrite.")
    measurement, truth = open_measurement(source, config, slices=slices, sidecar=sidecar, **reading)
    exam = open_earlier(earlier, measurement) if earlier else ()
    begin = open_trunk(config.trunk, measurement.modality)
    require_prior(begin, config)
    card = begin.card
    if source.suffix != ".safetensors":
        write_measurement(measurement, out / "measurement.safetensors", overwrite=True)
    hashes = [hash_file(find_trunk(config.trunk)) if card else "", *(scan.provenance.sha256 for scan in exam)]
    fingerprint = _fingerprint(config, measurement, hashes)
    problems = problems_for(measurement)
    heard = hear_earlier(exam, measurement, problems, begin.prior, config.fit) if exam else None
    job = Job(measurement, problems, begin, heard, config, out / "work", fingerprint)
    files = [job.folder / f"slice_{position:04d}.safetensors" for position in range(measurement.slices)]
    kept = {k: None if overwrite else load_record(file, fingerprint) for k, file in enumerate(files)}
    done = {k: record for k, record in kept.items() if record is not None}
    missing = [k for k in kept if k not in done]
    if overwrite:
        _remove_guides(job.folder)

    with closing(solve_slices(job, missing, progress)) as found:
        for position, record in found:
            done[position] = record
            save_record(files[position], record, fingerprint)
    _remove_guides(job.folder)
    records = [done[position] for position in range(measurement.slices)]

    volume = _volume("medinr", measurement, records, truth)
    write_nifti(volume, out / "reconstruction.nii.gz", overwrite=True)
    outputs = ["reconstruction.nii.gz", "convergence.csv"]
    for name in MAPS:
        if name in records[0].images:
            write_nifti(_volume(name, measurement, records, truth), out / f"{name}.nii.gz", overwrite=True)
            outputs.append(f"{name}.nii.gz")
    doubts = [
        doubt_summary(measurement, record, None if truth is None else truth.images[position], begin, config)
        for position, record in enumerate(records)
    ]
    warnings = warnings_of(doubts, measurement.slice_numbers)
    if truth is not None and truth.scan.provenance.format == "dicom":
        summary = f"medinr {versions()['medinr']}, task {config.task}, trunk {config.trunk}"
        write_derived_series(
            volume,
            out / "dicom",
            description=f"medinr {config.task}",
            settings_summary=summary,
            overwrite=True,
        )
        outputs.append("dicom")
    write_convergence(out / "convergence.csv", measurement.slice_numbers, records)
    outputs += reconstruction_figures(out, measurement, records, truth)
    write_json(
        out / "result.json",
        {
            "task": config.task,
            "settings": asdict(config),
            "measurement": {k: v for k, v in measurement.parameters.items() if k not in ("settings", "slices")},
            "source_sha256": measurement.provenance.sha256,
            "trunk": {"name": config.trunk, "subjects": list(card.subjects) if card else []},
            "earlier_scan": None if heard is None else heard.facts,
            "slices": [
                {"slice": number} | record.summary() | doubt
                for number, record, doubt in zip(measurement.slice_numbers, records, doubts, strict=True)
            ],
            "warnings": warnings,
            "seconds": time.perf_counter() - started,
            "versions": versions(),
            "outputs": sorted(outputs),
        },
        overwrite=True,
    )
    return Reconstruction(out, volume, truth, tuple(records), measurement, tuple(warnings), heard)


def _volume(name: str, measurement: Measurement, records: Sequence[SliceRecord], truth: Truth | None) -> Volume:
    """One kind of image of all slices where they lie in the patient, in the voxel order of the scan if known."""
    upright = measurement.volume(np.stack([record.images[name] for record in records]))
    return upright if truth is None else restore_orientation(upright, truth.scan)


def _remove_guides(folder: Path) -> None:
    # Also those of other settings, or of a group whose last record was written before the run was killed.
    for file in folder.glob("guide_*.safetensors"):
        file.unlink()


def _fingerprint(config: ReconstructConfig, measurement: Measurement, hashes: Sequence[str]) -> str:
    facts = json.dumps([asdict(config), measurement.parameters, *hashes], sort_keys=True)
    data = np.ascontiguousarray(measurement.data.resolve_conj().numpy())
    return hashlib.sha256(facts.encode() + data.tobytes()).hexdigest()
