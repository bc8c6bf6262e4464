"""One job of an evaluation, a method on a case: run, timed, scored and stored; here or in a worker process."""

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
from numpy.typing import NDArray
from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.acquisition.ways import acquisition_of
from medinr.config.protocol import NamedTask
from medinr.io.claims import claim
from medinr.io.hashes import hash_file
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.measurement import read_measurement
from medinr.jobs.evaluate.cases import WORK, auxiliary_paths, load_facts, prepare_cases, save_tensors
from medinr.jobs.evaluate.judged import Judged
from medinr.jobs.evaluate.results import EXPECTED_RESIDUAL, RESIDUAL, Case, read_images
from medinr.jobs.methods.input import MethodInput
from medinr.jobs.methods.method import UnfinishedError
from medinr.jobs.methods.registry import METHODS
from medinr.jobs.peak_memory import forget_peak, peak_since
from medinr.models.checkpoint import find_model, load_model_for
from medinr.models.model import RANDOM, Model
from medinr.solve.problem import Problem
from medinr.solve.split import Split

#: Subfolder of what baselines learn beforehand.
TRAINED = "trained"


@dataclass(frozen=True)
class Job:
    """A method to be run on a case."""

    task: str
    case: str
    method: str

    @property
    def file(self) -> str:
        """Name of its record, without ending."""
        return f"{self.case}__{self.method}"


@dataclass(frozen=True)
class Done:
    """The outcome of a job; ``busy`` when another evaluation in this folder runs it."""

    job: Job
    busy: bool = False
    fresh: bool = False
    seconds: float = 0.0
    psnr: float = math.nan


class Runner:
    """Runs jobs. The last problem and the models are kept, so that they are opened once for all methods of a case."""

    def __init__(self, folder: Path, tasks: Mapping[str, NamedTask], seed: int, curves: bool) -> None:
        self.folder, self.tasks, self.seed, self.curves = folder, tasks, seed, curves
        self._models: dict[tuple[str, str], Model] = {}
        self._last: tuple[str, Acquisition, int, Problem, Judged] | None = None

    def prepare(self, task: str, manifest: Manifest, row: ManifestRow, slices: int) -> list[str]:
        """Make the cases of a scan."""
        cases: list[str] = prepare_cases(self.folder, self.tasks[task], manifest, row, slices, self.seed)
        return cases

    def fingerprint(self, task: NamedTask, method: str) -> str:
        """Hash of everything a result depends on besides its measurement."""
        settings = METHODS[method].settings(task.config)
        if settings.get("model", RANDOM) != RANDOM:
            settings["model_sha256"] = hash_file(find_model(settings["model"]))
        text = json.dumps([method, settings, self.seed], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def run(self, job: Job) -> Done:
        """Run a job unless its record exists, or another process runs it."""
        path = self.folder / WORK / f"{job.file}.safetensors"
        task = self.tasks[job.task]
        task = replace(task, config=replace(task.config, seed=task.config.seed + self.seed))
        wanted = self.fingerprint(task, job.method)
        if _is_done(path, wanted):
            return Done(job)
        with claim(path.with_suffix(".claim")) as claimed:
            if not claimed:
                return Done(job, busy=True)
            if _is_done(path, wanted):
                return Done(job)
            acquisition, position, problem, judged = self._open(job.case)

            def exported(image: Tensor) -> NDArray[np.float32]:
                found = acquisition.export(image)
                # The direct image alone keeps the bias of magnitudes.
                return found if job.method == acquisition.direct_name else judged.compared(found)

            def score(image: Tensor) -> float:
                return judged.psnr(exported(image))

            given = MethodInput(
                acquisition,
                position,
                problem,
                # Where the noise is to be found, no method sees how much was added.
                task.config if acquisition.tells_noise else replace(task.config, simulation=None),
                self._opener(judged.case.modality),
                self.folder / WORK / TRAINED,
                score if self.curves else None,
                auxiliary_paths(self.folder, job.task, judged.case.scan) if task.auxiliary else (),
            )
            forget_peak()
            before = time.perf_counter()
            try:
                outcome = METHODS[job.method].run(given)
            except UnfinishedError as error:
                # A record without numbers, so that it is not tried again.
                left_out = {"method": job.method, "reason": str(error), "settings_hash": wanted, "scores": []}
                save_tensors(path, {}, left_out)
                return Done(job, fresh=True)
            seconds = time.perf_counter() - before if outcome.seconds is None else outcome.seconds
            memory = peak_since()
            image = exported(outcome.image)
            scores = judged.scores(image)
            residual = None
            if acquisition.tells_noise:
                residual = Split.nothing_held(problem).residual(outcome.image / problem.scale)
            facts = {
                "case": job.case,
                "method": job.method,
                "seed": self.seed,
                "seconds": seconds,
                "peak_memory_mb": memory,
                "threads": torch.get_num_threads(),
                "stopped_at": outcome.stopped_at,
                "reason": outcome.reason,
                "curve": outcome.curve,
                RESIDUAL: residual,
                EXPECTED_RESIDUAL: outcome.expected_residual,
                "settings_hash": wanted,
                "medinr_version": metadata.version("medinr"),
                "scores": [asdict(one) for one in scores],
            }
            save_tensors(path, {"image": image}, facts)
        return Done(job, fresh=True, seconds=seconds, psnr=scores[0].value)

    def _open(self, name: str) -> tuple[Acquisition, int, Problem, Judged]:
        if self._last is None or self._last[0] != name:
            measurement = read_measurement(self.folder / "measurements" / f"{name}.safetensors")
            path = self.folder / WORK / f"{name}.safetensors"
            facts = load_facts(path)
            case = Case(**facts | {"spacing": tuple(facts["spacing"])})
            position = measurement.slice_numbers.index(case.slice)
            acquisition = acquisition_of(measurement)
            problem = acquisition.problem(position)
            # Operators prepare data on their first use; that time should not count for the first method.
            problem.adjoint(problem.predict(problem.adjoint(problem.data)))
            images = read_images(path)
            judged = Judged(
                case, images["reference"], *(images.get(key) for key in ("sigma", "without_lesions", "lesions"))
            )
            self._last = name, acquisition, position, problem, judged
        return self._last[1:]

    def _opener(self, modality: str) -> Callable[[str], Model]:
        def load(name: str) -> Model:
            key = (name, modality)
            if key not in self._models:
                self._models[key] = load_model_for(name, modality)
            return self._models[key]

        return load


def _is_done(path: Path, fingerprint: str) -> bool:
    return path.exists() and load_facts(path)["settings_hash"] == fingerprint


_runner: Runner | None = None


def open_runner(folder: Path, tasks: Mapping[str, NamedTask], seed: int, curves: bool, threads: int) -> None:
    """Set up a worker process: its threads, its runner, and a watch that ends it when its parent ends."""
    global _runner
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles the interrupt
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _runner = Runner(folder, tasks, seed, curves)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


def prepare_there(scan: tuple[str, Manifest, ManifestRow, int]) -> list[str]:
    """`Runner.prepare` in a worker process."""
    assert _runner is not None
    return _runner.prepare(*scan)


def run_there(job: Job) -> Done:
    """`Runner.run` in a worker process."""
    assert _runner is not None
    return _runner.run(job)
