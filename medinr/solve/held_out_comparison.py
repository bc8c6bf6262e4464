"""Which of two priors is right about a measurement: the one that predicts better what it was not shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.priors.denoiser_prior import ImagePrior
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.plug_and_play import plug_and_play
from medinr.solve.problem import Problem
from medinr.solve.split import Split

#: Share of the measurement that is predicted. Of 8x undersampled k-space that is four lines of a slice: fewer say
#: little, more make the reconstruction from the rest another one.
PREDICTED = 0.2


@dataclass(frozen=True, eq=False)
class Prediction:
    """A reconstruction from part of a measurement, and how well it predicts the rest.

    Attributes
    ----------
    image : Tensor, shape (y, x)
        In network units.
    residual : float
        Whitened root-mean-square residual of what was held out.
    """

    image: Tensor
    residual: float


def held_out_part(problem: Problem, seed: int) -> Tensor:
    """Draw what is predicted, shape of the data: a fifth of it, or nothing where all of it is protected."""
    return problem.draw_held_out(PREDICTED, torch.Generator().manual_seed(seed))


def predict_held_out(
    problem: Problem,
    prior: ImagePrior,
    settings: PlugAndPlaySettings,
    seed: int,
    observer: Callable[[int, Tensor], None] | None = None,
) -> Prediction:
    """Reconstruct from part of a measurement and compare with the rest.

    Parameters
    ----------
    problem : Problem
    prior : ImagePrior
    settings : PlugAndPlaySettings
    seed : int
        Of what is held out; two priors are compared on the same.
    observer : callable, optional
        See `plug_and_play`.
    """
    held = held_out_part(problem, seed)
    image = plug_and_play(problem, prior, settings, fitted=~held, observer=observer)
    # The other way round: here the part that was held out is judged.
    return Prediction(image, Split(problem, ~held).objective(image)[1])


def gain_db(without: Sequence[Prediction], given: Sequence[Prediction]) -> float:
    """By how much the second of two sets of predictions is better: mean over their pairs, in dB.

    Of ratios and not of sums: one strong line would decide alone.
    """
    ratios = [20 * math.log10(a.residual / b.residual) for a, b in zip(without, given, strict=True)]
    return sum(ratios) / len(ratios)
