"""A convolutional denoiser for scans as they were acquired: it is told the noise of every pixel, and sees neighbours.

It is the small denoiser of a reconstruction (`medinr.priors.denoiser`), trained further. The noise of a real scan is
neither white nor Gaussian, so it is told more: the standard deviation at every pixel (Zhang et al., FFDNet, IEEE TIP
2018), the noise floor of magnitudes, and what averaging over neighbours leaves of the noise. And it sees more: the
neighbouring slices, and features of a coarse image, whose noise is weak over regions far larger than its own view.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from medinr.errors import ConfigError, ShapeError
from medinr.priors.denoiser import NEW_KERNEL_SCALE, LocalDenoiser

#: Slices that are given: the one to be denoised between its neighbours.
SLICES = 3

#: Widths of the means whose remaining noise is told, in pixels.
WIDTHS = (3, 7)

#: Maps that describe the noise, in the unit of the image: standard deviation, expected magnitude without signal, and
#: for each of `WIDTHS` what the mean over so many pixels squared leaves, times that width (sigma for white noise).
NOISE_MAPS = 2 + len(WIDTHS)


@dataclass(frozen=True)
class ScanDenoiserSettings:
    """Architecture.

    Attributes
    ----------
    channels : int
        Feature maps per layer.
    layers : int
        3x3 convolutions at full resolution.
    coarse_channels, coarse_layers : int
        The same at the coarse resolution.
    coarse_features : int
        Feature maps of the coarse image that the first layer at full resolution is given.
    coarser : int
        Pixels per coarse pixel along each axis.
    """

    channels: int = 32
    layers: int = 8
    coarse_channels: int = 32
    coarse_layers: int = 6
    coarse_features: int = 8
    coarser: int = 4

    def __post_init__(self) -> None:
        counts = (self.channels, self.coarse_channels, self.coarse_features, self.coarser)
        if min(counts) < 1 or min(self.layers, self.coarse_layers) < 2:
            raise ConfigError(
                "A scan denoiser wants two layers or more at each resolution, and channels, coarse_features and "
                f"coarser of 1 or more; got {self}."
            )


class ScanDenoiser(nn.Module):
    """Residual network of 3x3 convolutions, with features of the image at a coarser resolution as further inputs.

    No layer has a bias, so it is homogeneous, ``D(c x, c s) = c D(x, s)`` for ``c > 0`` (Mohan et al., ICLR 2020).

    Parameters
    ----------
    settings : ScanDenoiserSettings
    generator : torch.Generator, optional
        For the initial weights.
    """

    def __init__(self, settings: ScanDenoiserSettings, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.settings = settings
        features = settings.coarse_features
        given = SLICES + NOISE_MAPS + features
        coarse = [SLICES + NOISE_MAPS] + [settings.coarse_channels] * (settings.coarse_layers - 1) + [features]
        fine = [given] + [settings.channels] * (settings.layers - 1) + [1]
        self.coarse = nn.ModuleList(_convolution(before, after) for before, after in pairwise(coarse))
        self.fine = nn.ModuleList(_convolution(before, after) for before, after in pairwise(fine))
        for parameter in self.parameters():
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)
        with torch.no_grad():
            # A denoiser starts close to the identity.
            next(self.fine[-1].parameters()).mul_(0.01)

    @classmethod
    def starting_from(
        cls, denoiser: LocalDenoiser, settings: ScanDenoiserSettings, generator: torch.Generator
    ) -> ScanDenoiser:
        """Make one that at first does what a trained denoiser does, up to small random weights for all further inputs.

        Parameters
        ----------
        denoiser : LocalDenoiser
            With as many channels and layers.
        settings : ScanDenoiserSettings
        generator : torch.Generator

        Raises
        ------
        ConfigError
            When channels or layers differ.
        """
        known = denoiser.settings
        if (known.channels, known.layers) != (settings.channels, settings.layers):
            raise ConfigError(
                f"A scan denoiser starts from the small one, which has {known.channels} channels and {known.layers} "
                f"layers; its own are to be {settings.channels} and {settings.layers}. Make them equal."
            )
        found = cls(settings, generator)
        with torch.no_grad():
            first, *others = found.fine.parameters()
            trained, *rest = denoiser.parameters()
            first.copy_(NEW_KERNEL_SCALE * trained.std() * first / first.std())
            # The image itself is the first input, the standard deviation the one after the slices.
            first[:, 0], first[:, SLICES] = trained[:, 0], trained[:, 1]
            for kernel, value in zip(others, rest, strict=True):
                kernel.copy_(value)
        return found

    def inner_kernels(self) -> list[nn.Parameter]:
        """Kernels from feature maps to feature maps."""
        outer = {id(kernel) for kernel in self.outer_kernels()}
        return [kernel for kernel in self.parameters() if id(kernel) not in outer]

    def outer_kernels(self) -> list[nn.Parameter]:
        """Kernels of the first layers, from the inputs, and of the last, to the image."""
        return [next(layer.parameters()) for layer in (self.coarse[0], self.fine[0], self.fine[-1])]

    def forward(self, slices: Tensor, noise: Tensor) -> Tensor:
        """Denoise the middle slices.

        Parameters
        ----------
        slices : Tensor, shape (n, SLICES, y, x)
            Real. Neighbours equal to the middle one say nothing.
        noise : Tensor, shape (n, NOISE_MAPS, y, x)
            In the unit of the slices, see `NOISE_MAPS`.

        Returns
        -------
        Tensor, shape (n, y, x)

        Raises
        ------
        ShapeError
            When there are more or fewer of either.
        """
        if slices.shape[1] != SLICES or noise.shape[1] != NOISE_MAPS:
            raise ShapeError(
                f"A scan denoiser wants {SLICES} slices and {NOISE_MAPS} maps of noise; got {slices.shape[1]} and "
                f"{noise.shape[1]}."
            )
        y, x = slices.shape[-2:]
        coarser = self.settings.coarser
        before, middle, after = slices.split(1, dim=1)
        sigma, floor, *left = noise.split(1, dim=1)
        # Differences, so that single images with white noise have zeros there.
        images = torch.cat([middle, before - middle, after - middle], dim=1)
        maps = torch.cat([sigma, floor, *(one - sigma for one in left)], dim=1)
        if y % coarser or x % coarser:
            beyond = (0, -x % coarser, 0, -y % coarser)
            images, maps = (functional.pad(part, beyond, mode="replicate") for part in (images, maps))
        features = functional.avg_pool2d(torch.cat([images, maps], dim=1), coarser)
        for convolution in self.coarse[:-1]:
            features = functional.relu(convolution(features))
        features = self.coarse[-1](features)
        features = functional.interpolate(features, scale_factor=coarser, mode="bilinear")
        h = torch.cat([images, maps, features], dim=1)
        for convolution in self.fine[:-1]:
            h = functional.relu(convolution(h))
        residual = self.fine[-1](h)[..., :y, :x]
        denoised: Tensor = middle - residual
        return denoised[:, 0]

    @torch.no_grad()
    def infer(self, slices: Tensor, noise: Tensor) -> Tensor:
        """Denoise as `forward` does, without gradients and in the layout that is quickest."""
        layout = torch.channels_last
        found: Tensor = self(slices.contiguous(memory_format=layout), noise.contiguous(memory_format=layout))
        return found


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate", bias=False)
