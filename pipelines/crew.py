"""Who does the work of an evaluation: this process, or several fresh ones beside it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from medinr.pipelines.units import Bench, Done, Unit, open_bench, prepare_there, run_there

from medinr.config.protocol import NamedTask
from medinr.errors import MedinrError
from medinr.io.manifest import Manifest, ManifestRow

#: Read by numerical libraries once, when they are loaded.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Scan = tuple[str, Manifest, ManifestRow, int]


class Crew:
    """One or more workers.

    Parameters
    ----------
    workers : int
        1: this process. More: fresh processes ("spawn": nothing of this one's state can change a result), which end
        when this one ends, however it does.
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
        self._bench: Bench | None = None
        self._pool: ProcessPoolExecutor | None = None
        self._environment = {name: os.environ.get(name) for name in THREADS}
        self._others = set(multiprocessing.active_children())
        if workers == 1:
            self._bench = Bench(folder, tasks, seed, curves)
            return
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=open_bench,
            initargs=(folder, dict(tasks), seed, curves, threads),
        )

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dismiss()
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def prepare(self, scans: Sequence[Scan]) -> list[list[str]]:
        """Make the cells of scans, in their order."""
        if self._pool is None:
            assert self._bench is not None
            return [self._bench.prepare(*scan) for scan in scans]
        with _explained():
            return [future.result() for future in [self._pool.submit(prepare_there, scan) for scan in scans]]

    def run(self, units: Sequence[Unit]) -> Iterator[Done]:
        """Run units; they come back as they are done."""
        if self._pool is None:
            assert self._bench is not None
            yield from map(self._bench.run, units)
            return
        with _explained():
            for future in as_completed([self._pool.submit(run_there, unit) for unit in units]):
                yield future.result()

    def dismiss(self) -> None:
        """End the workers; a unit that one was at is left undone."""
        if self._pool is None:
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - self._others:
            child.terminate()
            child.join()
        self._pool = None


@contextmanager
def _explained() -> Iterator[None]:
    """Say in the user's terms that a worker was killed."""
    try:
        yield
    except BrokenProcessPool as error:
        raise MedinrError(
            "A worker process ended unexpectedly, perhaps for want of memory. Nothing that was finished is lost: "
            "run the same command again, with fewer --workers."
        ) from error
