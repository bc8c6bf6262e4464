"""What the fit of one slice and the joint fit of many have in common: guide, imitation, finish, and the record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medinr.operators import Identity
from medinr.prior.local import ImagePrior
from medinr.solve.imitate import ImitationSettings, imitate, to_values
from medinr.solve.network_fit import NetworkFit, Split
from medinr.solve.plug_and_play import PlugAndPlaySettings, plug_and_play
from medinr.solve.problem import Problem
from medinr.solve.solution import Step
from medinr.solve.stopping import HeldOutWatch, StoppingSettings

#: Looks at the held-out measurements during imitation; a look costs a rendered image.
LOOKS = 8

#: Level of the first finishing turn over the error of the image it begins with. What a network misses is no white
#: noise but detail and its echoes; at 1 slices at the ends of a volume stay 0.1 to 0.2 dB behind, at 1.5 none does.
ABOVE_ERROR = 1.5


class Record:
    """Clock, rows and the best weights so far.

    Parameters
    ----------
    state : NetworkFit
    planned : int
        Steps at most.
    stopping : StoppingSettings
    progress : callable, optional
        Called with the position of a slice and its `Step`.
    observer : callable, optional
        Called with step, seconds and the image of a fit of one slice.
    observe_every : int
        Steps between two calls of the observer; each costs a rendered image.
    spent : sequence of float, optional
        Seconds every slice has taken before; its share of the time from here on is added.
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
        """Number of the last step that was looked at."""
        return self.rows[0][-1].step if self.rows[0] else 0

    def seconds(self, position: int = 0) -> float:
        """A slice's time so far, without the observer's."""
        elapsed = time.perf_counter() - self._started - self._outside
        return self._spent[position] + elapsed / len(self.rows)

    def observe(self, step: int, image: Callable[[], Tensor]) -> None:
        """Let the observer see the image; it gives nothing back and its time does not count."""
        if self.observer is None or step % self.observe_every:
            return
        before, seconds = time.perf_counter(), self.seconds()
        self.observer(step, seconds, (image().detach() * self.state.splits[0].problem.scale).clone())
        self._outside += time.perf_counter() - before

    def look(self, phase: str, step: int, images: Sequence[Tensor], residuals: Sequence[float], rate: float) -> bool:
        """Note a step of every slice; False when the held-out measurements say that the phase is over."""
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

    def settle(self) -> tuple[str, int]:
        """Go back to the best weights; say why the fit stopped, and at which step they were."""
        if not self.watching:
            return f"all {self.last} steps were done", self.last
        self.state.restore(self.best)
        best = self.watch.best_step
        if not self.watch.exhausted(self.last, self.interval):
            return f"all {self.last} steps were done", best
        return (
            f"held-out measurements were explained best at step {best} and no better in {self.last - best} steps since"
        ), best


def find_target(
    split: Split, prior: ImagePrior | None, guide: PlugAndPlaySettings, imitation: ImitationSettings
) -> Tensor | None:
    """Image ``(y, x)`` in network units for the network to imitate, if there is one."""
    if imitation.passes == 0:
        return None
    problem = split.problem
    if prior is not None:
        return plug_and_play(problem, prior, guide, fitted=~split.held)
    if isinstance(problem.operator, Identity) and not split.watched:
        return problem.data / problem.scale
    return None


def imitate_targets(
    state: NetworkFit,
    record: Record,
    targets: Sequence[Tensor],
    settings: ImitationSettings,
    generator: torch.Generator,
) -> None:
    """Teach the network the targets of all its slices, looking at the held-out measurements now and then."""
    steps = settings.steps(len(state.points))
    look_every = max(1, steps // LOOKS)
    record.interval = look_every

    def after_step(step: int) -> bool:
        record.observe(step, lambda: torch.no_grad()(state.render)()[0])
        asked = step % look_every == 0 and (record.watching or record.progress is not None)
        if step < steps and not asked:
            return True
        with torch.no_grad():
            images = state.render()
            residuals = [split.objective(image)[1] for split, image in zip(state.splits, images, strict=True)]
        return record.look("imitate", step, images, residuals, settings.factor(step, steps))

    imitate(
        state.trunk,
        state.head,
        state.points,
        torch.cat([to_values(target) for target in targets], dim=1),
        settings,
        generator=generator,
        after_step=after_step,
    )


def finish(
    problem: Problem, image: Tensor, prior: ImagePrior, guide: PlugAndPlaySettings, turns: int, error: float = 0.0
) -> Tensor:
    """More turns of prior and measurement from an image; the stop is decided and every measurement may speak.

    Parameters
    ----------
    problem : Problem
    image : Tensor, shape (y, x)
        In network units.
    prior : ImagePrior
    guide : PlugAndPlaySettings
        Its last level is the last here too.
    turns : int
        From a little above the noise down to that level; none when the guide has none (`medinr.solve.direct`).
    error : float
        Standard deviation of what is wrong with the image, if known. Where `ABOVE_ERROR` times that lies above the
        level of the first turn, more turns lead down from it, at the pace of the others: a denoiser told too low a
        level keeps what is wrong.
    """
    if guide.iterations == 0:
        return plug_and_play(problem, prior, guide)
    noise = problem.pixel_noise()
    first = min(guide.first, 2 * guide.last * noise)
    start = min(guide.first, max(first, ABOVE_ERROR * error))
    if start > first:
        # The last turns halve the level; a slower pace, such as that of a long guide, bought nothing for its time.
        turns += math.ceil(math.log2(start / first) * max(1, turns - 1))
    return plug_and_play(problem, prior, replace(guide, iterations=turns, first=start), start=image)
