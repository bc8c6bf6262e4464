"""The weights of an uncertainty, from reconstructions whose errors are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ShapeError
from medinr.solve.uncertainty import NORMAL_90, Doubts, UncertaintySettings

#: Steps of Adam on three logarithms, and their size.
STEPS, RATE = 300, 0.05


@dataclass(frozen=True, eq=False)
class Known:
    """A reconstruction with known errors.

    Attributes
    ----------
    doubts : Doubts
    error : Tensor, shape (y, x)
        Absolute, in network units.
    body : Tensor of bool, shape (y, x)
        Pixels that count.
    """

    doubts: Doubts
    error: Tensor
    body: Tensor


def calibrate(known: Sequence[Known], settings: UncertaintySettings) -> UncertaintySettings:
    """Choose the weights so that the 90 % interval is right, and as narrow where errors are small as it can be.

    Minimises over the weights the quantile loss (Koenker & Bassett 1978) of the interval's half-width
    ``q = 1.645 sigma`` for the absolute error ``e``: ``0.9 (e - q)`` where it is exceeded, ``0.1 (q - e)`` where not,
    in every image relative to its mean error. Then all weights are scaled so that exactly 90 % of the pixels are
    covered, each image counting the same.

    Parameters
    ----------
    known : sequence of Known
        Of people who are not those the uncertainty is for, nor those that the prior has seen.
    settings : UncertaintySettings
        The other settings.

    Returns
    -------
    UncertaintySettings
        With the weights and ``mean_error`` found.

    Raises
    ------
    ShapeError
        Without any pixel to learn from.
    """
    if not known or not all(bool(one.body.any()) for one in known):
        raise ShapeError("Calibration wants at least one image, each with pixels inside the body; got none.")
    parts = [
        torch.stack([p[k.body] for p in (k.doubts.spread, k.doubts.detail, _even(k.doubts))]).double() for k in known
    ]
    errors = [one.error[one.body].double() for one in known]
    logarithms = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logarithms], RATE)
    for _ in range(STEPS):
        loss = torch.zeros((), dtype=torch.float64)
        for part, error in zip(parts, errors, strict=True):
            missed = (error - NORMAL_90 * (logarithms.exp() @ part).sqrt()) / error.mean()
            loss = loss + torch.maximum(0.9 * missed, -0.1 * missed).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    variances = logarithms.detach().exp()
    deviations = [(variances @ part).sqrt() for part in parts]
    ratios = [error / (NORMAL_90 * deviation) for error, deviation in zip(errors, deviations, strict=True)]
    factor = _even_quantile(ratios, 0.9)
    spread, detail, noise = (factor * variances.sqrt()).tolist()
    means = [float(e.mean() / (factor * d.mean())) for e, d in zip(errors, deviations, strict=True)]
    return replace(settings, spread=spread, detail=detail, noise=noise, mean_error=sum(means) / len(means))


def _even(doubts: Doubts) -> Tensor:
    return torch.full_like(doubts.spread, doubts.noise)


def _even_quantile(samples: Sequence[Tensor], level: float) -> float:
    """Quantile of samples that count the same whatever their number, by bisection."""
    low, high = 0.0, max(float(sample.max()) for sample in samples)
    for _ in range(60):
        middle = 0.5 * (low + high)
        covered = sum(float((sample <= middle).double().mean()) for sample in samples) / len(samples)
        low, high = (middle, high) if covered < level else (low, middle)
    return high
