"""Neighbouring slices solved together: the prior looks at each slice, and across them.

The turns of `medinr.solve.plug_and_play` for all slices of a stack at once. The measurement's turn is each slice's own.
The prior sees the slices in every other turn and the planes across them in between, along x and along y by turns
(`medinr.prior.stack`), so a turn costs what it does slice by slice. Where each slice was sampled in its own way, what
one lacks its neighbours have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ShapeError
from medinr.inr.precision import has_fast_bfloat16
from medinr.operators import Rician
from medinr.prior.local import TURNS, ImagePrior, LocalPrior
from medinr.prior.stack import denoise_planes, smooth_phasors
from medinr.solve.direct import require_even_noise, without_bias
from medinr.solve.fit import FitSettings
from medinr.solve.network_fit import Split
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step
from medinr.workers import Workers

#: Fewest slices that count as a stack: in fewer there is little to see across them.
FEWEST = 4

#: Turns between two looks at the residual.
LOOK = 10

#: Noise that a first look along every axis leaves in a stack, relative to that before, as a second look takes it.
LEFT = 0.25


@dataclass(frozen=True, eq=False)
class StackTurn:
    """A stack after one of its turns.

    Attributes
    ----------
    turn : int
        Turns done.
    images : Tensor, shape (z, y, x)
        In network units: times `Stack.scale` they are in those of the problems.
    seconds : float
        Since the start.
    rows : tuple of tuple of Step
        Of each slice, at every `LOOK` turns and the last; seconds are the slice's share.
    """

    turn: int
    images: Tensor
    seconds: float
    rows: tuple[tuple[Step, ...], ...]

    @property
    def looked(self) -> bool:
        """Whether the residuals of this turn are known."""
        return self.rows[0][-1:] != () and self.rows[0][-1].step == self.turn


class Stack:
    """Slices that are solved together.

    Parameters
    ----------
    problems : sequence of Problem
        In the order in which the slices lie, all of one grid and kind of image.
    priors : sequence of ImagePrior
        One per slice.
    across : LocalPrior
        For the planes across the slices.
    settings : FitSettings
        Of which the guide counts.

    Attributes
    ----------
    planned : int
        Turns in all; one look counts as one.
    scale : float
        Units of the problems' images per network unit, one for all slices.

    Raises
    ------
    ShapeError
        When the slices differ in grid or kind.
    ConfigError
        When one look is asked for (no turns) and the measurements are no images of even noise.
    """

    def __init__(
        self, problems: Sequence[Problem], priors: Sequence[ImagePrior], across: LocalPrior, settings: FitSettings
    ) -> None:
        kinds = {(problem.shape, problem.complex_image) for problem in problems}
        if len(kinds) != 1 or len(problems) != len(priors):
            raise ShapeError(
                f"A stack wants slices of one grid, all real or all complex, and a prior for each; got {len(problems)} "
                f"slices of {sorted(kinds)} and {len(priors)} priors."
            )
        guide = settings.guide
        if guide.iterations == 0:
            for problem in problems:
                require_even_noise(problem)
        trained = across.for_magnitudes() if isinstance(problems[0].noise, Rician) else None
        if guide.iterations == 0 and trained is not None:
            across, priors = trained, [prior.for_magnitudes() or prior for prior in priors]
        self._trained = trained is not None
        fast = guide.precision == "auto" and has_fast_bfloat16(problems[0].data.device)
        # One unit for all, or edges across the slices would be steps of brightness.
        scale = float(torch.tensor([problem.scale for problem in problems], dtype=torch.float64).median())
        self._problems = [replace(problem, scale=scale) for problem in problems]
        self._priors = [prior.in_precision(torch.bfloat16) if fast else prior for prior in priors]
        self._across = across.in_precision(torch.bfloat16) if fast else across
        self._settings, self._guide = settings, guide
        self._measurements = [guide.measurement_turn(problem) for problem in self._problems]
        self.scale = scale
        self._splits = [Split(one, torch.zeros_like(one.data, dtype=torch.bool)) for one in self._problems]
        self.planned = max(1, guide.iterations)

    @torch.no_grad()
    def turns(self, begun: StackTurn | None = None) -> Iterator[StackTurn]:
        """Take turns of prior and measurement, and give the stack after each.

        Parameters
        ----------
        begun : StackTurn, optional
            To go on from; what follows is then as in a run that was not interrupted, bit by bit where noise is
            Gaussian.
        """
        workers = Workers()
        rows = begun.rows if begun else ((),) * len(self._problems)
        started = time.perf_counter() - (begun.seconds if begun else 0.0)
        first = begun.turn if begun else 0
        for turn, images in enumerate(self._images(begun, workers), first + 1):
            seconds = time.perf_counter() - started
            if turn % LOOK == 0 or turn == self.planned:
                share = seconds / len(images)
                residuals = [split.residual(image) for split, image in zip(self._splits, images, strict=True)]
                rows = tuple(
                    (*steps, Step("guide", turn, self.planned, share, residual, math.nan, 1.0))
                    for steps, residual in zip(rows, residuals, strict=True)
                )
            yield StackTurn(turn, images, seconds, rows)

    def solutions(self, done: StackTurn) -> list[Solution]:
        """Give what became of each slice after the last turn."""
        reason = (
            f"prior and measurement took all {self.planned} turns, {len(done.images)} neighbouring slices together "
            "(stack); no network was fitted (fit.imitation.passes: 0)"
        )
        settings = asdict(self._settings)
        return [
            Solution(image * self.scale, reason, done.turn, steps[-1].seconds, steps[-1].residual, steps, settings)
            for image, steps in zip(done.images, done.rows, strict=True)
        ]

    def _images(self, begun: StackTurn | None, workers: Workers) -> Iterator[Tensor]:
        """Images after each turn, in network units."""
        problems = self._problems
        level = max(problem.pixel_noise() for problem in problems)
        if self._guide.iterations == 0:
            yield self._looked_at(level, workers)
            return
        levels = self._guide.levels(level)
        if begun is None:
            first, predictions = 0, [problem.data for problem in problems]
            denoised = torch.stack([torch.zeros_like(problem.adjoint(problem.data)) for problem in problems])
        else:
            first, images = begun.turn, begun.images
            predictions = [problem.predict(image) for problem, image in zip(problems, images, strict=True)]
            denoised = self._denoised(images, levels[first - 1], first - 1, workers)
        for turn, level in enumerate(levels[first:], first):
            images, predictions = self._explained(denoised, predictions, level, workers)
            last = turn + 1 == len(levels)
            if last and self._guide.end == "prior":
                images = self._denoised(images, level, turn, workers)
            yield images
            if not last:
                denoised = self._denoised(images, level, turn, workers)

    def _explained(
        self, denoised: Tensor, predictions: Sequence[Tensor], level: float, workers: Workers
    ) -> tuple[Tensor, list[Tensor]]:
        """Let each slice's measurement have its turn: images and what they would give."""
        sides = list(zip(self._measurements, denoised, predictions, strict=True))
        found = workers.map(lambda side: side[0].explain(side[1], side[2], level), sides)
        return torch.stack([image for image, _ in found]), [seen for _, seen in found]

    def _looked_at(self, level: float, workers: Workers) -> Tensor:
        """Images that were measured themselves: two looks along every axis, the second at what the first left."""
        images = torch.stack([problem.data / problem.scale for problem in self._problems])
        for expected in (level, LEFT * level):
            looks = [self._seen(images, expected, axis, view, workers) for axis in range(3) for view in range(TURNS)]
            images = torch.stack(looks).mean(0)
        pairs = zip(self._problems, images, strict=True)
        return torch.stack([without_bias(problem, image, self._trained) for problem, image in pairs])

    def _denoised(self, images: Tensor, level: float, turn: int, workers: Workers) -> Tensor:
        axis = 0 if turn % 2 == 0 else 1 + turn // 2 % 2
        return self._seen(images, level, axis, turn // 2, workers)

    def _seen(self, images: Tensor, level: float, axis: int, view: int, workers: Workers) -> Tensor:
        """Denoise the planes across an axis of the stack."""
        if axis == 0:
            slices = list(zip(self._priors, images, strict=True))
            return torch.stack(workers.map(lambda pair: pair[0].denoise(pair[1], level, view), slices))
        phasors = smooth_phasors(images)
        upright = images if phasors is None else images * phasors.conj()
        planes = upright.movedim(axis, 0).contiguous()
        shares = list(planes.split(max(1, -(-len(planes) // (4 * workers.count)))))
        clean = torch.cat(workers.map(lambda share: denoise_planes(share, self._across, level, view), shares))
        back = clean.movedim(0, axis)
        return back if phasors is None else back * phasors
