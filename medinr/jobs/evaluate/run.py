"""Running the jobs of an evaluation, and assembling its results."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medinr.errors import ManifestError
from medinr.io.claims import sweep, wait_for_claim
from medinr.io.manifest import Manifest
from medinr.jobs.evaluate.assemble import assemble
from medinr.jobs.evaluate.cases import WORK, scans_left_out
from medinr.jobs.evaluate.plan import Plan
from medinr.jobs.evaluate.results import Results
from medinr.jobs.evaluate.runner import Done, Job
from medinr.jobs.evaluate.worker_pool import WorkerPool

#: Seconds before trying again the jobs that another evaluation in the same folder has claimed.
PAUSE = 0.5


@dataclass(frozen=True)
class Status:
    """Progress of an evaluation: jobs planned and done by (task, method), and the last one done."""

    planned: Counter[tuple[str, str]] = field(default_factory=Counter)
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    last: Done | None = None


#: Scans that an error names with the reason why they were left out.
NAMED = 5

Watch = Callable[[Status], None]


def jobs_of(pool: WorkerPool, todo: Plan, manifest: Manifest, slices: int, split: str) -> list[Job]:
    """Make the cases of a plan, and return a job for every case and method.

    Raises
    ------
    ManifestError
        When no scan suits any task.
    """
    cases = pool.prepare([(name, manifest, row, slices) for name, row in todo.scans])
    jobs = [
        Job(name, case, method)
        for (name, _), found in zip(todo.scans, cases, strict=True)
        for case in found
        for method in todo.methods[name]
    ]
    if not jobs:
        raise ManifestError(
            f"No scan of split {split!r} suits any of the tasks {', '.join(todo.tasks)}: "
            "through-plane tasks need axial or coronal scans of nearly cubic voxels, tasks of thick slices scans much "
            "finer than those, prior tasks a second scan in the manifest (an earlier session, another contrast, "
            "another person), acquired_repeats files of several repeats."
            + "".join(f" {sentence}" for sentence in scans_left_out(pool.folder)[:NAMED])
        )
    return jobs


def run_jobs(pool: WorkerPool, jobs: list[Job], watch: Watch) -> None:
    """Run jobs until all are done, by this evaluation or by another one in the same folder."""
    planned = Counter((job.task, job.method) for job in jobs)
    done: Counter[tuple[str, str]] = Counter()
    watch(Status(planned, done))
    while jobs:
        busy = []
        for result in pool.run(jobs):
            if result.busy:
                busy.append(result.job)
                continue
            done[result.job.task, result.job.method] += 1
            watch(Status(planned, done, result))
        jobs = busy
        if jobs:
            time.sleep(PAUSE)


def assembled(out: Path) -> Results:
    """Make tables and images from all records in the folder."""
    # One at a time, so that the table of a second evaluation in the folder is not overwritten by an older one.
    with wait_for_claim(out / WORK / "tables.claim"):
        sweep(out / WORK)
        results: Results = assemble(out)
        return results


def clear(out: Path) -> None:
    """Remove the files of an evaluation from a folder."""
    for name in (WORK, "images", "measurements"):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in ("evaluation.json", "results.csv", "results.parquet"):
        (out / name).unlink(missing_ok=True)
