"""Uncertainty of each pixel: a standard deviation whose 90 % interval was calibrated on known errors.

Without a reference, three quantities that are related to the error of a reconstruction can be computed:

- *spread*: the reconstruction is taken as the reference, moved, measured again with fresh noise by the same operator
  and reconstructed again; the error of that is known (parametric bootstrap; Efron 1979). The move (flip, shift, and for
  complex images a whole number of cycles of phase across the image, which shifts k-space) matters: where nothing was
  measured, the image holds what the method itself has filled in, and unmoved it would be filled in again, without
  error. Moved, other parts of the image are not measured (equivariant bootstrap; Tachella & Pereyra, ICASSP 2024);
- *detail*: what the denoiser would still remove from the image, ``|D(x, s) - x|``, blurred. It is large near edges and
  texture, where errors are large;
- *noise*: that of the measurement, per pixel.

None of them is the error. ``sigma^2 = (a spread)^2 + (b detail)^2 + (c noise)^2``, and a, b, c are chosen once per
kind of task on scans of other people (`medinr.uncertainty.calibration`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.plug_and_play import plug_and_play as reconstruct
from medinr.solve.problem import Problem
from medinr.uncertainty.settings import UncertaintySettings

#: Repeats that the command line uses for uncertainty: each kind of flip once.
REPEATS = 4

#: Half-width of the central 90 % of a normal distribution, in standard deviations.
NORMAL_90 = 1.6449

#: Standard deviation in pixels of the blur by which squared errors and detail are averaged: four repeats of one pixel
#: are too few for an estimate of its spread.
BLUR = 1.5

#: Moves: largest shift in pixels, and largest number of cycles of phase across the image.
SHIFT, PHASE_CYCLES = 4, 2


@dataclass(frozen=True, eq=False)
class UncertaintyParts:
    """The parts of a standard deviation, as variances in squared solver units.

    Attributes
    ----------
    spread, detail : Tensor, shape (y, x)
    noise : float
    """

    spread: Tensor
    detail: Tensor
    noise: float

    def deviation(self, settings: UncertaintySettings) -> Tensor:
        """Weighted sum: standard deviation, shape (y, x), in solver units."""
        spread, detail, noise = settings.weights
        return (spread**2 * self.spread + detail**2 * self.detail + noise**2 * self.noise).sqrt()


def uncertainty(
    problem: Problem,
    image: Tensor,
    prior: DenoiserPrior,
    plug_and_play: PlugAndPlaySettings,
    settings: UncertaintySettings,
    seed: int = 0,
) -> Tensor:
    """Estimate the standard deviation of every pixel.

    In 90 % of the pixels the reference lies within ``± NORMAL_90`` times it, if the weights are calibrated.

    Parameters
    ----------
    problem : Problem
        Of a slice.
    image : Tensor, shape (y, x)
        Its reconstruction, in solver units.
    prior : DenoiserPrior
    plug_and_play : PlugAndPlaySettings
        Those of the reconstruction.
    settings : UncertaintySettings
    seed : int
        For moves and noise.

    Returns
    -------
    Tensor, shape (y, x)
        Real, in solver units; that of the magnitude where the image is complex.

    Raises
    ------
    ConfigError
        When the settings ask for no repeats.
    """
    return uncertainty_parts(problem, image, prior, plug_and_play, settings, seed).deviation(settings)


@torch.no_grad()
def uncertainty_parts(
    problem: Problem,
    image: Tensor,
    prior: DenoiserPrior,
    plug_and_play: PlugAndPlaySettings,
    settings: UncertaintySettings,
    seed: int = 0,
) -> UncertaintyParts:
    """Compute the parts of `uncertainty`, not yet weighted; parameters and errors as there."""
    if settings.repeats == 0:
        raise ConfigError("uncertainty.repeats is 0; the spread of an image needs 1 repeat or more, better 4.")
    generator = torch.Generator().manual_seed(seed)
    quick = replace(plug_and_play, iterations=min(plug_and_play.iterations, settings.iterations))
    squared = torch.zeros(problem.slice_shape, dtype=image.real.dtype, device=image.device)
    for repeat in range(settings.repeats):
        move = Move.draw(repeat, generator)
        again = replace(problem, data=problem.noise.sample(problem.predict(move(image)), generator))
        squared += (_magnitude(move.back(reconstruct(again, prior, quick))) - _magnitude(image)).square()
    detail = (prior.denoise(image, settings.detail_level) - image).abs().square()
    return UncertaintyParts(_blurred(squared / settings.repeats), _blurred(detail), problem.pixel_noise() ** 2)


@dataclass(frozen=True)
class Move:
    """Exactly invertible change of an image before it is measured again.

    Attributes
    ----------
    flips : tuple of int
        Axes that are flipped.
    shift : (int, int)
        Pixels (y, x), circular.
    phase : (int, int)
        Cycles of phase across the image along (y, x); complex images only.
    """

    flips: tuple[int, ...]
    shift: tuple[int, int]
    phase: tuple[int, int]

    @classmethod
    def draw(cls, repeat: int, generator: torch.Generator) -> Move:
        """Draw a move; four repeats in a row have the four kinds of flips."""
        shift = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
        phase = torch.randint(-PHASE_CYCLES, PHASE_CYCLES + 1, (2,), generator=generator).tolist()
        return cls(((0,), (1,), (0, 1), ())[repeat % 4], (shift[0], shift[1]), (phase[0], phase[1]))

    def __call__(self, image: Tensor) -> Tensor:
        """Move an image ``(y, x)``."""
        moved = torch.roll(image, self.shift, (0, 1)).flip(self.flips)
        return moved * self._phasor(moved) if moved.is_complex() else moved

    def back(self, moved: Tensor) -> Tensor:
        """Undo it."""
        image = moved * self._phasor(moved).conj() if moved.is_complex() else moved
        return torch.roll(image.flip(self.flips), (-self.shift[0], -self.shift[1]), (0, 1))

    def _phasor(self, like: Tensor) -> Tensor:
        y, x = (
            2 * math.pi * cycles * torch.arange(size, dtype=torch.float64, device=like.device) / size
            for cycles, size in zip(self.phase, like.shape, strict=True)
        )
        angle = (y.unsqueeze(1) + x).to(like.real.dtype)
        return torch.polar(torch.ones_like(angle), angle)


def _magnitude(image: Tensor) -> Tensor:
    """Magnitude of a complex image; a real image as it is, with its sign."""
    return image.abs() if image.is_complex() else image


def _blurred(squared: Tensor) -> Tensor:
    """Blur along both axes by a Gaussian that is cut off at the edges and normalised again."""
    for axis in (0, 1):
        position = torch.arange(squared.shape[axis], dtype=squared.dtype, device=squared.device)
        kernel = torch.exp(-0.5 * ((position - position.unsqueeze(1)) / BLUR).square())
        squared = torch.tensordot(kernel / kernel.sum(dim=1, keepdim=True), squared, ([1], [axis])).movedim(0, axis)
    return squared
