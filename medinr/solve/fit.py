"""The fit: a trunk and a head explain a measurement.

Each step renders the image, compares the predicted with the actual measurement and moves trunk and head; every
few steps the head is solved again in closed form (variable projection). Measurements held out decide when to
stop. The published recipe (random head, Adam, a fixed number of steps) is a setting of the same code.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn

from medinr.errors import ConfigError
from medinr.inr.coordinates import plane_coordinates
from medinr.inr.network import Trunk, random_head
from medinr.inr.optimise import Optimiser, OptimiserSettings
from medinr.prior.total_variation import TotalVariation
from medinr.solve.head import generalised_cross_validation, project_features, solve_head
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step
from medinr.solve.stopping import HeldOutWatch, StoppingSettings

HEADS = ("closed_form", "random")


@dataclass(frozen=True)
class FitSettings:
    """How a measurement is fitted.

    Attributes
    ----------
    steps : int
        Planned steps; the schedule decays over them. 0 solves the head only.
    head : {"closed_form", "random"}
        How the new head starts.
    head_every : int
        Steps between closed-form solutions of the head; 0: never again after the start.
    tv_weight : float
        Weight of total variation beside the negative log-likelihood, in units of the noise:
        ``tv_weight * sqrt(mean precision) * TV(image)``, the convention of `medinr.baselines.total_variation`.
    seed : int
        For a random head and the choice of held-out measurements.
    optimiser : OptimiserSettings
    stopping : StoppingSettings
    """

    steps: int = 120
    head: str = "closed_form"
    head_every: int = 10
    tv_weight: float = 0.0
    seed: int = 0
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    stopping: StoppingSettings = field(default_factory=StoppingSettings)

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ConfigError(f"Head {self.head!r} is not one of {', '.join(HEADS)}.")
        if self.steps < 0 or self.head_every < 0 or self.tv_weight < 0:
            raise ConfigError("steps, head_every and tv_weight cannot be negative.")


class _Fit:
    """State of one running fit."""

    def __init__(self, problem: Problem, trunk: Trunk, length_scale: float, settings: FitSettings) -> None:
        self.problem, self.settings = problem, settings
        self.trunk = copy.deepcopy(trunk)
        self.points = plane_coordinates(problem.shape, problem.spacing, length_scale)
        generator = torch.Generator().manual_seed(settings.seed)
        self.held = problem.draw_held_out(settings.stopping.held_out, generator)
        # In units of the noise, so that one weight suits every scanner and scale: weight * TV(image) / sigma.
        _, precision = problem.noise.surrogate(problem.data, problem.data)
        level = float(torch.as_tensor(precision).double().mean().sqrt()) * problem.scale
        self.tv = TotalVariation(settings.tv_weight * level) if settings.tv_weight > 0 else None
        start = random_head(trunk.width, problem.heads, trunk.settings.omega, generator)
        self.head = nn.Parameter(start)
        others = [self.trunk.weights[0], *self.trunk.biases, self.head]
        self.optimiser = Optimiser(settings.optimiser, self.trunk.hidden_matrices(), others)

    def render(self) -> Tensor:
        return self.problem.image(self.trunk.render(self.points, self.head))

    @torch.no_grad()
    def solve_head(self, held: Tensor, image: Tensor | None, sweeps: int) -> None:
        """Replace the head by the closed-form one; ``image`` is where noise model and TV are majorised."""
        problem = self.problem
        features = self.trunk.features(self.points)
        projected = project_features(problem, features)
        for _ in range(sweeps):
            prediction = problem.data if image is None else problem.predict(image)
            target, precision = problem.noise.surrogate(prediction, problem.data)
            precision = torch.as_tensor(precision).expand(problem.data.shape) * ~held
            matrix, right, energy = projected.normal_equations(target, precision)
            curvature = torch.zeros_like(matrix)
            if self.tv is not None and image is not None:
                curvature = curvature + self.tv.gram(features, image)
            ridge = generalised_cross_validation(matrix, right, energy, curvature, int((~held).sum()))
            head = solve_head(matrix + curvature, right, ridge)
            self.head.copy_(torch.view_as_real(head).squeeze(1) if head.is_complex() else head)
            image = problem.image(features @ self.head)
        self.optimiser.forget(self.head)

    def objective(self, image: Tensor) -> tuple[Tensor, float, float]:
        """Loss per measurement, whitened residual of what is fitted, misfit of what is held out."""
        problem, fitted = self.problem, ~self.held
        prediction = problem.predict(image)
        with torch.no_grad():
            target, precision = problem.noise.surrogate(prediction.detach(), problem.data)
            precision = torch.as_tensor(precision).expand(problem.data.shape) * fitted
        count = int(fitted.sum())
        error = prediction - target
        squared = precision * (error.real.square() + error.imag.square() if error.is_complex() else error.square())
        loss = 0.5 * squared.sum() / count
        residual = float((2 * loss.detach() / (2 if error.is_complex() else 1)).sqrt())
        if self.tv is not None:
            loss = loss + self.tv.penalty(image) / count
        held_out = float("nan")
        if self.held.any():
            with torch.no_grad():
                likelihood = problem.noise.negative_log_likelihood(prediction[self.held], problem.data[self.held])
                held_out = float(likelihood) / int(self.held.sum())
        return loss, residual, held_out

    def snapshot(self) -> tuple[dict[str, Tensor], Tensor]:
        return {k: v.detach().clone() for k, v in self.trunk.state_dict().items()}, self.head.detach().clone()

    def restore(self, state: tuple[dict[str, Tensor], Tensor]) -> None:
        self.trunk.load_state_dict(state[0])
        with torch.no_grad():
            self.head.copy_(state[1])


def fit(
    problem: Problem,
    trunk: Trunk,
    length_scale: float,
    settings: FitSettings,
    *,
    progress: Callable[[Step], None] | None = None,
    observer: Callable[[int, float, Tensor], None] | None = None,
) -> Solution:
    """Fit a coordinate network to a measurement.

    Parameters
    ----------
    problem : Problem
    trunk : Trunk
        Where to start; it is copied, not changed.
    length_scale : float
        Millimetres per unit of network coordinate (from the trunk's card).
    settings : FitSettings
    progress : callable, optional
        Called with every `Step`.
    observer : callable, optional
        Called with step, seconds and a detached image ``(y, x)`` at every step; it returns nothing, so the fit
        cannot learn from what it sees. Its own time does not count.

    Returns
    -------
    Solution
    """
    started, unobserved = time.perf_counter(), 0.0
    state = _Fit(problem, trunk, length_scale, settings)
    if settings.head == "closed_form":
        state.solve_head(state.held, None, sweeps=3)
    watch = HeldOutWatch(settings.stopping)
    watching = settings.stopping.held_out > 0
    best = state.snapshot()
    rows: list[Step] = []
    reason = f"all {settings.steps} steps were done"

    for step in range(settings.steps + 1):
        if step and settings.head == "closed_form" and settings.head_every and step % settings.head_every == 0:
            with torch.no_grad():
                current = state.render()
            state.solve_head(state.held, current, sweeps=1)
        state.optimiser.zero_grad()
        image = state.render()
        loss, residual, held_out = state.objective(image)
        seconds = time.perf_counter() - started - unobserved
        if observer is not None:
            before = time.perf_counter()
            observer(step, seconds, (image.detach() * problem.scale).clone())
            unobserved += time.perf_counter() - before
        factor = settings.optimiser.factor(step, settings.steps)
        rows.append(Step(step, seconds, residual, held_out, factor))
        if progress is not None:
            progress(rows[-1])
        if watching and watch.update(step, held_out):
            best = state.snapshot()
        elif watching and watch.exhausted(step):
            reason = (
                f"held-out measurements were explained best at step {watch.best_step} "
                f"and no better in {settings.stopping.patience} steps since"
            )
            break
        if step < settings.steps:
            loss.backward()
            state.optimiser.step(factor)

    if watching:
        state.restore(best)
    if settings.head == "closed_form":
        # The stop is decided; the last head may use every measurement.
        with torch.no_grad():
            current = state.render()
        state.solve_head(torch.zeros_like(state.held), current, sweeps=2)
    with torch.no_grad():
        image = state.render()
        state.held = torch.zeros_like(state.held)
        _, residual, _ = state.objective(image)
    return Solution(
        image * problem.scale,
        reason,
        watch.best_step if watching else rows[-1].step,
        time.perf_counter() - started - unobserved,
        residual,
        tuple(rows),
        asdict(settings),
    )
