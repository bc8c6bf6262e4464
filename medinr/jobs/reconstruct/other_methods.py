"""Any method of the evaluation on one slice of a reconstruction."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from medinr.errors import ConfigError
from medinr.jobs.methods.input import MethodInput
from medinr.jobs.methods.registry import METHODS, find_method
from medinr.jobs.reconstruct.context import ReconstructionJob
from medinr.models.checkpoint import load_model
from medinr.models.model import Model
from medinr.solve.solution import Solution
from medinr.solve.split import Split


def require_method(job: ReconstructionJob) -> str:
    """Name of the job's method as it is written.

    Raises
    ------
    ConfigError
        When there is no such method, it needs a library that is not installed, or it does not suit the task.
    """
    name, method = find_method(job.config.method)
    if not method.suits(job.config):
        suited = [other for other, known in METHODS.items() if known.suits(job.config)]
        raise ConfigError(
            f"{name} is not for task {job.config.task} with these settings. Choose one of {', '.join(suited)}."
        )
    return name


def method_solution(job: ReconstructionJob, position: int) -> Solution:
    """Reconstruct a slice by the job's method; ``seconds`` without what it learned beforehand."""
    name, method = find_method(job.config.method)
    problem = job.problems[position]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) if job.folder is None else job.folder / "trained_baselines"
        given = MethodInput(
            job.acquisition, position, problem, job.config, _opener(job.model, job.config.model), folder
        )
        started = time.perf_counter()
        outcome = method.run(given)
        seconds = time.perf_counter() - started if outcome.seconds is None else outcome.seconds
    return Solution(
        outcome.image,
        reason=outcome.reason or f"{name} was done",
        stopped_at=outcome.stopped_at or 0,
        seconds=seconds,
        residual=Split.nothing_held(problem).residual(outcome.image / problem.scale),
        steps=outcome.steps,
        settings={"method": name, **method.settings(job.config), "simulation": asdict(job.config.simulation)},
    )


def _opener(model: Model, name: str) -> Callable[[str], Model]:
    return lambda wanted: model if wanted == name else load_model(wanted)
