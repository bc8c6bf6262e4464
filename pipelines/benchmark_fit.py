"""Fitting speed as a ratio: medinr and the published recipe on the same slices, trunk and cores, in one run.

Where the recipe is after every step is computed with medinr's own sweep, which gives the same gradient faster, in
full float32; how long its steps take is measured on the code path of the authors' library, before and after every
fit of medinr's. Two plans are timed, each from its own start: a short one for 30 to 40 dB and a long one for what the
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
from medinr.pipelines.cases import Case, cases
from medinr.pipelines.devices import open_device, wait_for
from medinr.pipelines.record import new_result, versions
from medinr.pipelines.slices import Start, open_trunk
from rich.table import Table
from torch import Tensor

from medinr.baselines.strainer import PublishedRecipe
from medinr.config import load_config
from medinr.config.schema import ReconstructConfig
from medinr.evaluate.metrics import psnr
from medinr.inr.coordinates import plane_coordinates
from medinr.io.atomic import write_json
from medinr.solve.fit import fit
from medinr.tensors import resume_tensors, write_tensors

#: PSNR levels the short plan is timed to; above about 50 dB they say nothing (8-bit rounding alone is 58.9 dB).
LEVELS = (30.0, 35.0, 40.0)

#: The short and the long plan.
PLANS = ("fit_image", "fit_image_exact")

#: Recipe steps timed before and after every fit.
TIMED_STEPS = 5

#: Recipe steps between two checkpoints of its curve.
CHECKPOINT_EVERY = 50

Curve = list[tuple[int, float, float]]


@dataclass(frozen=True)
class Race:
    """One slice's outcome: curves of (step, seconds, PSNR) by plan, the recipe's PSNR by step, its seconds a step."""

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
    trunk: str,
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
    trunk : str
    recipe_steps : int
        Steps of the published recipe (2000 as published).
    out : Path
        Gets ``fit.json`` with all curves, and the recipe's curves, which are continued when unfinished.
    device : str

    Returns
    -------
    rich.table.Table
    """
    path = new_result(out, "fit.json", overwrite)
    out.mkdir(parents=True, exist_ok=True)
    place, start = open_device(device), open_trunk(trunk, "MR")
    start.trunk.to(place)
    races = []
    for case in cases(manifest, "devtest", count, size):
        announce(f"{case.label}: published recipe, {recipe_steps} steps ...")
        recipe = recipe_curve(case, start, recipe_steps, out, place)
        announce(f"{case.label}: medinr ...")
        races.append(_race(case, start, recipe, place))
    write_json(path, _facts(races, size, trunk), overwrite=True)
    return _table(races, size, trunk)


def _recipe(case: Case, start: Start, place: torch.device) -> PublishedRecipe:
    points = plane_coordinates(case.image.shape, case.spacing, start.length_scale).to(place)
    values = torch.from_numpy(case.image).reshape(-1, 1).to(place) / case.level
    return PublishedRecipe(start.trunk, points, values)


def recipe_curve(case: Case, start: Start, steps: int, out: Path, place: torch.device) -> list[float]:
    """PSNR of the published recipe before every step and after the last, continued from a checkpoint in ``out``."""
    recipe = _recipe(case, start, place)
    weights = b"".join(p.detach().cpu().numpy().tobytes() for p in recipe.trunk.parameters())
    fingerprint = hashlib.sha256(case.image.tobytes() + weights).hexdigest()
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
    peak = case.peak / case.level
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


def _race(case: Case, start: Start, recipe: list[float], place: torch.device) -> Race:
    published, seconds = _recipe(case, start, place), []
    published.step_as_published()

    def time_steps() -> None:
        for _ in range(TIMED_STEPS):
            begun = time.perf_counter()
            published.step_as_published()
            wait_for(place)
            seconds.append(time.perf_counter() - begun)

    curves = {}
    time_steps()
    for plan in PLANS:
        curves[plan] = _curve(case, start, plan, place)
        time_steps()
    return Race(case.label, curves, recipe, statistics.median(seconds))


def _curve(case: Case, start: Start, plan: str, place: torch.device) -> Curve:
    curve: Curve = []

    def observer(step: int, seconds: float, image: Tensor) -> None:
        curve.append((step, seconds, psnr(image.cpu().numpy(), case.image, case.peak)))

    settings = load_config(ReconstructConfig, plan).fit
    fit(case.fitting(place), start.trunk, start.length_scale, settings, observer=observer)
    return curve


def _table(races: list[Race], size: int, trunk: str) -> Table:
    threads = torch.get_num_threads()
    table = Table(title=f"Seconds to a PSNR, {size} x {size}, {threads} threads, trunk {trunk}")
    for column in ("", "medinr", "published recipe", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for race in races:
        table.add_row(race.label)
        for level, ours, theirs in race.rows():
            table.add_row(f"  {level}", _said(ours), _said(theirs), _said(_ratio(ours, theirs)))
        reached, recipe = race.after_ten_steps()
        moment = f"  at {10 * race.recipe_seconds:.1f} s"
        gain = "-" if reached is None else f"{reached - recipe:+.1f} dB"
        table.add_row(moment, "-" if reached is None else f"{reached:.1f} dB", f"{recipe:.1f} dB", gain)
        table.add_section()
    table.add_row("median")
    for row in range(len(LEVELS) + 1):
        ratios = [_ratio(*race.rows()[row][1:]) for race in races]
        known = [ratio for ratio in ratios if ratio is not None]
        level = f"{LEVELS[row]:.0f} dB" if row < len(LEVELS) else "the recipe's last"
        table.add_row(f"  {level}", "", "", _said(statistics.median(known) if len(known) == len(ratios) else None))
    return table


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return theirs / ours if ours and theirs else None


def _said(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _facts(races: list[Race], size: int, trunk: str) -> dict[str, Any]:
    slices = [
        {
            "slice": race.label,
            "recipe_seconds_per_step": race.recipe_seconds,
            "recipe_psnr": race.recipe,
            "medinr": race.curves,
            "levels": [{"level": level, "medinr": ours, "recipe": theirs} for level, ours, theirs in race.rows()],
            "psnr_after_ten_recipe_steps": race.after_ten_steps(),
        }
        for race in races
    ]
    return {"size": size, "trunk": trunk, "threads": torch.get_num_threads(), "slices": slices, "versions": versions()}
