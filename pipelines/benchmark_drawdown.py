"""How far the PSNR falls during a test-time fit after it has been higher: medinr beside the published recipe.

The published method's known weakness. For every task, slice and seed the image is scored after every step; the
drawdown is the largest fall after a running maximum. The fit sees none of the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from medinr.pipelines.cases import Case, cases
from medinr.pipelines.record import new_result, versions
from medinr.pipelines.slices import Start, open_trunk, problem_for
from rich.table import Table
from torch import Tensor

from medinr.config import load_config
from medinr.config.schema import ReconstructConfig
from medinr.data.simulate import simulate
from medinr.evaluate.metrics import psnr
from medinr.io.atomic import write_json
from medinr.solve.fit import FitSettings, fit
from medinr.solve.imitate import ImitationSettings
from medinr.solve.problem import Problem

#: Tasks, beside plain fitting.
TASKS = ("denoise", "superres", "kspace")


def drawdown(values: list[float]) -> float:
    """Largest fall after a running maximum.

    Examples
    --------
    >>> drawdown([1.0, 5.0, 3.0, 6.0, 5.5])
    2.0
    """
    series = np.asarray(values)
    return float(np.max(np.maximum.accumulate(series) - series))


def benchmark_drawdown(
    manifest: str,
    count: int,
    size: int,
    seeds: int,
    recipe_steps: int,
    trunk: str,
    out: Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Measure drawdowns over tasks (and plain fitting) x slices x seeds.

    Parameters
    ----------
    manifest : str
        CSV file or shipped manifest; its devtest split is used.
    count : int
        Slices.
    size : int
        They are resampled to ``size x size`` pixels.
    seeds : int
        Runs per task and slice; the seed draws the measurement's noise and mask and the fit's randomness.
    recipe_steps : int
        Steps of the published recipe.
    trunk : str
    out : Path
        Gets ``drawdown.json``.

    Returns
    -------
    rich.table.Table
    """
    path = new_result(out, "drawdown.json", overwrite)
    start = open_trunk(trunk, "MR")
    found: dict[str, dict[str, list[float]]] = {"medinr": {}, "published recipe": {}}
    falls: dict[str, dict[str, list[float]]] = {"medinr": {}, "published recipe": {}}
    for case in cases(manifest, "devtest", count, size):
        for task in ("fit", *TASKS):
            announce(f"{case.label}: {task} ...")
            for seed in range(seeds):
                for method, settings in _methods(task, seed, recipe_steps).items():
                    curve = _curve(case, task, seed, start, settings, with_prior=method == "medinr")
                    found[method].setdefault(task, []).append(drawdown(curve))
                    falls[method].setdefault(task, []).append(max(curve) - curve[-1])
    write_json(
        path,
        {"size": size, "seeds": seeds, "drawdown": found, "below_best_at_end": falls, "versions": versions()},
        overwrite=True,
    )
    table = Table(title=f"Drawdown of PSNR in dB, {size} x {size}, {count} slices x {seeds} seeds")
    for column in ("method", "task", "runs", "median", "95th percentile", "worst", "worst end below best"):
        table.add_column(column, justify="left" if column in ("method", "task") else "right")
    for method, by_task in found.items():
        ends = falls[method]
        for task in by_task:
            table.add_row(method, task, *_figures(by_task[task], ends[task]))
        everything = [v for values in by_task.values() for v in values]
        table.add_row(method, "all", *_figures(everything, [v for values in ends.values() for v in values]))
        table.add_section()
    return table


def _figures(values: list[float], ends: list[float]) -> tuple[str, ...]:
    middle, high = np.median(values), np.percentile(values, 95)
    return str(len(values)), f"{middle:.3f}", f"{high:.3f}", f"{max(values):.3f}", f"{max(ends):.3f}"


def _methods(task: str, seed: int, recipe_steps: int) -> dict[str, FitSettings]:
    ours = load_config(ReconstructConfig, "fit_image" if task == "fit" else task).fit
    if ours.imitation.passes == 0:
        # No task fits a network unless asked to; here it is asked, for it is networks whose PSNR falls.
        ours = replace(ours, imitation=ImitationSettings(passes=8))
    published = load_config(ReconstructConfig, "published_recipe", [f"fit.steps={recipe_steps}"]).fit
    return {"medinr": replace(ours, seed=seed), "published recipe": replace(published, seed=seed)}


def _problem(case: Case, task: str, seed: int) -> Problem:
    if task == "fit":
        fitting: Problem = case.fitting()
        return fitting
    simulation = replace(load_config(ReconstructConfig, task).simulation, seed=seed)
    problem: Problem = problem_for(simulate(task, case.volume(), simulation, level=case.level), 0)
    return problem


def _curve(case: Case, task: str, seed: int, start: Start, settings: FitSettings, *, with_prior: bool) -> list[float]:
    curve: list[float] = []

    def score(image: Tensor) -> None:
        magnitude = image.abs() if image.is_complex() else image.clamp_min(0.0)
        curve.append(psnr(magnitude.numpy(), case.image, case.peak))

    problem = _problem(case, task, seed)
    prior = start.prior if with_prior and task != "fit" else None
    with torch.random.fork_rng():
        solution = fit(
            problem,
            start.trunk,
            start.length_scale,
            settings,
            prior=prior,
            observer=lambda step, seconds, image: score(image),
        )
    score(solution.image)
    return curve
