"""Plug-and-play reconstruction by half-quadratic splitting, of slices and of volumes.

A denoiser and data consistency alternate while the noise level ``s`` falls (Zhang et al., DPIR, IEEE TPAMI 2022):

    ``v <- D(x, s)``,   ``x <- argmin 1/2 |A x - y|^2_P + w / (2 s^2) |x - v|^2``

The second step is `medinr.solve.data_consistency`. The loop does not know whether its image is a slice ``(y, x)``, a
volume ``(z, y, x)``, or slices that were measured each on its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.precision import PRECISIONS, has_fast_bfloat16
from medinr.solve.balance import FOLLOWED, Balanced, balanced_step
from medinr.solve.data_consistency import Consistency, DataConsistency, SubsetConsistency
from medinr.solve.problem import Problem

#: What the last iteration ends with.
FINAL_STEPS = ("balanced", "data_consistency", "denoiser")

#: Noise per pixel up to which the last noise level is as the settings say, and from which `Problem.noisy_end` counts.
QUIET, NOISY = 0.003, 0.01

#: Iterations at the end that use all views of a projection, and pixels as they are.
FULL_ITERATIONS = 4

#: A denoiser evaluation: image, noise level and number of the iteration in, image out.
Denoise = Callable[[Tensor, float, int], Tensor]

#: What the last iteration ends with: an earlier denoised image and its iteration, last image and all levels in.
LastStep = Callable[[tuple[int, Tensor], Tensor, list[float]], Tensor]


@dataclass(frozen=True)
class PlugAndPlaySettings:
    """How denoiser and data consistency alternate.

    Attributes
    ----------
    iterations : int
        0: the measurement is an image, and one denoiser evaluation is the reconstruction (`medinr.solve.mmse`);
        of the others only ``precision`` matters then.
    sigma_start : float
        Noise level of the first iteration, for images scaled to about 0 to 1.
    sigma_end_factor : float
        Noise level of the last iteration, in units of the measurement's noise as it shows per pixel
        (`Problem.pixel_noise`); it falls geometrically in between.
    final_step : {"balanced", "data_consistency", "denoiser"}
        Which of the two steps the last iteration ends with, or both once more, with the weight of the denoised image
        that has the least expected error (`medinr.solve.balance`).
    regularisation_weight : float
        Weight ``w`` of the denoised image.
    momentum : float
        Share of the last change of the image by which it is carried on before it is denoised, 0 or more and below 1:
        as many iterations as half of those without get as far.
    coarse_above : float
        Noise level above which a projection is reconstructed on pixels twice as large, and above twice the level four
        times as large (`medinr.solve.grids`); slices that are reconstructed jointly keep theirs. Below it conjugate
        gradients are preconditioned (`medinr.solve.preconditioner`): above, the denoised image weighs too little for
        that, and few plain iterations get coarse structure right and leave fine noise alone. 0: neither.
    cg_iterations : int
        Conjugate-gradient iterations per data-consistency step, at most; a quarter of them with a preconditioner.
    views_per_iteration : int
        Views of a projection that an iteration uses, other ones in each but the last four (`FULL_ITERATIONS`), where
        there are twice as many or more; 0: all.
    precision : {"auto", "float32"}
        Of the denoiser's convolutions. ``"auto"``: bfloat16 where the device is fast at it; reconstructions then differ
        by a hundredth of a decibel, denoising by three.
    """

    iterations: int = 40
    sigma_start: float = 0.2
    sigma_end_factor: float = 0.8
    final_step: str = "data_consistency"
    regularisation_weight: float = 1.0
    momentum: float = 0.0
    coarse_above: float = 0.0
    cg_iterations: int = 6
    views_per_iteration: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        positive = (self.sigma_start, self.sigma_end_factor, self.regularisation_weight)
        if self.iterations < 0 or self.cg_iterations < 1 or min(positive) <= 0:
            raise ConfigError(
                "Plug-and-play wants iterations of 0 or more, cg_iterations of 1 or more, sigma_start, "
                f"sigma_end_factor and regularisation_weight above 0; got {self.iterations}, {self.cg_iterations}, "
                f"{', '.join(str(value) for value in positive)}."
            )
        if not (self.coarse_above >= 0 and self.views_per_iteration >= 0 and 0 <= self.momentum < 1):
            raise ConfigError(
                "Plug-and-play wants coarse_above and views_per_iteration of 0 or more, and momentum of 0 or more and "
                f"below 1; got {self.coarse_above}, {self.views_per_iteration}, {self.momentum}."
            )
        if self.momentum > 0 and self.final_step == "balanced":
            raise ConfigError("final_step: balanced repeats iterations without momentum. Set momentum to 0.")
        if self.final_step not in FINAL_STEPS:
            raise ConfigError(f"final_step {self.final_step!r} is not one of {', '.join(FINAL_STEPS)}.")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"Precision {self.precision!r} is not one of {', '.join(PRECISIONS)}.")

    def levels(self, pixel_noise: float, noisy_end: float = 1.0) -> list[float]:
        """Noise level of each iteration; ``noisy_end`` is `Problem.noisy_end`."""
        share = np.interp(math.log(pixel_noise), (math.log(QUIET), math.log(NOISY)), (0.0, 1.0))
        end = min(self.sigma_end_factor * noisy_end ** float(share) * pixel_noise, self.sigma_start)
        return falling_levels(self.sigma_start, end, self.iterations)

    def convolves_in_bfloat16(self, device: torch.device) -> bool:
        """Whether the denoiser's convolutions are bfloat16 on a device."""
        return self.precision == "auto" and has_fast_bfloat16(device)

    def last_step(self, consistency: Balanced, denoise: Denoise) -> LastStep | None:
        """What the last iteration ends with, where that is not data consistency alone."""
        if self.final_step == "balanced":
            return lambda kept, image, levels: balanced_step(consistency, denoise, kept, image, levels)
        if self.final_step == "denoiser":
            return lambda kept, image, levels: denoise(image, levels[-1], len(levels) - 1)
        return None

    def consistency(self, problem: Problem, fitted: Tensor | None = None) -> DataConsistency:
        """Data consistency with all of a problem's data, or with those that are ``fitted``."""
        return DataConsistency(problem, self.regularisation_weight, self.cg_iterations, self.coarse_above, fitted)

    def consistency_by_views(
        self, problem: Problem, fitted: Tensor | None = None, first: int = 0
    ) -> DataConsistency | SubsetConsistency:
        """Data consistency from an iteration on, with some of the views in each, where there are enough of them."""
        whole = self.consistency(problem, fitted)
        parts = problem.in_subsets(self.views_per_iteration) if self.views_per_iteration else []
        if not parts:
            return whole
        steps = [
            DataConsistency(
                part,
                self.regularisation_weight,
                self.cg_iterations,
                self.coarse_above,
                None if fitted is None else fitted[at],
                len(problem.data) / len(at),
            )
            for part, at in parts
        ]
        return SubsetConsistency(whole, steps, max(0, self.iterations - FULL_ITERATIONS - first))


def falling_levels(start: float, end: float, iterations: int) -> list[float]:
    """Noise level of each iteration, from the first to the last by equal ratios."""
    ratio = (end / start) ** (1 / max(1, iterations - 1))
    return [start * ratio**k for k in range(iterations)]


def half_quadratic_splitting(
    consistency: Consistency,
    denoise: Denoise,
    levels: list[float],
    *,
    denoised: Tensor,
    last_step: LastStep | None = None,
    first: int = 0,
    momentum: float = 0.0,
    previous: Tensor | None = None,
) -> Iterator[Tensor]:
    """Alternate between data consistency and a denoiser, and give the image after each iteration.

    Parameters
    ----------
    consistency : Consistency
    denoise : callable
        Of image, noise level and number of the iteration.
    levels : list of float
        Noise level of each iteration.
    denoised : Tensor, shape of the image
        What the first data-consistency step starts from, in solver units.
    last_step : callable, optional
        Makes the last image of an earlier denoised one (see `medinr.solve.balance.balanced_step`), what the last data
        consistency made, and the levels; by default it is what data consistency made.
    first : int
        Iterations that were done before.
    momentum : float
        See `PlugAndPlaySettings`.
    previous : Tensor, shape of the image, optional
        What the last of the iterations that were done before gave.

    Yields
    ------
    Tensor, shape of the image
        In solver units.
    """
    kept = first, denoised
    for iteration in range(first, len(levels)):
        level, last = levels[iteration], iteration + 1 == len(levels)
        if iteration == len(levels) - FOLLOWED:
            kept = iteration, denoised
        image = consistency.solve(denoised, level)
        if last and last_step is not None:
            image = last_step(kept, image, levels)
        yield image
        if not last:
            denoised = denoise(carried_on(image, previous, momentum), level, iteration)
            previous = image


def carried_on(image: Tensor, previous: Tensor | None, momentum: float) -> Tensor:
    """An image, carried on by a share of its change since the previous one (Polyak 1964)."""
    if previous is None or momentum == 0:
        return image
    return image + momentum * (image - previous)
