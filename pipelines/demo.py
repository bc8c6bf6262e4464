"""The shipped example: a brain slice of a person the model has not seen, 4x undersampled."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from medinr.config import ReconstructConfig
from medinr.config.shipped import excerpt
from medinr.io.choice import ScanChoice
from medinr.io.measurement import write_measurement
from medinr.jobs.demo import FILE, SLICE, demo_table
from medinr.jobs.measure import measure
from medinr.jobs.reconstruct.context import Progress
from medinr.jobs.reconstruct.prepare import prepare_job
from medinr.jobs.reconstruct.records import slice_records
from medinr.jobs.reconstruct.result import refuse_finished, write_result


def demo(
    config: ReconstructConfig, out: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> pd.DataFrame:
    """Reconstruct the example into a folder and score every method on it.

    Parameters
    ----------
    config : ReconstructConfig
    out : Path
    overwrite : bool
        Replace a finished result.
    progress : callable, optional
        Called with the position of the slice and every `medinr.solve.solution.Step`.

    Returns
    -------
    DataFrame
        Table of results, see `medinr.jobs.evaluate.results`.
    """
    started = time.perf_counter()
    refuse_finished(out, overwrite)
    measurement, reference = measure(excerpt("brain_mr", FILE), config, ScanChoice(modality="MR"), slices=[SLICE])
    job = prepare_job(measurement, config, folder=out / "work")
    write_measurement(measurement, out / "measurement.safetensors", overwrite=True)
    records = slice_records(job, overwrite=overwrite, progress=progress)
    write_result(out, job, records, reference, time.perf_counter() - started)
    return demo_table(records[0], job, reference)
