"""The fit: a trunk and a head explain a measurement, with what was learned from other scans at their side.

Up to four phases, each a setting of its own:

1. *guide*: the local prior that came with the trunk and the measurement take turns (plug-and-play);
2. *imitate*: the network learns the guide, or, when the measurement is an image and none of it is held out, the
   measurement itself;
3. *explain*: the network is moved by the measurement through the operator, with total variation, its head solved
   in closed form every few steps (variable projection);
4. *finish*: with every measurement, a few more turns of prior and measurement from the network's image, or the
   last closed-form head.

Measurements held out of 1 to 3 decide when 2 and 3 stop. The published recipe (random head, Adam, a fixed number
of steps) is phase 3 alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.inr.network import Trunk
from medinr.inr.optimise import Optimiser, OptimiserSettings
from medinr.operators import Identity
from medinr.prior.local import LocalPrior
from medinr.solve.imitate import ImitationSettings, imitate, to_values
from medinr.solve.network_fit import NetworkFit
from medinr.solve.plug_and_play import PlugAndPlaySettings, plug_and_play
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step
from medinr.solve.stopping import HeldOutWatch, StoppingSettings

HEADS = ("closed_form", "random")

#: Imitation steps between looks at the held-out measurements; a look costs a rendered image.
LOOK_EVERY = 10


@dataclass(frozen=True)
class FitSettings:
    """How a measurement is fitted.

    Attributes
    ----------
    guide : PlugAndPlaySettings
        Used when the trunk comes with a local prior.
    imitation : ImitationSettings
    steps : int
        Steps of the explain phase; the schedule decays over them.
    head : {"closed_form", "random"}
        How the head starts when there is nothing to imitate.
    head_every : int
        Steps between closed-form solutions of the head; 0: never again after the start.
    tv_weight : float
        Weight of total variation beside the negative log-likelihood, in units of the noise:
        ``tv_weight * sqrt(mean precision) * TV(image)``, the convention of `medinr.baselines.total_variation`.
    optimiser : OptimiserSettings
        Of the explain phase.
    stopping : StoppingSettings
    finish : int
        Turns of prior and measurement at the end; 0 leaves them out.
    seed : int
        For a random head, the pixels imitated and the choice of held-out measurements.
    """

    guide: PlugAndPlaySettings = field(default_factory=PlugAndPlaySettings)
    imitation: ImitationSettings = field(default_factory=ImitationSettings)
    steps: int = 0
    head: str = "closed_form"
    head_every: int = 10
    tv_weight: float = 0.0
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    stopping: StoppingSettings = field(default_factory=StoppingSettings)
    finish: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ConfigError(f"Head {self.head!r} is not one of {', '.join(HEADS)}.")
        if min(self.steps, self.head_every, self.tv_weight, self.finish) < 0:
            raise ConfigError("steps, head_every, tv_weight and finish cannot be negative.")

    @property
    def planned(self) -> int:
        """Steps of imitation and explanation together."""
        return self.imitation.steps + self.steps


class _Record:
    """Clock, rows and the best weights so far."""

    def __init__(
        self,
        state: NetworkFit,
        stopping: StoppingSettings,
        progress: Callable[[Step], None] | None,
        observer: Callable[[int, float, Tensor], None] | None,
    ) -> None:
        self.state, self.progress, self.observer = state, progress, observer
        self.watch = HeldOutWatch(stopping)
        self.watching = bool(state.held.any())
        self.best = state.weights()
        self.rows: list[Step] = []
        self._started, self._outside = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Since the start, without the observer's time."""
        return time.perf_counter() - self._started - self._outside

    def observe(self, step: int, image: Callable[[], Tensor]) -> None:
        """Let the observer see the image; it gives nothing back and its time does not count."""
        if self.observer is None:
            return
        before = time.perf_counter()
        seconds = before - self._started - self._outside
        self.observer(step, seconds, (image().detach() * self.state.problem.scale).clone())
        self._outside += time.perf_counter() - before

    def look(self, phase: str, step: int, image: Tensor, residual: float, rate: float) -> bool:
        """Note a step; False when the held-out measurements say that the phase is over."""
        misfit = self.state.misfit(image)
        self.rows.append(Step(phase, step, self.seconds, residual, misfit, rate))
        if self.progress is not None:
            self.progress(self.rows[-1])
        if not self.watching:
            return True
        if self.watch.update(step, misfit):
            self.best = self.state.weights()
            return True
        return not self.watch.exhausted(step)


def fit(
    problem: Problem,
    trunk: Trunk,
    length_scale: float,
    settings: FitSettings,
    *,
    prior: LocalPrior | None = None,
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
    prior : LocalPrior, optional
        What came with the trunk.
    progress : callable, optional
        Called with every `Step`.
    observer : callable, optional
        Called with step, seconds and a detached image ``(y, x)`` at every step; it returns nothing, so the fit
        cannot learn from what it sees. Its own time does not count.

    Returns
    -------
    Solution

    Raises
    ------
    ConfigError
        When there is nothing to imitate and no step to explain.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    held = problem.draw_held_out(settings.stopping.held_out, generator)
    state = NetworkFit(problem, trunk, length_scale, held, settings.tv_weight, generator)
    record = _Record(state, settings.stopping, progress, observer)
    target = _target(problem, prior, settings, held)
    if target is None and settings.steps == 0:
        raise ConfigError(
            "This trunk has no local prior to start from and fit.steps is 0. Use a trunk with a prior, "
            "or give steps and total variation: --set fit.steps=100 --set fit.tv_weight=3"
        )
    if target is not None and settings.imitation.steps > 0:
        _imitate(state, record, target, settings, generator)
    if settings.steps > 0:
        start = record.rows[-1].step if record.rows else 0
        record.watch.begin(start)
        _explain(state, record, settings, start)
    last = record.rows[-1].step
    reason = f"all {last} steps were done"
    if record.watching:
        state.restore(record.best)
        if record.watch.exhausted(last):
            reason = (
                f"held-out measurements were explained best at step {record.watch.best_step} "
                f"and no better in {last - record.watch.best_step} steps since"
            )
    stopped_at = record.watch.best_step if record.watching else last
    image = _finish(state, prior, settings)
    state.held = torch.zeros_like(held)
    with torch.no_grad():
        _, residual = state.objective(image)
    return Solution(
        image * problem.scale, reason, stopped_at, record.seconds, residual, tuple(record.rows), asdict(settings)
    )


def _target(problem: Problem, prior: LocalPrior | None, settings: FitSettings, held: Tensor) -> Tensor | None:
    """The image to imitate, if there is one."""
    if settings.imitation.steps == 0:
        return None
    if prior is not None:
        return plug_and_play(problem, prior, settings.guide, fitted=~held)
    if isinstance(problem.operator, Identity) and not held.any():
        return problem.data / problem.scale
    return None


def _imitate(
    state: NetworkFit, record: _Record, target: Tensor, settings: FitSettings, generator: torch.Generator
) -> None:
    def after_step(step: int) -> bool:
        record.observe(step, torch.no_grad()(state.render))
        asked = step % LOOK_EVERY == 0 and (record.watching or record.progress is not None)
        if step < settings.imitation.steps and not asked:
            return True
        with torch.no_grad():
            image = state.render()
            _, residual = state.objective(image)
        rate = settings.imitation.optimiser.factor(step, settings.imitation.steps)
        return record.look("imitate", step, image, residual, rate)

    imitate(
        state.trunk,
        state.head,
        state.points,
        to_values(target),
        settings.imitation,
        generator=generator,
        after_step=after_step,
    )


def _explain(state: NetworkFit, record: _Record, settings: FitSettings, start: int) -> None:
    closed_form = settings.head == "closed_form"
    optimiser = Optimiser(settings.optimiser, state.trunk.hidden_matrices(), state.others)
    if closed_form and start == 0:
        state.solve_head(state.held, None, sweeps=3)
    for step in range(settings.steps + 1):
        if step and closed_form and settings.head_every and step % settings.head_every == 0:
            with torch.no_grad():
                current = state.render()
            state.solve_head(state.held, current, sweeps=1)
            optimiser.forget(state.head)
        optimiser.zero_grad()
        image = state.render()
        loss, residual = state.objective(image)
        record.observe(start + step, partial(torch.detach, image))
        factor = settings.optimiser.factor(step, settings.steps)
        if not record.look("explain", start + step, image.detach(), residual, factor):
            return
        if step < settings.steps:
            loss.backward()
            optimiser.step(factor)


@torch.no_grad()
def _finish(state: NetworkFit, prior: LocalPrior | None, settings: FitSettings) -> Tensor:
    """The stop is decided; the last word may use every measurement."""
    image = state.render()
    if prior is not None and settings.finish > 0:
        # From a little above the noise down to where the guide ended.
        first = min(settings.guide.first, 2 * settings.guide.last * state.problem.pixel_noise())
        turns = replace(settings.guide, iterations=settings.finish, first=first)
        return plug_and_play(state.problem, prior, turns, start=image)
    if settings.head == "closed_form" and settings.steps > 0:
        state.solve_head(torch.zeros_like(state.held), image, sweeps=2)
        return state.render()
    return image
