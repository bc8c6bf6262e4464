"""Worker pool of an evaluation: this process, or several new ones."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from medinr.config.protocol import NamedTask
from medinr.errors import MedinrError
from medinr.io.manifest import Manifest, ManifestRow
from medinr.jobs.evaluate.runner import Done, Job, Runner, open_runner, prepare_there, run_there

#: Read by numerical libraries once, when they are loaded.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Scan = tuple[str, Manifest, ManifestRow, int]


class WorkerPool:
    """One or more workers.

    Parameters
    ----------
    workers : int
        1: this process. More: new processes ("spawn", so that results do not depend on the state of this one), which
        end when this one ends, in whatever way.
    folder : Path
    tasks : mapping of str to NamedTask
    seed : int
    curves : bool
    threads : int
        Of each.
    """

    def __init__(
        self, workers: int, folder: Path, tasks: Mapping[str, NamedTask], seed: int, curves: bool, threads: int
    ) -> None:
        self.folder = folder
        self._runner: Runner | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._environment = {name: os.environ.get(name) for name in THREADS}
        self._others = set(multiprocessing.active_children())
        if workers == 1:
            self._runner = Runner(folder, tasks, seed, curves)
            return
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=open_runner,
            initargs=(folder, dict(tasks), seed, curves, threads),
        )

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def prepare(self, scans: Sequence[Scan]) -> list[list[str]]:
        """Make the cases of scans, in the order of the scans."""
        if self._pool is None:
            assert self._runner is not None
            return [self._runner.prepare(*scan) for scan in scans]
        with _killed_worker_reported():
            return [future.result() for future in [self._pool.submit(prepare_there, scan) for scan in scans]]

    def run(self, jobs: Sequence[Job]) -> Iterator[Done]:
        """Run jobs, and yield their outcomes as they are done."""
        if self._pool is None:
            assert self._runner is not None
            yield from map(self._runner.run, jobs)
            return
        with _killed_worker_reported():
            for future in as_completed([self._pool.submit(run_there, job) for job in jobs]):
                yield future.result()

    def close(self) -> None:
        """End the workers; unfinished jobs are dropped."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - self._others:
            child.terminate()
            child.join()
        self._pool = None


@contextmanager
def _killed_worker_reported() -> Iterator[None]:
    """Report a killed worker as an error of medinr."""
    try:
        yield
    except BrokenProcessPool as error:
        raise MedinrError(
            "A worker process ended unexpectedly, perhaps for lack of memory. Finished results are kept: "
            "run the same command again, with fewer --workers."
        ) from error
