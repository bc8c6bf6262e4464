"""A measurement that already is an image needs no turns of prior and measurement: one look of the prior is best.

A denoiser trained on squared error gives the posterior mean at its noise level (Tweedie's formula; Robbins 1956), and a
noisy image is the very thing it was trained on. Turns would trade that mean for something sharper and wronger.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from medinr.errors import ConfigError
from medinr.operators import Identity, Rician
from medinr.prior.local import TURNS, ImagePrior
from medinr.solve.problem import Problem


def require_even_noise(problem: Problem) -> None:
    """Refuse what one look of the prior cannot denoise.

    Raises
    ------
    ConfigError
        When the measurement is no image, or its noise differs from pixel to pixel.
    """
    if not isinstance(problem.operator, Identity):
        raise ConfigError(
            f"Only a measured image can be denoised without turns of prior and measurement; this one went through "
            f"{problem.operator.name}. Give some: --set fit.guide.iterations=40"
        )
    _, precision = problem.noise.surrogate(problem.data, problem.data)
    if bool(precision.amin() < precision.amax()):
        raise ConfigError(
            "The noise of this image differs from pixel to pixel, and one look of the prior knows one noise level. "
            "Take turns instead: --set fit.guide.iterations=16"
        )


@torch.no_grad()
def denoise_once(problem: Problem, prior: ImagePrior, fitted: Tensor | None = None) -> Tensor:
    """Denoise a measured image at its own noise level.

    The mean over the eight turns and flips of the grid. Rician noise has a bias: a prior that was trained on it takes
    it out, of what another one gives it is taken out afterwards (Koay & Basser 2006).

    Parameters
    ----------
    problem : Problem
        With the identity as operator and noise of one strength.
    prior : ImagePrior
    fitted : Tensor of bool, shape (y, x), optional
        Pixels to use; the others are taken from their neighbours first. All by default.

    Returns
    -------
    Tensor, shape (y, x)
        In network units.

    Raises
    ------
    ConfigError
        See `require_even_noise`.
    """
    require_even_noise(problem)
    image = problem.data / problem.scale
    if fitted is not None and not bool(fitted.all()):
        image = torch.where(fitted, image, _from_neighbours(image, fitted))
    level = problem.pixel_noise()
    trained = prior.for_magnitudes() if isinstance(problem.noise, Rician) else None
    looks = [(trained or prior).denoise(image, level, turn) for turn in range(TURNS)]
    return without_bias(problem, torch.stack(looks).mean(0), trained is not None)


def without_bias(problem: Problem, denoised: Tensor, trained: bool) -> Tensor:
    """Take out what bias of the noise a denoised image in network units has, unless the prior was trained to do so."""
    return denoised.clamp_min(0) if trained else problem.noise.debias(denoised * problem.scale) / problem.scale


def _from_neighbours(image: Tensor, fitted: Tensor) -> Tensor:
    """Mean of the fitted ones among a pixel and its eight neighbours; 0 where there is none."""
    parts = torch.view_as_real(image).movedim(-1, 0) if image.is_complex() else image.unsqueeze(0)
    known = fitted.to(parts.dtype).expand_as(parts)
    total, count = (functional.avg_pool2d(part.unsqueeze(1), 3, 1, 1).squeeze(1) for part in (parts * known, known))
    mean = total / count.clamp_min(torch.finfo(count.dtype).eps)
    return torch.view_as_complex(mean.movedim(0, -1).contiguous()) if image.is_complex() else mean[0]
