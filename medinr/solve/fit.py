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
of steps) is phase 3 alone. Without imitation and steps the prior and the measurement are alone, and no network is
fitted: the default where it was measured to add nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.inr.network import Trunk
from medinr.optimise import Optimiser, OptimiserSettings
from medinr.prior.local import ImagePrior
from medinr.solve.imitate import ImitationSettings
from medinr.solve.network_fit import NetworkFit, Split
from medinr.solve.phases import Record, find_target, finish, imitate_targets
from medinr.solve.plug_and_play import PlugAndPlaySettings, plug_and_play
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step
from medinr.solve.stopping import StoppingSettings

HEADS = ("closed_form", "random")


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
    joint_guide : int
        Turns of the guide, at most, when several slices share a trunk (`medinr.solve.joint`).
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
    joint_guide: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ConfigError(f"Head {self.head!r} is not one of {', '.join(HEADS)}.")
        if min(self.steps, self.head_every, self.tv_weight, self.finish) < 0:
            raise ConfigError("steps, head_every, tv_weight and finish cannot be negative.")
        if self.joint_guide < 1:
            raise ConfigError(f"joint_guide is 1 or more; got {self.joint_guide}.")

    def planned(self, points: int) -> int:
        """Steps of imitation and explanation together, for an image of so many pixels."""
        return self.imitation.steps(points) + self.steps


def fit(
    problem: Problem,
    trunk: Trunk,
    length_scale: float,
    settings: FitSettings,
    *,
    prior: ImagePrior | None = None,
    progress: Callable[[Step], None] | None = None,
    observer: Callable[[int, float, Tensor], None] | None = None,
    observe_every: int = 1,
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
    prior : ImagePrior, optional
        What came with the trunk.
    progress : callable, optional
        Called with every `Step`.
    observer : callable, optional
        Called with step, seconds and a detached image ``(y, x)`` every so many steps; it returns nothing, so the fit
        cannot learn from what it sees. Its own time does not count.
    observe_every : int
        Steps between two calls of the observer.

    Returns
    -------
    Solution

    Raises
    ------
    ConfigError
        When there is nothing to imitate and no step to explain.
    """
    if prior is not None and settings.planned(math.prod(problem.shape)) == 0:
        return _without_network(problem, prior, settings, progress, observer, observe_every)
    generator = torch.Generator().manual_seed(settings.seed)
    split = Split(problem, problem.draw_held_out(settings.stopping.held_out, generator), settings.tv_weight)
    state = NetworkFit([split], trunk, length_scale, generator)
    watch = None if progress is None else (lambda _, step: progress(step))
    record = Record(state, settings.planned(len(state.points)), settings.stopping, watch, observer, None, observe_every)
    target = find_target(split, prior, settings.guide, settings.imitation)
    if target is None and settings.steps == 0:
        raise ConfigError(
            "This trunk has no local prior to start from and fit.steps is 0. Use a trunk with a prior, "
            "or give steps and total variation: --set fit.steps=100 --set fit.tv_weight=3"
        )
    if target is not None:
        imitate_targets(state, record, [target], settings.imitation, generator)
    if settings.steps > 0:
        start = record.last
        record.watch.begin(start)
        record.interval = 1
        _explain(state, record, settings, start)
    reason, stopped_at = record.settle()
    image = _finish(state, prior, settings)
    residual = split.residual(image)
    rows = tuple(record.rows[0])
    return Solution(image * problem.scale, reason, stopped_at, record.seconds(), residual, rows, asdict(settings))


def _without_network(
    problem: Problem,
    prior: ImagePrior,
    settings: FitSettings,
    progress: Callable[[Step], None] | None,
    observer: Callable[[int, float, Tensor], None] | None,
    observe_every: int,
) -> Solution:
    everything = Split(problem, torch.zeros_like(problem.data, dtype=torch.bool))
    # One look counts as a turn.
    planned = max(1, settings.guide.iterations)
    started, outside = time.perf_counter(), 0.0
    rows: list[Step] = []

    def note(turn: int, image: Tensor) -> None:
        nonlocal outside
        before = time.perf_counter()
        seconds = before - started - outside
        row = Step("guide", turn + 1, planned, seconds, everything.residual(image), math.nan, 1.0)
        rows.append(row)
        if progress is not None:
            progress(row)
        if observer is not None and row.step % observe_every == 0:
            observer(row.step, seconds, image * problem.scale)
        outside += time.perf_counter() - before

    image = plug_and_play(problem, prior, settings.guide, observer=note)
    seconds = time.perf_counter() - started - outside
    reason = f"prior and measurement took all {planned} turns; no network was fitted (fit.imitation.passes: 0)"
    residual = everything.residual(image)
    return Solution(image * problem.scale, reason, planned, seconds, residual, tuple(rows), asdict(settings))


def _explain(state: NetworkFit, record: Record, settings: FitSettings, start: int) -> None:
    (split,) = state.splits
    closed_form = settings.head == "closed_form"
    optimiser = Optimiser(settings.optimiser, state.trunk.hidden_matrices(), state.others)
    if closed_form and start == 0:
        state.solve_heads(None, sweeps=3)
    for step in range(settings.steps + 1):
        if step and closed_form and settings.head_every and step % settings.head_every == 0:
            with torch.no_grad():
                current = state.render()
            state.solve_heads(current, sweeps=1)
            optimiser.forget(state.head)
        optimiser.zero_grad()
        (image,) = state.render()
        loss, residual = split.objective(image)
        record.observe(start + step, partial(torch.detach, image))
        factor = settings.optimiser.factor(step, settings.steps)
        if not record.look("explain", start + step, [image.detach()], [residual], factor):
            return
        if step < settings.steps:
            loss.backward()
            optimiser.step(factor)


@torch.no_grad()
def _finish(state: NetworkFit, prior: ImagePrior | None, settings: FitSettings) -> Tensor:
    """The last word may use every measurement."""
    images = state.render()
    if prior is not None and settings.finish > 0:
        return finish(state.splits[0].problem, images[0], prior, settings.guide, settings.finish)
    if settings.head == "closed_form" and settings.steps > 0:
        state.solve_heads(images, sweeps=2, everything=True)
        images = state.render()
    return images[0]
