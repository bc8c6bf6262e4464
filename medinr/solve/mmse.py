"""A measurement that already is an image: one denoiser evaluation is its best reconstruction.

A denoiser trained on squared error gives the posterior mean at its noise level (Tweedie's formula; Robbins 1956), and a
noisy image is the very thing it was trained on. Half-quadratic splitting would trade that mean for a sharper image with
a larger error.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from medinr.errors import ConfigError
from medinr.operators import Identity, Rician
from medinr.priors.denoiser_prior import ORIENTATIONS, DenoiserPrior, ImagePrior
from medinr.solve.planes import PlaneByPlane
from medinr.solve.problem import Problem

#: Noise that a first evaluation along every axis leaves in a volume, relative to that before, as a second one takes it.
REMAINING_NOISE = 0.25


def require_uniform_noise(problem: Problem) -> None:
    """Refuse what one denoiser evaluation cannot reconstruct.

    Raises
    ------
    ConfigError
        When the measurement is no image, or its noise differs from pixel to pixel.
    """
    if not isinstance(problem.operator, Identity):
        raise ConfigError(
            f"Only a measured image can be reconstructed by one denoiser evaluation; this one was measured through "
            f"{problem.operator.name}. Give iterations: --set plug_and_play.iterations=40"
        )
    _, precision = problem.noise.surrogate(problem.data, problem.data)
    if bool(precision.amin() < precision.amax()):
        raise ConfigError(
            "The noise of this image differs from pixel to pixel, and one denoiser evaluation knows one noise level. "
            "Give iterations: --set plug_and_play.iterations=16 --set plug_and_play.final_step=denoiser"
        )


@torch.no_grad()
def mmse_denoise(problem: Problem, prior: ImagePrior, fitted: Tensor | None = None) -> Tensor:
    """Denoise a measured slice or volume at its own noise level.

    Of a slice, the mean over the eight rotations and flips of the grid; of a volume, of the planes along every axis too
    (`mmse_denoise_planes`). Rician noise has a bias: a denoiser that was trained on it takes it out; otherwise it is
    taken out afterwards (Koay & Basser 2006).

    Parameters
    ----------
    problem : Problem
        With the identity as operator and noise of one strength.
    prior : ImagePrior
        Of volumes a `DenoiserPrior`.
    fitted : Tensor of bool, shape (y, x), optional
        Pixels of a slice to use; the others are taken from their neighbours first. All by default.

    Returns
    -------
    Tensor, shape of the image
        In solver units.

    Raises
    ------
    ConfigError
        See `require_uniform_noise`; also when some voxels of a volume are not to be used.
    """
    require_uniform_noise(problem)
    image = problem.data / problem.scale
    level = problem.pixel_noise()
    trained = prior.for_magnitudes() if isinstance(problem.noise, Rician) else None
    if image.ndim == 3:
        denoiser = trained or prior
        if fitted is not None or not isinstance(denoiser, DenoiserPrior):
            raise ConfigError("A volume is denoised as a whole, by a denoiser prior.")
        clean = mmse_denoise_planes(image, level, PlaneByPlane(denoiser))
        return without_bias(problem, clean, trained is not None)
    if fitted is not None and not bool(fitted.all()):
        image = torch.where(fitted, image, _from_neighbours(image, fitted))
    evaluations = [(trained or prior).denoise(image, level, orientation) for orientation in range(ORIENTATIONS)]
    return without_bias(problem, torch.stack(evaluations).mean(0), trained is not None)


def mmse_denoise_planes(volume: Tensor, level: float, planes: PlaneByPlane) -> Tensor:
    """Denoise a volume ``(z, y, x)`` along every axis twice, the second time at what the first has left."""
    for expected in (level, REMAINING_NOISE * level):
        evaluations = [
            planes.along(volume, expected, axis, orientation)
            for axis in range(3)
            for orientation in range(ORIENTATIONS)
        ]
        volume = torch.stack(evaluations).mean(0)
    return volume


def without_bias(problem: Problem, denoised: Tensor, trained: bool) -> Tensor:
    """Take out what bias of the noise a denoised image in solver units has, unless the denoiser was trained to."""
    return denoised.clamp_min(0) if trained else problem.noise.debias(denoised * problem.scale) / problem.scale


def _from_neighbours(image: Tensor, fitted: Tensor) -> Tensor:
    """Mean of the fitted ones among a pixel and its eight neighbours; 0 where there is none."""
    parts = torch.view_as_real(image).movedim(-1, 0) if image.is_complex() else image.unsqueeze(0)
    known = fitted.to(parts.dtype).expand_as(parts)
    total, count = (functional.avg_pool2d(part.unsqueeze(1), 3, 1, 1).squeeze(1) for part in (parts * known, known))
    mean = total / count.clamp_min(torch.finfo(count.dtype).eps)
    return torch.view_as_complex(mean.movedim(0, -1).contiguous()) if image.is_complex() else mean[0]
