"""The records of a reconstruction's slices: those that are there, and those that are made and kept now."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from torch import Tensor

from medinr.jobs.methods.variational import tv_image
from medinr.jobs.reconstruct.checks import checks_of_slice
from medinr.jobs.reconstruct.context import Progress, ReconstructionJob
from medinr.jobs.reconstruct.solve import solve_slices
from medinr.jobs.reconstruct.uncertainty_maps import uncertainty_maps
from medinr.jobs.reconstruct.unfinished import remove_unfinished
from medinr.jobs.record import SliceRecord, load_record, save_record
from medinr.solve.solution import Solution


def slice_records(job: ReconstructionJob, *, overwrite: bool, progress: Progress | None = None) -> list[SliceRecord]:
    """Give the records of all slices; what a run before has finished is read, the rest is solved and kept.

    Parameters
    ----------
    job : ReconstructionJob
        With a folder.
    overwrite : bool
        Solve all anew.
    progress : callable, optional
    """
    assert job.folder is not None
    files = [job.folder / f"slice_{position:04d}.safetensors" for position in range(len(job.problems))]
    kept = {k: None if overwrite else load_record(file, job.fingerprint) for k, file in enumerate(files)}
    done = {k: record for k, record in kept.items() if record is not None}
    missing = [k for k in kept if k not in done]
    if overwrite:
        remove_unfinished(job.folder)
    made = solve_slices(job, missing, lambda *solved: _record(job, *solved), progress)
    with closing(made) as found:
        for position, record in found:
            done[position] = record
            save_record(files[position], record, job.fingerprint)
    remove_unfinished(job.folder)
    return [done[position] for position in range(len(files))]


def _record(job: ReconstructionJob, position: int, solution: Solution, joint: bool) -> SliceRecord:
    """Put direct image, total variation, maps of uncertainty and checks beside a solution."""
    acquisition, problem, settings = job.acquisition, job.problems[position], job.config.total_variation
    images = {"medinr": acquisition.export(solution.image)}
    seconds = {"medinr": solution.seconds}
    maps, spent = uncertainty_maps(job, position, solution.image)
    if maps:
        images |= maps
        seconds["uncertainty"] = spent
    baselines: dict[str, Callable[[], Tensor]] = {"input": lambda: acquisition.direct(problem.data, problem.operator)}
    if settings.weight > 0:
        baselines["TV"] = lambda: tv_image(problem, settings.weight, settings.iterations)
    for name, make in baselines.items():
        before = time.perf_counter()
        images[name] = acquisition.export(make())
        seconds[name] = time.perf_counter() - before
    before = time.perf_counter()
    checks = checks_of_slice(job, position, solution)
    seconds["checks"] = time.perf_counter() - before
    record = SliceRecord.of(solution, images, seconds, joint, checks)
    if job.auxiliary is None:
        return record
    return replace(record, agreement=job.auxiliary.agreement(position, solution.image / problem.scale))
