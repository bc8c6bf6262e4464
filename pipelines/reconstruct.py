"""Raw data or a measurement file in, reconstruction out: NIfTI, figures, result.json, convergence.csv."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from medinr.config import ReconstructConfig
from medinr.io.atomic import require_writable
from medinr.io.measurement import write_measurement
from medinr.jobs.measure import open_measurement
from medinr.jobs.reconstruct.auxiliary import open_auxiliary
from medinr.jobs.reconstruct.context import Progress
from medinr.jobs.reconstruct.prepare import prepare_job
from medinr.jobs.reconstruct.records import slice_records
from medinr.jobs.reconstruct.result import Reconstruction, refuse_finished, write_result


def reconstruct(
    source: Path,
    out: Path,
    config: ReconstructConfig,
    *,
    slices: Sequence[int] | None = None,
    sidecar: Path | None = None,
    auxiliary: Sequence[Path] = (),
    fallback: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Reconstruction:
    """Reconstruct raw data or a measurement file; a scan is refused.

    Parameters
    ----------
    source : Path
        Raw data, or measurement (.safetensors).
    out : Path
        Folder for everything that is made; an unfinished one is continued, a finished one refused.
    config : ReconstructConfig
    slices : sequence of int, optional
        Evenly spaced slice numbers; all by default.
    sidecar : Path, optional
        What a raw file does not say itself (`medinr.io.raw.sidecar`).
    auxiliary : sequence of Path, optional
        The patient's earlier scans, or other contrasts (MR; `medinr.jobs.reconstruct.auxiliary`); first the one that
        is most like what is being reconstructed.
    fallback : bool
        Write the direct image or that of total variation where it predicts held-out measurements better.
    overwrite : bool
        Replace a finished result.
    progress : callable, optional
        Called with the position among the slices and every `medinr.solve.solution.Step`.

    Returns
    -------
    Reconstruction

    Raises
    ------
    FileError
        When the source is a scan, naming the commands that take one.
    """
    started = time.perf_counter()
    require_writable(out)
    refuse_finished(out, overwrite)
    measurement, reference = open_measurement(source, config, slices=slices, sidecar=sidecar)
    scans = open_auxiliary(auxiliary, measurement) if auxiliary else ()
    job = prepare_job(measurement, config, auxiliary=scans, folder=out / "work")
    if source.suffix != ".safetensors":
        write_measurement(measurement, out / "measurement.safetensors", overwrite=True)
    records = slice_records(job, overwrite=overwrite, progress=progress)
    return write_result(out, job, records, reference, time.perf_counter() - started, fallback=fallback)
