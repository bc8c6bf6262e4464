"""Plug-and-play reconstruction of one problem: a slice or a volume, a denoiser prior, and the measurement."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.priors.denoiser_prior import DenoiserPrior, ImagePrior
from medinr.solve.grids import on_coarser_grid, resampled, stages
from medinr.solve.half_quadratic import FULL_ITERATIONS, Denoise, PlugAndPlaySettings, half_quadratic_splitting
from medinr.solve.mmse import mmse_denoise
from medinr.solve.planes import PlaneByPlane
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step
from medinr.solve.split import Split


@torch.no_grad()
def plug_and_play(
    problem: Problem,
    prior: ImagePrior,
    settings: PlugAndPlaySettings,
    *,
    fitted: Tensor | None = None,
    start: Tensor | None = None,
    observer: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Reconstruct by alternating between a denoiser and data consistency.

    Parameters
    ----------
    problem : Problem
        Of a slice or a volume.
    prior : ImagePrior
        Volumes want a `DenoiserPrior`, which denoises them plane by plane (`medinr.solve.planes`).
    settings : PlugAndPlaySettings
    fitted : Tensor of bool, shape of the data, optional
        Measurements to use; all by default.
    start : Tensor, shape of the image, optional
        Image in solver units to begin with; by default the measurement alone begins. One denoiser evaluation
        (no iterations) has no use for it.
    observer : callable, optional
        Called with iteration and image; it returns nothing.

    Returns
    -------
    Tensor, shape of the image
        In solver units (divided by ``problem.scale``).

    Raises
    ------
    ConfigError
        When the problem is of a volume and the prior of single slices.
    """
    return _run(problem, prior, settings, fitted, start, observer)[0]


@torch.no_grad()
def plug_and_play_solution(
    problem: Problem,
    prior: ImagePrior,
    settings: PlugAndPlaySettings,
    *,
    progress: Callable[[Step], None] | None = None,
    observer: Callable[[int, float, Tensor], None] | None = None,
    observe_every: int = 1,
) -> Solution:
    """Reconstruct as `plug_and_play` does, and say how it went.

    Parameters
    ----------
    problem, prior, settings
        See `plug_and_play`.
    progress : callable, optional
        Called with every `Step`.
    observer : callable, optional
        Called with iterations done, seconds and the image in its own units every so many iterations; it returns
        nothing, and its time does not count.
    observe_every : int

    Returns
    -------
    Solution
    """
    everything = Split.nothing_held(problem)
    # One denoiser evaluation counts as an iteration.
    planned = max(1, settings.iterations)
    started, outside = time.perf_counter(), 0.0
    rows: list[Step] = []

    def note(iteration: int, image: Tensor) -> None:
        nonlocal outside
        before = time.perf_counter()
        seconds = before - started - outside
        row = Step("plug_and_play", iteration + 1, planned, seconds, everything.residual(image), math.nan, 1.0)
        rows.append(row)
        if progress is not None:
            progress(row)
        if observer is not None and row.step % observe_every == 0:
            observer(row.step, seconds, image * problem.scale)
        outside += time.perf_counter() - before

    image, freedom = _run(problem, prior, settings, observer=note)
    return Solution(
        image * problem.scale,
        reason=f"all {planned} iterations of plug-and-play were done" if settings.iterations else MMSE_REASON,
        stopped_at=planned,
        seconds=time.perf_counter() - started - outside,
        residual=everything.residual(image),
        steps=tuple(rows),
        settings=asdict(settings),
        freedom=freedom,
    )


#: Why a reconstruction without iterations ended.
MMSE_REASON = "the image was denoised once, at its own noise level"


def _run(
    problem: Problem,
    prior: ImagePrior,
    settings: PlugAndPlaySettings,
    fitted: Tensor | None = None,
    start: Tensor | None = None,
    observer: Callable[[int, Tensor], None] | None = None,
) -> tuple[Tensor, float | None]:
    """Do all iterations; gives the image, and its degrees of freedom per measurement where the last step found them."""
    if settings.convolves_in_bfloat16(problem.data.device):
        prior = prior.in_precision(torch.bfloat16)
    if settings.iterations == 0:
        image = mmse_denoise(problem, prior, fitted)
        if observer is not None:
            observer(0, image)
        return image, None
    denoise = _denoiser(problem, prior)
    levels = settings.levels(problem.pixel_noise(), problem.noisy_end)
    # An image to begin with has its detail already, and an auxiliary scan its own pixels.
    coarse_above = settings.coarse_above if start is None and isinstance(prior, DenoiserPrior) else 0.0
    found: Tensor | None = start
    before = problem
    for factor, first, end in stages(problem, levels, coarse_above, FULL_ITERATIONS):
        here, last = on_coarser_grid(problem, factor), end == len(levels)
        consistency = settings.consistency_by_views(here, fitted, first)
        if found is None:
            denoised = consistency.start()
        else:
            found, done = resampled(found, before, here), max(0, first - 1)
            consistency.at(found)
            denoised = denoise(found, levels[done], done)
        images = half_quadratic_splitting(
            consistency,
            denoise,
            levels[:end],
            denoised=denoised,
            last_step=settings.last_step(consistency, denoise) if last else None,
            first=first,
            momentum=settings.momentum,
        )
        for iteration, found in enumerate(images, first):
            if observer is not None:
                observer(iteration, resampled(found, here, problem))
        before = here
    assert found is not None
    return found, consistency.freedom


def _denoiser(problem: Problem, prior: ImagePrior) -> Denoise:
    if len(problem.shape) == 2:
        return lambda image, level, iteration: prior.denoise(image, level, orientation=iteration)
    if not isinstance(prior, DenoiserPrior):
        raise ConfigError("A volume is reconstructed with a denoiser prior; auxiliary scans are for slices.")
    return PlaneByPlane(prior)
