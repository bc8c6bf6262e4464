"""Training of the denoiser of a prior, on the scans that the trunk is pretrained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn import functional

from medinr.errors import ShapeError
from medinr.priors.denoiser import LocalDenoiser
from medinr.priors.drawing import draw_number, with_random_orientation
from medinr.priors.general_patches import NO_IMAGES, GeneralImages
from medinr.priors.guided_filter import Region
from medinr.priors.training_loop import Patches, TrainingRun, train
from medinr.priors.training_settings import PriorSettings

#: Patches darker than this on average are mostly air; only this share of them is kept.
AIR, AIR_KEPT = 0.05, 0.2


def _patches(
    pools: Sequence[Sequence[Tensor]], general: GeneralImages, settings: PriorSettings, generator: torch.Generator
) -> Tensor:
    """Draw patches ``(batch, patch, patch)``, rotated and flipped at random."""
    chosen: list[Tensor] = []
    while len(chosen) < settings.batch:
        if general.chosen(generator):
            chosen.append(general.draw(settings.patch, generator))
            continue
        pool = pools[draw_number(len(pools), generator)]
        image = pool[draw_number(len(pool), generator)]
        region = draw_region(image, settings.patch, generator)
        chosen += [] if region is None else [with_random_orientation(image[region], generator)]
    return torch.stack(chosen)


def draw_region(image: Tensor, size: int, generator: torch.Generator) -> Region | None:
    """Draw where in an image ``(y, x)`` a patch lies; None, four times of five, where it is mostly air."""
    y, x = (draw_number(max(1, length - size + 1), generator) for length in image.shape)
    region = slice(y, y + size), slice(x, x + size)
    dark = float(image[region].mean()) < AIR
    return None if dark and float(torch.rand(1, generator=generator)) > AIR_KEPT else region


def train_prior(
    images: Sequence[Tensor],
    settings: PriorSettings,
    run: TrainingRun | None = None,
    general: GeneralImages = NO_IMAGES,
) -> LocalDenoiser:
    """Train a denoiser on patches of slices on their own grids.

    Minimises ``mean |D(x + s n, s) - x|^2 / s`` over patches ``x``, noise ``n`` and levels ``s``. This lies between
    the squared error, which strong noise dominates, and the relative one, which weak noise dominates.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (y, x)
        Scaled intensities, about 0 to 1.
    settings : PriorSettings
    run : TrainingRun, optional
    general : GeneralImages, optional
        What some of the patches are of instead.

    Returns
    -------
    LocalDenoiser

    Raises
    ------
    ShapeError
        When no slice is as large as a patch.
    """
    denoiser = LocalDenoiser(settings.architecture, torch.Generator().manual_seed(settings.seed))
    return train(denoiser, settings.steps, _noisy_patches(images, general, settings, _gaussian), settings, run)


def train_on_magnitudes(
    denoiser: LocalDenoiser,
    images: Sequence[Tensor],
    settings: PriorSettings,
    run: TrainingRun | None = None,
    general: GeneralImages = NO_IMAGES,
) -> LocalDenoiser:
    """Train a copy of a denoiser on Rician noise, ``D(|x + s n|, s) ~ x`` with complex ``n``.

    It learns to remove the bias of a magnitude: 1.25 ``s`` in air, next to nothing in the body.

    Parameters
    ----------
    denoiser : LocalDenoiser
        It is not changed.
    images, settings, run, general
        See `train_prior`.

    Returns
    -------
    LocalDenoiser

    Raises
    ------
    ShapeError
        When no slice is as large as a patch.
    """
    draw = _noisy_patches(images, general, settings, _rician)
    return train(deepcopy(denoiser), settings.magnitude_steps, draw, settings, run)


def with_random_contrast(patches: Tensor, contrast: float, generator: torch.Generator) -> Tensor:
    """Raise half of the patches ``(n, y, x)`` to a power, drawn for each patch (`PriorSettings.contrast`)."""
    if contrast == 0:
        return patches
    logarithm = contrast * (2 * torch.rand(len(patches), 1, 1, generator=generator) - 1)
    chosen = torch.rand(len(patches), 1, 1, generator=generator) < 0.5
    return torch.where(chosen, patches.clamp_min(0.0) ** logarithm.exp(), patches)


def _gaussian(clean: Tensor, level: Tensor, generator: torch.Generator) -> Tensor:
    return clean + level * torch.randn(clean.shape, generator=generator)


def _rician(clean: Tensor, level: Tensor, generator: torch.Generator) -> Tensor:
    return torch.hypot(_gaussian(clean, level, generator), level * torch.randn(clean.shape, generator=generator))


def _noisy_patches(
    images: Sequence[Tensor],
    general: GeneralImages,
    settings: PriorSettings,
    add_noise: Callable[[Tensor, Tensor, torch.Generator], Tensor],
) -> Callable[[torch.Generator], Patches]:
    """Return what draws patches of slices, each with a noise level of its own."""
    pools = _pools(images, settings)
    spread = math.log(settings.highest / settings.lowest)

    def draw(generator: torch.Generator) -> Patches:
        clean = with_random_contrast(_patches(pools, general, settings, generator), settings.contrast, generator)
        level = settings.lowest * torch.exp(spread * torch.rand(len(clean), generator=generator))
        return Patches(clean, add_noise(clean, level.reshape(-1, 1, 1), generator), level)

    return draw


def _pools(images: Sequence[Tensor], settings: PriorSettings) -> list[list[Tensor]]:
    """The slices, and the same at a coarser resolution; those that hold a patch."""
    small = [
        functional.interpolate(image[None, None], scale_factor=settings.coarser, mode="bilinear", antialias=True)[0, 0]
        for image in images
    ]
    pools = [[i for i in pool if min(i.shape) >= settings.patch] for pool in (images, small)]
    pools = [pool for pool in pools if pool]
    if not pools:
        raise ShapeError(
            f"No training slice is as large as a patch of {settings.patch} pixels; choose a smaller patch."
        )
    return pools
