"""How far each pixel may be from the truth: a standard deviation whose 90 % interval was calibrated on known errors.

Three things are known about the error of a reconstruction without a reference:

- *spread*: the reconstruction is taken for the truth, moved, measured again with fresh noise by the same operator and
  reconstructed again; what is then wrong is known (parametric bootstrap; Efron 1979). The move (flip, shift, and for
  complex images a whole number of turns of phase across the image, which shifts k-space) matters: an image the method
  itself has filled in where nothing was measured is one it fills in again, without error; moved, other parts of it
  are not measured (equivariant bootstrap; Tachella & Pereyra, ICASSP 2024);
- *detail*: what the prior would still take out of the image, ``|D(x, s) - x|`` blurred: near edges and texture, where
  errors live;
- *noise*: that of the measurement as it shows per pixel.

None of them is the error. ``sigma^2 = (a spread)^2 + (b detail)^2 + (c noise)^2``, and a, b, c are chosen once per
kind of task on scans of other people (`medinr.solve.calibration`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.prior.local import LocalPrior
from medinr.solve.plug_and_play import PlugAndPlaySettings, plug_and_play
from medinr.solve.problem import Problem

#: Repeats that the command line takes when asked for uncertainty: each kind of flip once.
REPEATS = 4

#: Half-width of the central 90 % of a normal distribution, in standard deviations.
NORMAL_90 = 1.6449

#: Standard deviation in pixels of the blur over which squared errors and detail are averaged: four repeats of one
#: pixel are too few to say how far it spreads.
BLUR = 1.5

#: Moves: pixels of a shift at most, turns of phase across the image at most.
SHIFT, TURNS_OF_PHASE = 4, 2


@dataclass(frozen=True)
class UncertaintySettings:
    """How uncertainty is found.

    Attributes
    ----------
    repeats : int
        Bootstrap repeats; 0: no uncertainty.
    turns : int
        Of the guide in each repeat, at most.
    spread, detail, noise : float
        Weights a, b, c of the three parts of the standard deviation.
    mean_error : float
        Mean absolute error over mean standard deviation: 0.80 if errors were normal.
    detail_level : float
        At which the prior is asked about detail, for images scaled to about 0 to 1.
    seed : int
    """

    repeats: int = 0
    turns: int = 16
    spread: float = 1.0
    detail: float = 0.5
    noise: float = 0.3
    mean_error: float = 0.8
    detail_level: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        weights = (self.spread, self.detail, self.noise)
        if self.repeats < 0 or self.turns < 1 or min(weights) < 0 or sum(weights) == 0:
            raise ConfigError(
                "uncertainty wants repeats of 0 or more, turns of 1 or more, and weights not below 0 and not all 0; "
                f"got {self.repeats}, {self.turns}, {weights}."
            )
        if min(self.mean_error, self.detail_level) <= 0:
            raise ConfigError(
                f"uncertainty wants mean_error and detail_level above 0; got {self.mean_error}, {self.detail_level}."
            )


@dataclass(frozen=True, eq=False)
class Doubts:
    """The parts that a standard deviation is made of, as variances in network units.

    Attributes
    ----------
    spread, detail : Tensor, shape (y, x)
    noise : float
    """

    spread: Tensor
    detail: Tensor
    noise: float

    def deviation(self, settings: UncertaintySettings) -> Tensor:
        """Weigh them: standard deviation, shape (y, x)."""
        variance = settings.spread**2 * self.spread + settings.detail**2 * self.detail
        return (variance + settings.noise**2 * self.noise).sqrt()


def uncertainty(
    problem: Problem, image: Tensor, prior: LocalPrior, guide: PlugAndPlaySettings, settings: UncertaintySettings
) -> Tensor:
    """Give the standard deviation of every pixel; ``± NORMAL_90`` times it holds the truth in 90 % of the pixels.

    Parameters
    ----------
    problem : Problem
    image : Tensor, shape (y, x)
        Its reconstruction, in network units.
    prior : LocalPrior
    guide : PlugAndPlaySettings
        How prior and measurement took turns in the reconstruction.
    settings : UncertaintySettings

    Returns
    -------
    Tensor, shape (y, x)
        Real, in network units: of the magnitude where the image is complex.

    Raises
    ------
    ConfigError
        When the settings ask for no repeats.
    """
    return find_doubts(problem, image, prior, guide, settings).deviation(settings)


@torch.no_grad()
def find_doubts(
    problem: Problem, image: Tensor, prior: LocalPrior, guide: PlugAndPlaySettings, settings: UncertaintySettings
) -> Doubts:
    """Find the parts of `uncertainty`, not yet weighed; parameters as there."""
    if settings.repeats == 0:
        raise ConfigError("uncertainty.repeats is 0; how far an image spreads takes 1 repeat or more, better 4.")
    generator = torch.Generator().manual_seed(settings.seed)
    quick = replace(guide, iterations=min(guide.iterations, settings.turns))
    squared = torch.zeros(problem.shape, dtype=image.real.dtype, device=image.device)
    for repeat in range(settings.repeats):
        move = Move.draw(repeat, generator)
        again = replace(problem, data=problem.noise.sample(problem.predict(move(image)), generator))
        squared += (_shown(move.back(plug_and_play(again, prior, quick))) - _shown(image)).square()
    detail = (prior.denoise(image, settings.detail_level) - image).abs().square()
    return Doubts(_blurred(squared / settings.repeats), _blurred(detail), problem.pixel_noise() ** 2)


@dataclass(frozen=True)
class Move:
    """What is done to an image before it is measured again; it can be undone exactly.

    Attributes
    ----------
    flips : tuple of int
        Axes that are flipped.
    shift : (int, int)
        Pixels (y, x), around the edges.
    phase : (int, int)
        Turns of phase across the image along (y, x); complex images only.
    """

    flips: tuple[int, ...]
    shift: tuple[int, int]
    phase: tuple[int, int]

    @classmethod
    def draw(cls, repeat: int, generator: torch.Generator) -> Move:
        """Draw one; four repeats in a row have the four kinds of flips."""
        shift = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=generator).tolist()
        phase = torch.randint(-TURNS_OF_PHASE, TURNS_OF_PHASE + 1, (2,), generator=generator).tolist()
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
            2 * math.pi * turns * torch.arange(size, dtype=torch.float64, device=like.device) / size
            for turns, size in zip(self.phase, like.shape, strict=True)
        )
        angle = (y.unsqueeze(1) + x).to(like.real.dtype)
        return torch.polar(torch.ones_like(angle), angle)


def _shown(image: Tensor) -> Tensor:
    return image.abs() if image.is_complex() else image


def _blurred(squared: Tensor) -> Tensor:
    """Blur along both axes by a Gaussian that is cut off at the edges."""
    for axis in (0, 1):
        position = torch.arange(squared.shape[axis], dtype=squared.dtype, device=squared.device)
        kernel = torch.exp(-0.5 * ((position - position.unsqueeze(1)) / BLUR).square())
        squared = torch.tensordot(kernel / kernel.sum(dim=1, keepdim=True), squared, ([1], [axis])).movedim(0, axis)
    return squared
