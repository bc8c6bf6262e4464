"""Training the local prior on the scans a trunk is pretrained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn import functional

from medinr.errors import ShapeError
from medinr.prior.denoiser import LocalDenoiser
from medinr.prior.loop import Following, Patches, train
from medinr.prior.settings import PriorSettings
from medinr.prior.straight_lines import Place

#: Patches darker than this on average are mostly air; four of five of them are drawn again.
AIR, AIR_KEPT = 0.05, 0.2


def _patches(pools: Sequence[Sequence[Tensor]], settings: PriorSettings, generator: torch.Generator) -> Tensor:
    """Draw patches ``(batch, patch, patch)``, turned and flipped at random."""
    chosen: list[Tensor] = []
    while len(chosen) < settings.batch:
        pool = pools[draw_number(len(pools), generator)]
        image = pool[draw_number(len(pool), generator)]
        place = draw_place(image, settings.patch, generator)
        chosen += [] if place is None else [turned(image[place], generator)]
    return torch.stack(chosen)


def draw_place(image: Tensor, size: int, generator: torch.Generator) -> Place | None:
    """Draw where in an image ``(y, x)`` a patch lies; None where it is of air, four times of five."""
    y, x = (draw_number(max(1, length - size + 1), generator) for length in image.shape)
    place = slice(y, y + size), slice(x, x + size)
    dark = float(image[place].mean()) < AIR
    return None if dark and float(torch.rand(1, generator=generator)) > AIR_KEPT else place


def turned(maps: Tensor, generator: torch.Generator) -> Tensor:
    """Turn and flip maps ``(..., y, x)`` of a square at random."""
    maps = torch.rot90(maps, draw_number(4, generator), (-2, -1))
    return maps.flip(-2) if draw_number(2, generator) else maps


def draw_number(count: int, generator: torch.Generator) -> int:
    """Draw one of 0 to ``count - 1``."""
    return int(torch.randint(count, (1,), generator=generator))


def train_prior(images: Sequence[Tensor], settings: PriorSettings, following: Following | None = None) -> LocalDenoiser:
    """Train a denoiser on patches of slices in their own grids.

    Minimises ``mean |D(x + s n, s) - x|^2 / s`` over patches ``x``, noise ``n`` and levels ``s``: between the
    plain squared error, which only hears strong noise, and the relative one, which only hears weak noise.

    Parameters
    ----------
    images : sequence of Tensor, each of shape (y, x)
        Scaled intensities, about 0 to 1.
    settings : PriorSettings
    following : Following, optional

    Returns
    -------
    LocalDenoiser

    Raises
    ------
    ShapeError
        When no slice is as large as a patch.
    """
    denoiser = LocalDenoiser(settings.architecture, torch.Generator().manual_seed(settings.seed))
    return train(denoiser, settings.steps, _noisy_patches(images, settings, _gaussian), settings, following)


def train_on_magnitudes(
    denoiser: LocalDenoiser, images: Sequence[Tensor], settings: PriorSettings, following: Following | None = None
) -> LocalDenoiser:
    """Train a copy of a denoiser on Rician noise, ``D(|x + s n|, s) ~ x`` with complex ``n``.

    It learns where the noise lifts a magnitude: in air by 1.25 ``s``, next to nothing in the body. Parameters other
    than the denoiser, which stays as it is, and errors as of `train_prior`.
    """
    draw = _noisy_patches(images, settings, _rician)
    return train(deepcopy(denoiser), settings.magnitude_steps, draw, settings, following)


def recontrasted(patches: Tensor, contrast: float, generator: torch.Generator) -> Tensor:
    """Raise half of the patches ``(n, y, x)`` to a power, each to its own."""
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
    images: Sequence[Tensor], settings: PriorSettings, spoil: Callable[[Tensor, Tensor, torch.Generator], Tensor]
) -> Callable[[torch.Generator], Patches]:
    """Patches of slices, each with noise of its own level."""
    pools = _pools(images, settings)
    spread = math.log(settings.highest / settings.lowest)

    def draw(generator: torch.Generator) -> Patches:
        clean = recontrasted(_patches(pools, settings, generator), settings.contrast, generator)
        level = settings.lowest * torch.exp(spread * torch.rand(len(clean), generator=generator))
        return Patches(clean, spoil(clean, level.reshape(-1, 1, 1), generator), level)

    return draw


def _pools(images: Sequence[Tensor], settings: PriorSettings) -> list[list[Tensor]]:
    """The slices, and the same shrunk; those that hold a patch."""
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
