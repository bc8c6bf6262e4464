"""Phases that the fit of one slice and the joint fit of several share: target, image-domain fit, refinement, record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medinr.network.image_domain import ImageDomainSettings, fit_image_domain, to_values
from medinr.network.state import NetworkFit
from medinr.network.stopping import HeldOutWatch, StoppingSettings
from medinr.operators import Identity
from medinr.priors.denoiser_prior import ImagePrior
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.plug_and_play import plug_and_play
from medinr.solve.problem import Problem
from medinr.solve.solution import Step
from medinr.solve.split import Split

#: Checks of the held-out measurements during the image-domain fit; a check costs a rendered image.
HELD_OUT_CHECKS = 8

#: Noise level of the first iteration of refinement over the error of the image that it starts from. The error of a
#: network is not white noise but missing detail and the ringing around it; at 1 slices at the ends of a volume stay 0.1
#: to 0.2 dB behind, at 1.5 none does.
ABOVE_ERROR = 1.5


class Record:
    """Time, steps and best weights of a fit.

    Parameters
    ----------
    state : NetworkFit
    planned : int
        Largest number of steps.
    stopping : StoppingSettings
    progress : callable, optional
        Called with the position of a slice and its `Step`.
    observer : callable, optional
        Called with step, seconds and the image of a fit of one slice.
    spent : sequence of float, optional
        Seconds that every slice has taken before; its share of the time from here on is added.
    observe_every : int
        Steps between two calls of the observer; each call renders an image.
    """

    def __init__(
        self,
        state: NetworkFit,
        planned: int,
        stopping: StoppingSettings,
        progress: Callable[[int, Step], None] | None = None,
        observer: Callable[[int, float, Tensor], None] | None = None,
        spent: Sequence[float] | None = None,
        observe_every: int = 1,
    ) -> None:
        self.observe_every = observe_every
        self.state, self.planned, self.progress, self.observer = state, planned, progress, observer
        self.watch = HeldOutWatch(stopping)
        self.watching = any(split.watched for split in state.splits)
        self.best = state.weights()
        self.interval = 1
        self.rows: list[list[Step]] = [[] for _ in state.splits]
        self._spent = [0.0] * len(state.splits) if spent is None else list(spent)
        self._started, self._outside = time.perf_counter(), 0.0

    @property
    def last(self) -> int:
        """Number of the last step that was recorded."""
        return self.rows[0][-1].step if self.rows[0] else 0

    def seconds(self, position: int = 0) -> float:
        """Time of a slice so far in seconds, without that of the observer."""
        elapsed = time.perf_counter() - self._started - self._outside
        return self._spent[position] + elapsed / len(self.rows)

    def observe(self, step: int, image: Callable[[], Tensor]) -> None:
        """Call the observer with the image; its time does not count."""
        if self.observer is None or step % self.observe_every:
            return
        before, seconds = time.perf_counter(), self.seconds()
        self.observer(step, seconds, (image().detach() * self.state.splits[0].problem.scale).clone())
        self._outside += time.perf_counter() - before

    def check(self, phase: str, step: int, images: Sequence[Tensor], residuals: Sequence[float], rate: float) -> bool:
        """Record a step of every slice; False when the held-out measurements have not improved for long enough."""
        misfits = [split.misfit(image) for split, image in zip(self.state.splits, images, strict=True)]
        for position, (residual, misfit) in enumerate(zip(residuals, misfits, strict=True)):
            row = Step(phase, step, self.planned, self.seconds(position), residual, misfit, rate)
            self.rows[position].append(row)
            if self.progress is not None:
                self.progress(position, row)
        if not self.watching:
            return True
        watched = [misfit for split, misfit in zip(self.state.splits, misfits, strict=True) if split.watched]
        if self.watch.update(step, sum(watched) / len(watched)):
            self.best = self.state.weights()
            return True
        return not self.watch.exhausted(step, self.interval)

    def restore_best(self) -> tuple[str, int]:
        """Restore the best weights; returns why the fit stopped, and the step that they are from."""
        if not self.watching:
            return f"all {self.last} steps were done", self.last
        self.state.restore(self.best)
        best = self.watch.best_step
        if not self.watch.exhausted(self.last, self.interval):
            return f"all {self.last} steps were done", best
        return (
            f"held-out measurements were predicted best at step {best} and no better in {self.last - best} steps since"
        ), best


def find_target(
    split: Split, prior: ImagePrior | None, settings: PlugAndPlaySettings, image_domain: ImageDomainSettings
) -> Tensor | None:
    """Image ``(y, x)`` in solver units for the image-domain fit, if there is one.

    The plug-and-play reconstruction of the used measurements, or a measured image itself.
    """
    if image_domain.passes == 0:
        return None
    problem = split.problem
    if prior is not None:
        return plug_and_play(problem, prior, settings, fitted=~split.held)
    if isinstance(problem.operator, Identity) and not split.watched:
        return problem.data / problem.scale
    return None


def fit_targets(
    state: NetworkFit,
    record: Record,
    targets: Sequence[Tensor],
    settings: ImageDomainSettings,
    generator: torch.Generator,
) -> None:
    """Fit the network to the targets of all its slices, with checks of the held-out measurements in between."""
    steps = settings.steps(len(state.points))
    check_every = max(1, steps // HELD_OUT_CHECKS)
    record.interval = check_every

    def after_step(step: int) -> bool:
        record.observe(step, lambda: torch.no_grad()(state.render)()[0])
        due = step % check_every == 0 and (record.watching or record.progress is not None)
        if step < steps and not due:
            return True
        with torch.no_grad():
            images = state.render()
            residuals = [split.objective(image)[1] for split, image in zip(state.splits, images, strict=True)]
        return record.check("image_domain", step, images, residuals, settings.factor(step, steps))

    fit_image_domain(
        state.trunk,
        state.head,
        state.points,
        torch.cat([to_values(target) for target in targets], dim=1),
        settings,
        generator=generator,
        after_step=after_step,
    )


def refine(
    problem: Problem,
    image: Tensor,
    prior: ImagePrior,
    settings: PlugAndPlaySettings,
    iterations: int,
    error: float = 0.0,
) -> Tensor:
    """Refine an image by more iterations of plug-and-play, with every measurement.

    Nothing needs to be held out any more, because it is decided by then when the fit stops.

    Parameters
    ----------
    problem : Problem
    image : Tensor, shape (y, x)
        In solver units.
    prior : ImagePrior
    settings : PlugAndPlaySettings
        Their last noise level is the last here too.
    iterations : int
        From a little above the noise down to that level; none when the settings have none (`medinr.solve.mmse`).
    error : float
        Standard deviation of the error of the image, if known. Where `ABOVE_ERROR` times that lies above the level of
        the first iteration, iterations that start there are added, with the same ratio of levels: a denoiser given too
        low a level does not remove the error.

    Returns
    -------
    Tensor, shape (y, x)
        In solver units.
    """
    if settings.iterations == 0:
        return plug_and_play(problem, prior, settings)
    noise = problem.pixel_noise()
    first = min(settings.sigma_start, 2 * settings.sigma_end_factor * noise)
    start = min(settings.sigma_start, max(first, ABOVE_ERROR * error))
    if start > first:
        # The last iterations halve the level; levels that fall more slowly, over many iterations, gained nothing.
        iterations += math.ceil(math.log2(start / first) * max(1, iterations - 1))
    return plug_and_play(problem, prior, replace(settings, iterations=iterations, sigma_start=start), start=image)
