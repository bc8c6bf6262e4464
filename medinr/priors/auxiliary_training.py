"""Training of the auxiliary-input denoiser, which is given auxiliary scans of the same anatomy.

Its auxiliary channels are local linear fits of the noisy image (`medinr.priors.guided_filter.AuxiliaryChannels`).
Synthetic follow-ups, for which the right image is known, train it to use the auxiliary scans where they agree with the
image and to leave them where they do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.priors.denoiser import LocalDenoiser, with_auxiliary_channels
from medinr.priors.drawing import draw_number, with_random_orientation
from medinr.priors.guided_filter import AUXILIARY_CHANNELS, RADIUS, AuxiliaryChannels, Region, regression_with_slopes
from medinr.priors.training import draw_region, with_random_contrast
from medinr.priors.training_loop import Patches, TrainingRun, train
from medinr.priors.training_settings import PriorSettings
from medinr.workers import Workers

#: Least noise level it is trained for: it is not used in iterations that expect less (`medinr.priors.auxiliary_scan`).
LOWEST_LEVEL = 0.008

#: Pixels around a patch on which its auxiliary channels depend: two windows of the wide fit.
MARGIN = 2 * RADIUS


@dataclass(frozen=True, eq=False)
class FollowUp:
    """A slice and auxiliary scans of its anatomy.

    Attributes
    ----------
    target : Tensor, shape (y, x)
        The image that a denoiser should give, scaled to about 0 to 1.
    auxiliary : Tensor, shape (c, y, x)
        Auxiliary scans on its grid, of any contrast, scaled to about 0 to 1.
    through_plane : Tensor, shape (c, y, x)
        Slope of each auxiliary scan through the plane.
    """

    target: Tensor
    auxiliary: Tensor
    through_plane: Tensor


def train_auxiliary_denoiser(
    denoiser: LocalDenoiser, follow_ups: Sequence[FollowUp], settings: PriorSettings, run: TrainingRun | None = None
) -> LocalDenoiser:
    """Train a copy of a denoiser on noisy patches with auxiliary channels, ``D(x + s n, s, h(x + s n)) ~ x``.

    Each patch is drawn from a follow-up and a noise level of its own, and its auxiliary channels are those that the
    whole noisy slice would have given. Loss as of `medinr.priors.training.train_prior`.

    Parameters
    ----------
    denoiser : LocalDenoiser
        Trained, without auxiliary channels; it is not changed.
    follow_ups : sequence of FollowUp
    settings : PriorSettings
    run : TrainingRun, optional

    Returns
    -------
    LocalDenoiser
        With `medinr.priors.guided_filter.AUXILIARY_CHANNELS` auxiliary channels.

    Raises
    ------
    ShapeError
        When no follow-up is as large as a patch.
    ConfigError
        When the highest noise level is not above `LOWEST_LEVEL`.
    """
    if settings.highest <= LOWEST_LEVEL:
        raise ConfigError(
            f"The auxiliary-input denoiser is trained on noise above {LOWEST_LEVEL}; prior.highest is "
            f"{settings.highest}. Raise it, or set prior.auxiliary_steps to 0."
        )
    large = [follow_up for follow_up in follow_ups if min(follow_up.target.shape) >= settings.patch]
    if not large:
        raise ShapeError(
            f"No synthetic follow-up is as large as a patch of {settings.patch} pixels; choose a smaller patch."
        )
    workers = Workers()
    prepared = workers.map(_Prepared.of, large)
    spread = math.log(settings.highest / LOWEST_LEVEL)

    def draw(generator: torch.Generator) -> Patches:
        patches: list[_Patch] = []
        levels = LOWEST_LEVEL * torch.exp(spread * torch.rand(settings.batch, generator=generator))
        while len(patches) < settings.batch:
            follow_up = prepared[draw_number(len(prepared), generator)]
            region = draw_region(follow_up.target, settings.patch, generator)
            if region is not None:
                wider, inside = _with_margin(region)
                clean = with_random_contrast(follow_up.target[wider].unsqueeze(0), settings.contrast, generator)[0]
                noisy = clean + levels[len(patches)] * torch.randn(clean.shape, generator=generator)
                patches.append(_Patch(clean, noisy, follow_up.auxiliary_channels, wider, inside))
        maps = [with_random_orientation(part, generator) for part in workers.map(_Patch.maps, patches)]
        clean, noisy, *channels = torch.stack(maps).unbind(1)
        return Patches(clean, noisy, levels, torch.stack(channels, 1))

    start = with_auxiliary_channels(denoiser, AUXILIARY_CHANNELS, torch.Generator().manual_seed(settings.seed))
    optimiser = replace(settings.optimiser, muon_rate=settings.auxiliary_rate)
    return train(start, settings.auxiliary_steps, draw, replace(settings, optimiser=optimiser), run)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A follow-up's slice and the fits by its auxiliary scans."""

    target: Tensor
    auxiliary_channels: AuxiliaryChannels

    @classmethod
    def of(cls, follow_up: FollowUp) -> _Prepared:
        regression = regression_with_slopes(follow_up.auxiliary, follow_up.through_plane)
        return cls(follow_up.target, AuxiliaryChannels(regression).prepared())


@dataclass(frozen=True, eq=False)
class _Patch:
    """A patch with a margin around it, the region of both on the slice, and that of the patch within the margin."""

    clean: Tensor
    noisy: Tensor
    auxiliary_channels: AuxiliaryChannels
    wider: Region
    inside: Region

    def maps(self) -> Tensor:
        """The patch, the same with noise, and its auxiliary channels, ``(2 + auxiliary_channels, y, x)``."""
        channels = self.auxiliary_channels.of(self.noisy, self.wider)
        return torch.stack([self.clean, self.noisy, *channels])[:, *self.inside]


def _with_margin(region: Region) -> tuple[Region, Region]:
    """A region widened by `MARGIN`, cut off at the image's edge; and where within this the region lies."""
    starts = [max(0, part.start - MARGIN) for part in region]
    y, x = (slice(start, part.stop + MARGIN) for start, part in zip(starts, region, strict=True))
    rows, columns = (slice(p.start - start, p.stop - start) for start, p in zip(starts, region, strict=True))
    return (y, x), (rows, columns)
