"""Manifest in, folder of results out: every method on the same measurements of held-out scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from medinr.config import EvaluateConfig
from medinr.io.claims import wait_for_claim
from medinr.io.manifest import Manifest
from medinr.jobs.evaluate.cases import WORK
from medinr.jobs.evaluate.notes import note_settings
from medinr.jobs.evaluate.plan import plan
from medinr.jobs.evaluate.results import Results
from medinr.jobs.evaluate.run import Watch, assembled, clear, jobs_of, run_jobs
from medinr.jobs.evaluate.worker_pool import WorkerPool


def evaluate(
    manifest: Manifest,
    config: EvaluateConfig,
    out: Path,
    *,
    near: Path | None = None,
    require: Sequence[str] = (),
    workers: int = 1,
    overwrite: bool = False,
    watch: Watch = lambda status: None,
) -> Results:
    """Score every method on held-out scans.

    Parameters
    ----------
    manifest : Manifest
    config : EvaluateConfig
    out : Path
        Filled as `medinr.jobs.evaluate.results` reads it. Run again, it goes on where it stopped; other tasks, methods
        or slices are added to what is there.
    near : Path, optional
        Folder that task configurations are looked for in first.
    require : sequence of str
        Claims to be checked for sense before anything is computed (`medinr.jobs.evaluate.requirements`).
    workers : int
        Processes; each has its share of the threads.
    overwrite : bool
        Begin anew.
    watch : callable
        Called with a `Status` at the start and after every job.

    Returns
    -------
    Results

    Raises
    ------
    LeakageError, ManifestError, ConfigError
        See `plan`.
    OutputExistsError
        When the folder holds an evaluation with other settings.
    """
    todo = plan(manifest, config, near=near, require=require)
    if overwrite:
        clear(out)
    with wait_for_claim(out / WORK / "settings.claim"):
        note_settings(out, config, todo)
    threads = max(1, torch.get_num_threads() // workers)
    with WorkerPool(workers, out, todo.tasks, config.seed, config.curves, threads) as pool:
        try:
            run_jobs(pool, jobs_of(pool, todo, manifest, config.slices, config.split), watch)
        finally:
            pool.close()
            results = assembled(out)
    return results
