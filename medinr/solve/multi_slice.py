"""Joint multi-slice reconstruction: neighbouring slices, each measured on its own, denoised as one volume.

Data consistency is each slice's own; the denoiser works plane by plane through the volume (`medinr.solve.planes`).
Where each slice was sampled in its own way, what one lacks its neighbours have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ShapeError
from medinr.operators import Rician
from medinr.priors.denoiser_prior import DenoiserPrior, ImagePrior
from medinr.solve.balance import FOLLOWED
from medinr.solve.data_consistency import SliceBySlice
from medinr.solve.half_quadratic import PlugAndPlaySettings, carried_on, half_quadratic_splitting
from medinr.solve.mmse import mmse_denoise_planes, require_uniform_noise, without_bias
from medinr.solve.planes import PlaneByPlane
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step
from medinr.solve.split import Split
from medinr.workers import Workers

#: Fewest slices that are reconstructed jointly: in fewer there is little to gain from planes across them.
FEWEST = 4

#: Iterations between two computations of the residual.
RESIDUAL_EVERY = 10


@dataclass(frozen=True, eq=False)
class MultiSliceState:
    """Slices after one of their iterations.

    Attributes
    ----------
    iteration : int
        Iterations done.
    images : Tensor, shape (z, y, x)
        In solver units: times `MultiSlice.scale` they are in those of the problems.
    seconds : float
        Since the start.
    rows : tuple of tuple of Step
        Of each slice, at every `RESIDUAL_EVERY` iterations and the last; seconds are the slice's share.
    previous : Tensor, shape (z, y, x), optional
        Slices one iteration before, where these are carried on with momentum.
    """

    iteration: int
    images: Tensor
    seconds: float
    rows: tuple[tuple[Step, ...], ...]
    previous: Tensor | None = None

    @property
    def checked(self) -> bool:
        """Whether the residuals of this iteration are known."""
        return self.rows[0][-1:] != () and self.rows[0][-1].step == self.iteration


class MultiSlice:
    """Slices that are reconstructed jointly.

    Parameters
    ----------
    problems : sequence of Problem
        In the order in which the slices lie, all of one grid and kind of image.
    priors : sequence of ImagePrior
        One per slice.
    across : DenoiserPrior
        For the planes across the slices.
    settings : PlugAndPlaySettings

    Attributes
    ----------
    planned : int
        Iterations in all; one denoiser evaluation counts as one.
    scale : float
        Units of the problems' images per solver unit, one for all slices.

    Raises
    ------
    ShapeError
        When the slices differ in grid or kind.
    ConfigError
        When no iterations are asked for and the measurements are no images of uniform noise.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        priors: Sequence[ImagePrior],
        across: DenoiserPrior,
        settings: PlugAndPlaySettings,
    ) -> None:
        kinds = {(problem.slice_shape, problem.complex_image) for problem in problems}
        if len(kinds) != 1 or len(problems) != len(priors):
            raise ShapeError(
                "Joint reconstruction wants slices of one grid, all real or all complex, and a prior for each; got "
                f"{len(problems)} slices of {sorted(kinds)} and {len(priors)} priors."
            )
        if settings.iterations == 0:
            for problem in problems:
                require_uniform_noise(problem)
        trained = across.for_magnitudes() if isinstance(problems[0].noise, Rician) else None
        if settings.iterations == 0 and trained is not None:
            across, priors = trained, [prior.for_magnitudes() or prior for prior in priors]
        self._trained = trained is not None
        # One unit for all, or edges across the slices would be steps of brightness.
        self.scale = float(torch.tensor([problem.scale for problem in problems], dtype=torch.float64).median())
        self._problems = [replace(problem, scale=self.scale) for problem in problems]
        if settings.convolves_in_bfloat16(problems[0].data.device):
            across, priors = across.in_precision(torch.bfloat16), [p.in_precision(torch.bfloat16) for p in priors]
        self._settings, self._across, self._priors = settings, across, priors
        self._splits = [Split.nothing_held(problem) for problem in self._problems]
        self.planned = max(1, settings.iterations)
        self._freedom: list[float | None] = [None] * len(problems)

    @torch.no_grad()
    def iterations(self, resumed: MultiSliceState | None = None) -> Iterator[MultiSliceState]:
        """Iterate, and give the slices after each iteration.

        Parameters
        ----------
        resumed : MultiSliceState, optional
            To go on from; what follows is then as in a run that was not interrupted, bit by bit where noise is
            Gaussian.
        """
        rows = resumed.rows if resumed else ((),) * len(self._problems)
        started = time.perf_counter() - (resumed.seconds if resumed else 0.0)
        first = resumed.iteration if resumed else 0
        previous = resumed.images if resumed else None
        for iteration, images in enumerate(self._images(resumed), first + 1):
            seconds = time.perf_counter() - started
            if iteration % RESIDUAL_EVERY == 0 or iteration == self.planned:
                share = seconds / len(images)
                residuals = [split.residual(image) for split, image in zip(self._splits, images, strict=True)]
                rows = tuple(
                    (*steps, Step("plug_and_play", iteration, self.planned, share, residual, math.nan, 1.0))
                    for steps, residual in zip(rows, residuals, strict=True)
                )
            yield MultiSliceState(iteration, images, seconds, rows, previous if self._settings.momentum else None)
            previous = images

    def can_go_on_from(self, done: MultiSliceState) -> bool:
        """Whether a run that goes on from there ends with the same bits; the last step needs the ones before it."""
        return done.checked and done.iteration <= self.planned - FOLLOWED

    def solutions(self, done: MultiSliceState) -> list[Solution]:
        """Give what became of each slice after the last iteration."""
        reason = (
            f"all {self.planned} iterations of plug-and-play were done, "
            f"{len(done.images)} neighbouring slices jointly (multi_slice)"
        )
        settings = asdict(self._settings)
        return [
            Solution(
                image * self.scale,
                reason,
                done.iteration,
                steps[-1].seconds,
                steps[-1].residual,
                steps,
                settings,
                freedom,
            )
            for image, steps, freedom in zip(done.images, done.rows, self._freedom, strict=True)
        ]

    def _images(self, resumed: MultiSliceState | None) -> Iterator[Tensor]:
        """Images after each iteration, in solver units."""
        problems, settings, workers = self._problems, self._settings, Workers()
        planes = PlaneByPlane(self._across, self._priors, workers)
        level = max(problem.pixel_noise() for problem in problems)
        if settings.iterations == 0:
            measured = torch.stack([problem.data / problem.scale for problem in problems])
            pairs = zip(problems, mmse_denoise_planes(measured, level, planes), strict=True)
            yield torch.stack([without_bias(problem, image, self._trained) for problem, image in pairs])
            return
        levels = settings.levels(level, problems[0].noisy_end)
        consistency = SliceBySlice([settings.consistency(problem) for problem in problems], workers)
        if resumed is None:
            first, denoised = 0, consistency.start()
        else:
            first = resumed.iteration
            consistency.at(resumed.images)
            carried = carried_on(resumed.images, resumed.previous, settings.momentum)
            denoised = planes(carried, levels[first - 1], first - 1)
        last_step = settings.last_step(consistency, planes)
        for images in half_quadratic_splitting(
            consistency,
            planes,
            levels,
            denoised=denoised,
            last_step=last_step,
            first=first,
            momentum=settings.momentum,
            previous=resumed.images if resumed else None,
        ):
            self._freedom = consistency.freedom
            yield images
