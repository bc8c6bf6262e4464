"""Speed of a network's fit to an image, beside the published recipe on the same slices, trunk and cores, in one run.

The recipe's image after every step is computed with medinr's own sweep, which gives the same gradient faster, in full
float32; the duration of its steps is measured on the code path of the authors' library, before and after every fit of
medinr's. Two plans are timed, each from its own start: a short one for 30 to 40 dB and a long one for the PSNR that the
recipe has after all its steps.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from benchmarks.slices import BenchmarkSlice, benchmark_slices
from medinr.baselines.strainer import PublishedRecipe
from medinr.config import load_task_config
from medinr.devices import open_device, wait_for
from medinr.io.atomic import write_json
from medinr.jobs.record import new_result, versions
from medinr.metrics.image_quality import psnr
from medinr.models.checkpoint import load_model_for
from medinr.models.model import Model
from medinr.network.coordinates import plane_coordinates
from medinr.network.fit import fit
from medinr.network.settings import FitSettings
from medinr.tensors import resume_tensors, write_tensors

#: PSNR levels the short plan is timed to; above about 50 dB they say nothing (8-bit rounding alone is 58.9 dB).
LEVELS = (30.0, 35.0, 40.0)

#: The short and the long plan: configurations beside this file.
PLANS = ("fit_image", "fit_image_exact")

#: Recipe steps timed before and after every fit.
TIMED_STEPS = 5

#: Recipe steps between two checkpoints of its curve.
CHECKPOINT_EVERY = 50

Curve = list[tuple[int, float, float]]


@dataclass(frozen=True)
class FitTimes:
    """The result of one slice.

    Attributes
    ----------
    label : str
    curves : dict
        Of each plan: (step, seconds, PSNR).
    recipe : list of float
        PSNR of the published recipe by step.
    recipe_seconds : float
        Per step.
    """

    label: str
    curves: dict[str, Curve]
    recipe: list[float]
    recipe_seconds: float

    def seconds(self, plan: str, level: float) -> float | None:
        """When a plan first reached a level."""
        return next((seconds for _, seconds, value in self.curves[plan] if value >= level), None)

    def recipe_to(self, level: float) -> float | None:
        """When the recipe first reached a level."""
        step = next((k for k, value in enumerate(self.recipe) if value >= level), None)
        return None if step is None else step * self.recipe_seconds

    def after_ten_steps(self) -> tuple[float | None, float]:
        """PSNR of the short plan, None before its first image, and of the recipe after time for ten of its steps."""
        passed = [value for _, at, value in self.curves[PLANS[0]] if at <= 10 * self.recipe_seconds]
        return passed[-1] if passed else None, self.recipe[min(10, len(self.recipe) - 1)]

    def rows(self) -> list[tuple[str, float | None, float | None]]:
        """Level, seconds of medinr and of the recipe."""
        last = self.recipe[-1]
        found = [(f"{level:.0f} dB", self.seconds(PLANS[0], level), self.recipe_to(level)) for level in LEVELS]
        whole = (len(self.recipe) - 1) * self.recipe_seconds
        return [*found, (f"{last:.1f} dB, its last", self.seconds(PLANS[1], last), whole)]


def benchmark_fit(
    manifest: str,
    count: int,
    size: int,
    model: str,
    recipe_steps: int,
    out: Path,
    *,
    device: str = "cpu",
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Time the fits of held-out slices to fixed PSNR levels.

    Parameters
    ----------
    manifest : str
        CSV file or shipped manifest; its devtest split is used.
    count : int
        Slices, of as many scans as possible.
    size : int
        They are resampled to ``size x size`` pixels.
    model : str
        Its trunk is where all fits start.
    recipe_steps : int
        Steps of the published recipe (2000 as published).
    out : Path
        Gets ``fit.json`` with all curves, and the recipe's curves, which are continued when unfinished.
    device : str
    overwrite : bool
        Replace a finished result.
    announce : callable
        Called with a line before every fit.

    Returns
    -------
    rich.table.Table
    """
    path = new_result(out, "fit.json", overwrite)
    out.mkdir(parents=True, exist_ok=True)
    opened, start = open_device(device), load_model_for(model, "MR")
    start.trunk.to(opened)
    results = []
    for scan_slice in benchmark_slices(manifest, "devtest", count, size):
        announce(f"{scan_slice.label}: published recipe, {recipe_steps} steps ...")
        recipe = recipe_curve(scan_slice, start, recipe_steps, out, opened)
        announce(f"{scan_slice.label}: medinr ...")
        results.append(_time_fits(scan_slice, start, recipe, opened))
    write_json(path, _facts(results, size, model), overwrite=True)
    return _table(results, size, model)


def plan_settings(plan: str) -> FitSettings:
    """Settings of a plan, from the configuration of its name beside this file."""
    return load_task_config(Path(__file__).with_name(f"{plan}.yaml")).fit


def _recipe(scan_slice: BenchmarkSlice, model: Model, device: torch.device) -> PublishedRecipe:
    points = plane_coordinates(scan_slice.image.shape, scan_slice.spacing, model.length_scale).to(device)
    values = torch.from_numpy(scan_slice.image).reshape(-1, 1).to(device) / scan_slice.level
    return PublishedRecipe(model.trunk, points, values)


def recipe_curve(scan_slice: BenchmarkSlice, model: Model, steps: int, out: Path, device: torch.device) -> list[float]:
    """PSNR of the published recipe before every step and after the last, continued from a checkpoint in ``out``."""
    recipe = _recipe(scan_slice, model, device)
    weights = b"".join(p.detach().cpu().numpy().tobytes() for p in recipe.trunk.parameters())
    fingerprint = hashlib.sha256(scan_slice.image.tobytes() + weights).hexdigest()
    checkpoint = out / f"recipe-{fingerprint[:12]}.checkpoint"
    errors: list[float] = []
    parameters = [*recipe.trunk.parameters(), recipe.head]
    if checkpoint.is_file():
        tensors = resume_tensors(checkpoint, fingerprint)
        errors = tensors["errors"].tolist()
        _restore(recipe, parameters, tensors)
    while len(errors) <= steps:
        errors.append(recipe.step())
        if len(errors) % CHECKPOINT_EVERY == 0:
            write_tensors(checkpoint, _state(recipe, parameters, errors), {"fingerprint": fingerprint})
    peak = scan_slice.peak / scan_slice.level
    return [float(10 * torch.log10(torch.tensor(peak**2 / error))) for error in errors[: steps + 1]]


def _state(recipe: PublishedRecipe, parameters: list[torch.nn.Parameter], errors: list[float]) -> dict[str, Tensor]:
    tensors = {f"weight.{i}": p.detach().clone() for i, p in enumerate(parameters)}
    for i, state in recipe.optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return tensors | {"errors": torch.tensor(errors, dtype=torch.float64)}


@torch.no_grad()
def _restore(recipe: PublishedRecipe, parameters: list[torch.nn.Parameter], tensors: dict[str, Tensor]) -> None:
    for i, parameter in enumerate(parameters):
        parameter.copy_(tensors[f"weight.{i}"])
    full = recipe.optimiser.state_dict()
    keys = ("step", "exp_avg", "exp_avg_sq")
    full["state"] = {i: {key: tensors[f"adam.{i}.{key}"] for key in keys} for i in range(len(parameters))}
    recipe.optimiser.load_state_dict(full)


def _time_fits(scan_slice: BenchmarkSlice, model: Model, recipe: list[float], device: torch.device) -> FitTimes:
    published, seconds = _recipe(scan_slice, model, device), []
    published.step_as_published()

    def time_steps() -> None:
        for _ in range(TIMED_STEPS):
            begun = time.perf_counter()
            published.step_as_published()
            wait_for(device)
            seconds.append(time.perf_counter() - begun)

    curves = {}
    time_steps()
    for plan in PLANS:
        curves[plan] = _curve(scan_slice, model, plan, device)
        time_steps()
    return FitTimes(scan_slice.label, curves, recipe, statistics.median(seconds))


def _curve(scan_slice: BenchmarkSlice, model: Model, plan: str, device: torch.device) -> Curve:
    curve: Curve = []

    def observer(step: int, seconds: float, fitted: Tensor) -> None:
        curve.append((step, seconds, psnr(fitted.cpu().numpy(), scan_slice.image, scan_slice.peak)))

    fit(scan_slice.identity_problem(device), model.trunk, model.length_scale, plan_settings(plan), observer=observer)
    return curve


def _table(results: list[FitTimes], size: int, model: str) -> Table:
    threads = torch.get_num_threads()
    table = Table(title=f"Seconds to a PSNR, {size} x {size}, {threads} threads, model {model}")
    for column in ("", "medinr", "published recipe", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for result in results:
        table.add_row(result.label)
        for level, medinr, recipe in result.rows():
            table.add_row(f"  {level}", _shown(medinr), _shown(recipe), _shown(_ratio(medinr, recipe)))
        reached, recipe_psnr = result.after_ten_steps()
        moment = f"  at {10 * result.recipe_seconds:.1f} s"
        gain = "-" if reached is None else f"{reached - recipe_psnr:+.1f} dB"
        table.add_row(moment, "-" if reached is None else f"{reached:.1f} dB", f"{recipe_psnr:.1f} dB", gain)
        table.add_section()
    table.add_row("median")
    for row in range(len(LEVELS) + 1):
        ratios = [_ratio(*result.rows()[row][1:]) for result in results]
        known = [ratio for ratio in ratios if ratio is not None]
        level = f"{LEVELS[row]:.0f} dB" if row < len(LEVELS) else "the recipe's last"
        table.add_row(f"  {level}", "", "", _shown(statistics.median(known) if len(known) == len(ratios) else None))
    return table


def _ratio(medinr: float | None, recipe: float | None) -> float | None:
    return recipe / medinr if medinr and recipe else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _facts(results: list[FitTimes], size: int, model: str) -> dict[str, Any]:
    slices = [
        {
            "slice": result.label,
            "recipe_seconds_per_step": result.recipe_seconds,
            "recipe_psnr": result.recipe,
            "medinr": result.curves,
            "levels": [{"level": level, "medinr": ours, "recipe": recipe} for level, ours, recipe in result.rows()],
            "psnr_after_ten_recipe_steps": result.after_ten_steps(),
        }
        for result in results
    ]
    return {"size": size, "model": model, "threads": torch.get_num_threads(), "slices": slices, "versions": versions()}
