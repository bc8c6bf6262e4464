"""Calibration of the weights of an uncertainty, by reconstructions whose errors are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ShapeError
from medinr.uncertainty.bootstrap import NORMAL_90, UncertaintyParts
from medinr.uncertainty.settings import UncertaintySettings

#: Steps of Adam on the logarithms of the three squared weights, and their size.
STEPS, RATE = 300, 0.05


@dataclass(frozen=True, eq=False)
class KnownError:
    """A reconstruction with known errors.

    Attributes
    ----------
    parts : UncertaintyParts
    error : Tensor, shape (y, x)
        Absolute error, in solver units.
    body : Tensor of bool, shape (y, x)
        Pixels that are used.
    """

    parts: UncertaintyParts
    error: Tensor
    body: Tensor


def calibrate(known: Sequence[KnownError], settings: UncertaintySettings) -> UncertaintySettings:
    """Choose the weights so that the interval covers 90 % of the pixels, and is narrow where errors are small.

    Minimises over the weights the quantile loss (Koenker & Bassett 1978) of the interval's half-width
    ``q = 1.645 sigma`` for the absolute error ``e``: ``0.9 (e - q)`` where it is exceeded, ``0.1 (q - e)`` where not,
    in every image relative to its mean error. Then all weights are scaled by one factor so that exactly 90 % of the
    pixels are covered, with every image counted alike.

    Parameters
    ----------
    known : sequence of KnownError
        Of people other than those whose uncertainty is wanted, and than those that the denoiser was trained on.
    settings : UncertaintySettings
        The other settings.

    Returns
    -------
    UncertaintySettings
        With the weights and ``mean_error`` found.

    Raises
    ------
    ShapeError
        When there is no image, or one without pixels inside the body.
    """
    if not known or not all(bool(one.body.any()) for one in known):
        raise ShapeError("Calibration wants at least one image, each with pixels inside the body; got none.")
    parts = [
        torch.stack([p[k.body] for p in (k.parts.spread, k.parts.detail, _noise_map(k.parts))]).double() for k in known
    ]
    errors = [one.error[one.body].double() for one in known]
    logarithms = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logarithms], RATE)
    for _ in range(STEPS):
        loss = torch.zeros((), dtype=torch.float64)
        for part, error in zip(parts, errors, strict=True):
            excess = (error - NORMAL_90 * (logarithms.exp() @ part).sqrt()) / error.mean()
            loss = loss + torch.maximum(0.9 * excess, -0.1 * excess).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    variances = logarithms.detach().exp()
    deviations = [(variances @ part).sqrt() for part in parts]
    ratios = [error / (NORMAL_90 * deviation) for error, deviation in zip(errors, deviations, strict=True)]
    factor = _pooled_quantile(ratios, 0.9)
    spread, detail, noise = (factor * variances.sqrt()).tolist()
    means = [float(e.mean() / (factor * d.mean())) for e, d in zip(errors, deviations, strict=True)]
    return replace(settings, weights=(spread, detail, noise), mean_error=sum(means) / len(means))


def _noise_map(parts: UncertaintyParts) -> Tensor:
    return torch.full_like(parts.spread, parts.noise)


def _pooled_quantile(samples: Sequence[Tensor], level: float) -> float:
    """Quantile of pooled samples, each sample with the same total weight whatever its size, by bisection."""
    low, high = 0.0, max(float(sample.max()) for sample in samples)
    for _ in range(60):
        middle = 0.5 * (low + high)
        covered = sum(float((sample <= middle).double().mean()) for sample in samples) / len(samples)
        low, high = (middle, high) if covered < level else (low, middle)
    return high
