"""What a reconstruction leaves in its folder: NIfTI, derived DICOM, maps, figures, convergence.csv, result.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medinr.config.schema import DEFAULT_METHOD
from medinr.data.orient import restore_orientation
from medinr.errors import OutputExistsError
from medinr.io.atomic import write_json
from medinr.io.nifti import write_nifti
from medinr.io.provenance import last_part, notes_without_names
from medinr.jobs.audit.carried import KEY as FINDINGS
from medinr.jobs.audit.carried import findings_of
from medinr.jobs.reconstruct.auxiliary import AuxiliaryScans
from medinr.jobs.reconstruct.context import ReconstructionJob
from medinr.jobs.reconstruct.dicom_output import DicomPlan, write_dicom
from medinr.jobs.reconstruct.figures import reconstruction_figures
from medinr.jobs.reconstruct.judgement import judge_result
from medinr.jobs.reconstruct.uncertainty_maps import MAPS
from medinr.jobs.record import SliceRecord, versions, write_convergence
from medinr.jobs.reference import Reference
from medinr.jobs.settings_facts import settings_facts
from medinr.jobs.simulated import SIMULATED
from medinr.measurement import Measurement
from medinr.volume import Volume


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What `medinr reconstruct` or `reconstruct-simulated` made, and where it lies.

    Attributes
    ----------
    folder : Path
    volume : Volume
        The reconstruction, in the scan's units and orientation.
    reference : Reference or None
        The scan the measurement was simulated from, or the image of all raw data where some were left out.
    records : tuple of SliceRecord
    measurement : Measurement
    warnings : tuple of str
        Checks that failed, and what could not be written as DICOM, in words.
    notes : tuple of str
        That the measurement was simulated, if it was, and irregularities found while reading the source; none names
        a file.
    auxiliary : AuxiliaryScans or None
        What became of the auxiliary scans, if any were given.
    """

    folder: Path
    volume: Volume
    reference: Reference | None
    records: tuple[SliceRecord, ...]
    measurement: Measurement
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    auxiliary: AuxiliaryScans | None = None


def refuse_finished(out: Path, overwrite: bool) -> None:
    """Raise `OutputExistsError` when a folder holds a finished result that may not be replaced."""
    if (out / "result.json").exists() and not overwrite:
        raise OutputExistsError(f"{out} holds a finished result. Choose another --out, or replace it with --overwrite.")


def write_result(
    out: Path,
    job: ReconstructionJob,
    records: Sequence[SliceRecord],
    reference: Reference | None,
    seconds: float,
    dicom: DicomPlan | None = None,
    *,
    fallback: bool = False,
) -> Reconstruction:
    """Write everything, ``result.json`` last: where it is, the rest is complete.

    Parameters
    ----------
    out : Path
        Folder; what is there is replaced.
    job : ReconstructionJob
    records : sequence of SliceRecord
        Of all slices.
    reference : Reference or None
    seconds : float
        Wall time of the whole reconstruction.
    dicom : DicomPlan, optional
        What is written as DICOM, nothing by default.
    fallback : bool
        Whether the direct image or that of total variation takes the place of the reconstruction, without maps, where
        it predicts held-out measurements better.
    """
    measurement, config, card = job.acquisition.measurement, job.config, job.model.card
    judged = judge_result(job, records, reference, fallback)
    volume = _volume(judged.image, measurement, records, reference)
    # Texts of a source's header may identify the patient.
    write_nifti(volume, out / "reconstruction.nii.gz", overwrite=True, source_header=False)
    outputs = ["reconstruction.nii.gz", "convergence.csv"]
    # Maps are of medinr's image.
    kept = [name for name in MAPS if name in records[0].images and judged.image == "medinr"]
    maps = {name: _volume(name, measurement, records, reference) for name in kept}
    for name, one in maps.items():
        write_nifti(one, out / f"{name}.nii.gz", overwrite=True, source_header=False)
        outputs.append(f"{name}.nii.gz")
    simulated = bool(measurement.parameters.get("simulated"))
    what = "simulated measurement, " if simulated else ""
    settings = f"medinr {versions()['medinr']}, {what}task {config.task}, model {last_part(config.model)}"
    exported = write_dicom(out, dicom or DicomPlan(), volume, maps, config.task, settings, simulated)
    outputs += exported.outputs
    write_convergence(out / "convergence.csv", measurement.slice_numbers, records)
    label = "medinr" if config.method.lower() == DEFAULT_METHOD else config.method
    outputs += reconstruction_figures(out, job.acquisition, label, records, reference)
    notes = notes_without_names(measurement.provenance.notes, measurement.provenance.files)
    notes = (*((SIMULATED,) if simulated else ()), *((job.why_model,) if job.why_model else ()), *notes)
    write_json(
        out / "result.json",
        {
            "task": config.task,
            "method": config.method,
            "simulated": simulated,
            "settings": settings_facts(config),
            "measurement": {
                k: v for k, v in measurement.parameters.items() if k not in ("settings", "slices", FINDINGS)
            },
            "source_sha256": measurement.provenance.sha256,
            "findings": findings_of(measurement),
            "notes": notes,
            "model": {"name": last_part(config.model), "subjects": list(card.subjects) if card else []},
            "auxiliary_scans": None if job.auxiliary is None else job.auxiliary.facts,
            "slices": [
                {"slice": number} | record.summary() | facts
                for number, record, facts in zip(measurement.slice_numbers, records, judged.facts, strict=True)
            ],
            "image": judged.image,
            "warnings": judged.warnings,
            "dicom": exported.facts,
            "seconds": seconds,
            "versions": versions(),
            "outputs": sorted(outputs),
        },
        overwrite=True,
    )
    return Reconstruction(
        out, volume, reference, tuple(records), measurement, (*judged.warnings, *exported.notes), notes, job.auxiliary
    )


def _volume(name: str, measurement: Measurement, records: Sequence[SliceRecord], reference: Reference | None) -> Volume:
    """One kind of image of all slices where they lie in the patient, in the voxel order of the scan if known."""
    upright = measurement.volume(np.stack([record.images[name] for record in records]))
    return upright if reference is None else restore_orientation(upright, reference.scan)
