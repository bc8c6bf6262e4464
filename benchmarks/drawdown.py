"""How far the PSNR falls during a network's fit after it has been higher: medinr beside the published recipe.

Such falls are the published method's known weakness. For every task, slice and seed the image is scored after every
step; the drawdown is the largest fall below a running maximum. The fit uses none of the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from benchmarks.fit import plan_settings
from benchmarks.slices import BenchmarkSlice, benchmark_slices
from medinr.acquisition.simulation import simulate
from medinr.acquisition.ways import acquisition_of
from medinr.config import load_task_config
from medinr.io.atomic import write_json
from medinr.jobs.record import new_result, versions
from medinr.metrics.image_quality import psnr
from medinr.models.checkpoint import load_model_for
from medinr.models.model import Model
from medinr.network.fit import fit
from medinr.network.settings import FitSettings
from medinr.solve.problem import Problem

#: Tasks, beside the fit of the image itself.
TASKS = ("denoise", "superres", "kspace")


def drawdown(values: list[float]) -> float:
    """Largest fall below a running maximum.

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
    model: str,
    out: Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Measure drawdowns over tasks (and the fit of the image itself) x slices x seeds.

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
    model : str
        Its trunk is where all fits start.
    out : Path
        Gets ``drawdown.json``.
    overwrite : bool
        Replace a finished result.
    announce : callable
        Called with a line before every slice and task.

    Returns
    -------
    rich.table.Table
    """
    path = new_result(out, "drawdown.json", overwrite)
    start = load_model_for(model, "MR")
    found: dict[str, dict[str, list[float]]] = {"medinr": {}, "published recipe": {}}
    falls: dict[str, dict[str, list[float]]] = {"medinr": {}, "published recipe": {}}
    for scan_slice in benchmark_slices(manifest, "devtest", count, size):
        for task in ("fit", *TASKS):
            announce(f"{scan_slice.label}: {task} ...")
            for seed in range(seeds):
                for method, settings in _methods(task, seed, recipe_steps).items():
                    curve = _curve(scan_slice, task, seed, start, settings, with_prior=method == "medinr")
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
    # No task fits a network unless asked to; here it is asked, because falls during the fit are those of networks.
    ours = plan_settings("fit_image") if task == "fit" else load_task_config(task, method="inr").fit
    published = load_task_config("kspace", [f"network.steps={recipe_steps}"], method="strainer").fit
    return {"medinr": replace(ours, seed=seed), "published recipe": replace(published, seed=seed)}


def _problem(scan_slice: BenchmarkSlice, task: str, seed: int) -> Problem:
    if task == "fit":
        return scan_slice.identity_problem()
    settings = replace(load_task_config(task).simulation, seed=seed)
    return acquisition_of(simulate(task, scan_slice.volume(), settings, level=scan_slice.level)).problem(0)


def _curve(
    scan_slice: BenchmarkSlice, task: str, seed: int, model: Model, settings: FitSettings, *, with_prior: bool
) -> list[float]:
    curve: list[float] = []

    def score(fitted: Tensor) -> None:
        magnitude = fitted.abs() if fitted.is_complex() else fitted.clamp_min(0.0)
        curve.append(psnr(magnitude.numpy(), scan_slice.image, scan_slice.peak))

    problem = _problem(scan_slice, task, seed)
    prior = model.prior if with_prior and task != "fit" else None
    with torch.random.fork_rng():
        solution = fit(
            problem,
            model.trunk,
            model.length_scale,
            settings,
            prior=prior,
            observer=lambda step, seconds, fitted: score(fitted),
        )
    score(solution.image)
    return curve
