"""Fit of a coordinate network to the measurement of one slice.

It has up to four phases, each with settings of its own:

1. *plug-and-play*: denoiser prior and data consistency reconstruct the slice;
2. *image-domain fit*: the network is fitted to that image, or, when the measurement is an image and none of it is held
   out, to the measurement itself;
3. *measurement-domain fit*: the network is fitted to the measurement through the operator, with total variation, its
   head solved in closed form every few steps (variable projection);
4. *refinement*: a few more iterations of plug-and-play from the network's image, or a last closed-form head, with every
   measurement.

Measurements held out of 1 to 3 decide when 2 and 3 stop. The published method (random head, Adam, a fixed number
of steps) is phase 3 alone. Plug-and-play alone is `medinr.solve.plug_and_play`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.network.phases import Record, find_target, fit_targets, refine
from medinr.network.settings import FitSettings
from medinr.network.state import NetworkFit
from medinr.network.trunk import Trunk
from medinr.optimise import Optimiser
from medinr.priors.denoiser_prior import ImagePrior
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step
from medinr.solve.split import Split


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
        Of a slice.
    trunk : Trunk
        Where the fit starts; it is copied, not changed.
    length_scale : float
        Millimetres per unit of network coordinate (from the model's card).
    settings : FitSettings
    prior : ImagePrior, optional
        For plug-and-play before and after.
    progress : callable, optional
        Called with every `Step`.
    observer : callable, optional
        Called with step, seconds and a detached image ``(y, x)`` every ``observe_every`` steps. It returns nothing, so
        it cannot influence the fit, and its own time does not count.
    observe_every : int
        Steps between two calls of the observer.

    Returns
    -------
    Solution

    Raises
    ------
    ConfigError
        When there is no image for an image-domain fit and the settings have no steps of the measurement-domain fit.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    split = Split(problem, problem.draw_held_out(settings.stopping.held_out, generator), settings.tv_weight)
    state = NetworkFit([split], trunk, length_scale, generator)
    watch = None if progress is None else (lambda _, step: progress(step))
    record = Record(state, settings.planned(len(state.points)), settings.stopping, watch, observer, None, observe_every)
    target = find_target(split, prior, settings.plug_and_play, settings.image_domain)
    if target is None and settings.steps == 0:
        raise ConfigError(
            "There is nothing for the network to be fitted to: no denoiser prior with image_domain.passes above 0, and "
            "no steps. Choose a model with a denoiser, or give steps and total variation: "
            "--set network.steps=100 --set network.tv_weight=3"
        )
    if target is not None:
        fit_targets(state, record, [target], settings.image_domain, generator)
    if settings.steps > 0:
        start = record.last
        record.watch.begin(start)
        record.interval = 1
        _fit_measurement_domain(state, record, settings, start)
    reason, stopped_at = record.restore_best()
    image = _refine(state, prior, settings)
    residual = split.residual(image)
    rows = tuple(record.rows[0])
    return Solution(image * problem.scale, reason, stopped_at, record.seconds(), residual, rows, asdict(settings))


def _fit_measurement_domain(state: NetworkFit, record: Record, settings: FitSettings, start: int) -> None:
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
        if not record.check("measurement_domain", start + step, [image.detach()], [residual], factor):
            return
        if step < settings.steps:
            loss.backward()
            optimiser.step(factor)


@torch.no_grad()
def _refine(state: NetworkFit, prior: ImagePrior | None, settings: FitSettings) -> Tensor:
    """Refine the network's image with every measurement."""
    images = state.render()
    if prior is not None and settings.refinement_iterations > 0:
        problem = state.splits[0].problem
        return refine(problem, images[0], prior, settings.plug_and_play, settings.refinement_iterations)
    if settings.head == "closed_form" and settings.steps > 0:
        state.solve_heads(images, sweeps=2, all_measurements=True)
        images = state.render()
    return images[0]
