"""Scan in, the same scan denoised out: NIfTI, derived DICOM, what was removed, pictures, result.json."""

from __future__ import annotations

import time
from collections.abc import Callable

from medinr.jobs.scan.denoise import denoise_volumes, denoised
from medinr.jobs.scan.forecast import forecast
from medinr.jobs.scan.methods import DENOISERS, Progress
from medinr.jobs.scan.prepare import open_job, require_output
from medinr.jobs.scan.request import ScanRequest
from medinr.jobs.scan.result import ScanOutcome
from medinr.jobs.scan.series import plan_series
from medinr.jobs.scan.write_denoised import write_denoised


def denoise(
    request: ScanRequest,
    *,
    announce: Callable[[str], None] = lambda words: None,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> ScanOutcome | None:
    """Denoise every volume of a scan, as it was acquired.

    Parameters
    ----------
    request : ScanRequest
        An unfinished run of the same request in the same folder is continued where it was.
    announce : callable
        Gets a line for everything that is found before the work begins: grid, noise, warnings, time and memory.
    progress : callable, optional
        Called with slices done and slices in all.
    dry_run : bool
        Stop after that, without writing anything.

    Returns
    -------
    ScanOutcome or None
        None of a dry run.

    Raises
    ------
    InputError
        When the scan cannot be treated, or nothing can be written, before anything is computed.
    """
    started = time.perf_counter()
    require_output(request)
    job = open_job(request, DENOISERS, announce)
    plan = plan_series(job)
    alone = forecast(
        job.source.first,
        job.noise,
        job.source.count,
        lambda part, noise: denoised(part, noise, job.model, method=request.method),
    )
    expected = plan.added_to(alone)
    if plan.words:
        announce(plan.words)
    for words in job.warnings:
        announce(f"Warning: {words}")
    announce(f"denoising takes {expected.words}")
    if dry_run:
        return None
    kept = job.kept({"command": "denoise", "together": [len(group) for group in plan.groups]})
    denoise_volumes(job, plan, kept, progress)
    return write_denoised(job, plan, kept, expected, time.perf_counter() - started)
