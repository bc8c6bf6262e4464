"""One unit of an evaluation, a method on a cell: run, timed, scored and kept; in this process or in one of several."""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from medinr.pipelines.cells import WORK, load_facts, paths_beside, prepare_cells, save_tensors
from medinr.pipelines.methods import METHODS
from medinr.pipelines.outcome import Case
from medinr.pipelines.peak_memory import forget_peak, peak_since
from medinr.pipelines.slices import Start, exported, open_trunk, problem_for
from torch import Tensor

from medinr.config.protocol import NamedTask
from medinr.evaluate.metrics import prepare, psnr, scores_of
from medinr.evaluate.results import Cell, read_images
from medinr.io.claims import claim
from medinr.io.hashes import hash_file
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.measurement import read_measurement
from medinr.measurement import Measurement
from medinr.solve.problem import Problem
from medinr.trunks.checkpoint import find_trunk

#: Subfolder of what peers learn beforehand.
TAUGHT = "taught"


@dataclass(frozen=True)
class Unit:
    """A method to be run on a cell."""

    task: str
    cell: str
    method: str

    @property
    def file(self) -> str:
        """Name of its record, without ending."""
        return f"{self.cell}__{self.method}"


@dataclass(frozen=True)
class Done:
    """What became of a unit: ``busy`` when another evaluation in this folder is at it."""

    unit: Unit
    busy: bool = False
    fresh: bool = False
    seconds: float = 0.0
    psnr: float = math.nan


class Bench:
    """Runs units; keeps the last problem and the trunks, so that the methods of a cell share what they cost to open."""

    def __init__(self, folder: Path, tasks: Mapping[str, NamedTask], seed: int, curves: bool) -> None:
        self.folder, self.tasks, self.seed, self.curves = folder, tasks, seed, curves
        self._trunks: dict[tuple[str, str], Start] = {}
        self._last: tuple[str, Measurement, int, Problem, np.ndarray[Any, Any], Cell] | None = None

    def prepare(self, task: str, manifest: Manifest, row: ManifestRow, slices: int) -> list[str]:
        """Make the cells of a scan."""
        cells: list[str] = prepare_cells(self.folder, self.tasks[task], manifest, row, slices, self.seed)
        return cells

    def fingerprint(self, task: NamedTask, method: str) -> str:
        """Hash of everything a result depends on beside its measurement."""
        settings = METHODS[method].settings(task.config)
        if settings.get("trunk", "random") != "random":
            settings["trunk_sha256"] = hash_file(find_trunk(settings["trunk"]))
        text = json.dumps([method, settings, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def run(self, unit: Unit) -> Done:
        """Run a unit unless its record is there, or somebody else is at it."""
        path = self.folder / WORK / f"{unit.file}.safetensors"
        task = self.tasks[unit.task]
        task = replace(
            task, config=replace(task.config, fit=replace(task.config.fit, seed=task.config.fit.seed + self.seed))
        )
        wanted = self.fingerprint(task, unit.method)
        if _is_done(path, wanted):
            return Done(unit)
        with claim(path.with_suffix(".claim")) as ours:
            if not ours:
                return Done(unit, busy=True)
            if _is_done(path, wanted):
                return Done(unit)
            measurement, position, problem, reference, cell = self._open(unit.cell)
            judged = prepare(reference, cell.manner)

            def score(image: Tensor) -> float:
                return psnr(prepare(exported(measurement, image), cell.manner), judged, cell.peak)

            case = Case(
                measurement,
                position,
                problem,
                task.config,
                self._start_for(cell.modality),
                self.folder / WORK / TAUGHT,
                score if self.curves else None,
                paths_beside(self.folder, unit.task, cell.scan) if task.beside else (),
            )
            forget_peak()
            before = time.perf_counter()
            outcome = METHODS[unit.method].run(case)
            seconds = time.perf_counter() - before if outcome.seconds is None else outcome.seconds
            memory = peak_since()
            image = exported(measurement, outcome.image)
            scores = scores_of(image, reference, cell.peak, cell.manner)
            facts = {
                "cell": unit.cell,
                "method": unit.method,
                "seed": self.seed,
                "seconds": seconds,
                "peak_memory_mb": memory,
                "threads": torch.get_num_threads(),
                "stopped_at": outcome.stopped_at,
                "reason": outcome.reason,
                "curve": outcome.curve,
                "settings_hash": wanted,
                "medinr_version": metadata.version("medinr"),
                "scores": [asdict(one) for one in scores],
            }
            save_tensors(path, {"image": image}, facts)
        return Done(unit, fresh=True, seconds=seconds, psnr=scores[0].value)

    def _open(self, name: str) -> tuple[Measurement, int, Problem, np.ndarray[Any, Any], Cell]:
        if self._last is None or self._last[0] != name:
            measurement = read_measurement(self.folder / "measurements" / f"{name}.safetensors")
            path = self.folder / WORK / f"{name}.safetensors"
            facts = load_facts(path)
            cell = Cell(**facts | {"spacing": tuple(facts["spacing"])})
            position = measurement.slice_numbers.index(cell.slice)
            problem = problem_for(measurement, position)
            # What an operator builds on its first use is no method's own time.
            problem.adjoint(problem.predict(problem.adjoint(problem.data)))
            self._last = name, measurement, position, problem, read_images(path)["reference"], cell
        return self._last[1:]

    def _start_for(self, modality: str) -> Callable[[str], Start]:
        def start(trunk: str) -> Start:
            key = (trunk, modality)
            if key not in self._trunks:
                self._trunks[key] = open_trunk(trunk, modality)
            return self._trunks[key]

        return start


def _is_done(path: Path, fingerprint: str) -> bool:
    return path.exists() and load_facts(path)["settings_hash"] == fingerprint


_bench: Bench | None = None


def open_bench(folder: Path, tasks: Mapping[str, NamedTask], seed: int, curves: bool, threads: int) -> None:
    """Set up a worker process: threads, its bench, and an end as soon as whoever started it ends."""
    global _bench
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process says what happens
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _bench = Bench(folder, tasks, seed, curves)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def prepare_there(scan: tuple[str, Manifest, ManifestRow, int]) -> list[str]:
    """`Bench.prepare` in a worker process."""
    assert _bench is not None
    return _bench.prepare(*scan)


def run_there(unit: Unit) -> Done:
    """`Bench.run` in a worker process."""
    assert _bench is not None
    return _bench.run(unit)
