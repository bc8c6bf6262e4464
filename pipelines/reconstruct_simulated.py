"""Scan in; a measurement is simulated of it, reconstructed, and compared with the scan: a test of a method."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from medinr.config import ReconstructConfig
from medinr.io.atomic import require_writable
from medinr.io.choice import AS_IT_IS, ScanChoice
from medinr.io.measurement import write_measurement
from medinr.jobs.measure import measure
from medinr.jobs.reconstruct.auxiliary import open_auxiliary
from medinr.jobs.reconstruct.context import Progress
from medinr.jobs.reconstruct.dicom_output import plan_dicom
from medinr.jobs.reconstruct.prepare import prepare_job
from medinr.jobs.reconstruct.records import slice_records
from medinr.jobs.reconstruct.result import Reconstruction, refuse_finished, write_result


def reconstruct_simulated(
    source: Path,
    out: Path,
    config: ReconstructConfig,
    *,
    slices: Sequence[int] | None = None,
    choice: ScanChoice = AS_IT_IS,
    auxiliary: Sequence[Path] = (),
    fallback: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    deidentify: bool = False,
) -> Reconstruction:
    """Reconstruct a measurement that is simulated of a scan; the scan is the reference, and is not treated.

    Parameters
    ----------
    source : Path
        NIfTI file, DICOM folder, or another format of `medinr.io.scan.read_scan`.
    out : Path
        Folder for everything that is made; an unfinished one is continued, a finished one refused.
    config : ReconstructConfig
        Its ``simulation`` says what is simulated.
    slices : sequence of int, optional
        Evenly spaced slice numbers; all by default.
    choice : ScanChoice
        Which scan, where there are several.
    auxiliary : sequence of Path, optional
        The patient's earlier scans, or other contrasts (MR; `medinr.jobs.reconstruct.auxiliary`); first the one that
        is most like what is being reconstructed.
    fallback : bool
        Write the direct image or that of total variation where it predicts held-out measurements better.
    overwrite : bool
        Replace a finished result.
    progress : callable, optional
        Called with the position among the slices and every `medinr.solve.solution.Step`.
    deidentify : bool
        Write derived DICOM under the Basic Application Level Confidentiality Profile.

    Returns
    -------
    Reconstruction
        Its notes say that the measurement was simulated.

    Raises
    ------
    FileError
        When the source is a measurement already, or nothing that is known.
    """
    started = time.perf_counter()
    require_writable(out)
    refuse_finished(out, overwrite)
    measurement, reference = measure(source, config, choice, slices=slices)
    dicom = plan_dicom(reference, deidentify)
    scans = open_auxiliary(auxiliary, measurement) if auxiliary else ()
    job = prepare_job(measurement, config, auxiliary=scans, folder=out / "work")
    write_measurement(measurement, out / "measurement.safetensors", overwrite=True)
    records = slice_records(job, overwrite=overwrite, progress=progress)
    return write_result(out, job, records, reference, time.perf_counter() - started, dicom, fallback=fallback)
