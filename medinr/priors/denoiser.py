"""A small convolutional denoiser that is given the noise level and uses only the neighbourhood of each pixel.

It is trained on the same few scans as the trunk. The trunk is only where a fit starts and loses what it has learned
during the fit; the denoiser does not change: a denoiser for noise level ``s`` acts as the proximal map of a prior, of
what the training scans have in common at that scale (plug-and-play; Venkatakrishnan et al. 2013; noise level as an
input: Zhang et al., FFDNet, 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from medinr.errors import ShapeError

#: Standard deviation of the first kernels of new auxiliary channels, relative to that of the kernels of the image.
NEW_KERNEL_SCALE = 0.1


@dataclass(frozen=True)
class DenoiserSettings:
    """Architecture of a denoiser.

    Attributes
    ----------
    channels : int
        Feature maps per layer.
    layers : int
        3x3 convolutions; the receptive field is ``2 * layers + 1`` pixels wide.
    auxiliary_channels : int
        Further input images that carry information on the clean image; the network is given the difference of each
        from the noisy one.
    """

    channels: int = 32
    layers: int = 8
    auxiliary_channels: int = 0


class LocalDenoiser(nn.Module):
    """Residual network of 3x3 convolutions; inputs: an image, its noise level and auxiliary channels, if any.

    No layer has a bias, so the map is homogeneous, ``D(c x, c s, c h) = c D(x, s, h)`` for ``c > 0``: one denoiser
    serves every intensity scale (Mohan et al., ICLR 2020).

    Parameters
    ----------
    settings : DenoiserSettings
    generator : torch.Generator, optional
        For the initial weights.
    """

    def __init__(self, settings: DenoiserSettings, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.settings = settings
        sizes = [2 + settings.auxiliary_channels] + [settings.channels] * (settings.layers - 1) + [1]
        self.convolutions = nn.ModuleList()
        for fan_in, fan_out in pairwise(sizes):
            layer = nn.Conv2d(fan_in, fan_out, 3, padding=1, padding_mode="replicate", bias=False)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            self.convolutions.append(layer)
        with torch.no_grad():
            # A denoiser starts close to the identity.
            layer.weight.mul_(0.01)

    def inner_kernels(self) -> list[nn.Parameter]:
        """Kernels from feature maps to feature maps."""
        return list(self.parameters())[1:-1]

    def outer_kernels(self) -> list[nn.Parameter]:
        """Kernels of the first layer, from the inputs, and of the last, to the image."""
        kernels = list(self.parameters())
        return [kernels[0], *kernels[1:][-1:]]

    def forward(self, images: Tensor, noise: Tensor, auxiliary_channels: Tensor | None = None) -> Tensor:
        """Denoise.

        Parameters
        ----------
        images : Tensor, shape (n, y, x)
            Real.
        noise : Tensor, shape (n,) or (n, y, x)
            Standard deviation of the noise in each image, or at each pixel, in the unit of that image.
        auxiliary_channels : Tensor, shape (n, auxiliary_channels, y, x), optional
            In the unit of the images; required where the architecture has some.

        Returns
        -------
        Tensor, shape (n, y, x)

        Raises
        ------
        ShapeError
            When there are more or fewer auxiliary channels than the architecture has.
        """
        h = self._inputs(images, noise, auxiliary_channels)
        for convolution in self.convolutions[:-1]:
            h = convolution(h).relu_()
        residual: Tensor = self.convolutions[-1](h)
        return images - residual.squeeze(1)

    def _inputs(self, images: Tensor, noise: Tensor, auxiliary_channels: Tensor | None) -> Tensor:
        """Images, noise levels and differences of the auxiliary channels, ``(n, 2 + auxiliary_channels, y, x)``."""
        count = 0 if auxiliary_channels is None else auxiliary_channels.shape[1]
        if count != self.settings.auxiliary_channels:
            raise ShapeError(
                f"This denoiser wants {self.settings.auxiliary_channels} auxiliary channels "
                f"(n, auxiliary_channels, y, x); got {count}."
            )
        differences = () if auxiliary_channels is None else (auxiliary_channels - images.unsqueeze(1)).unbind(1)
        levels = noise if noise.ndim == images.ndim else noise.reshape(-1, 1, 1).expand_as(images)
        return torch.stack([images, levels, *differences], dim=1)

    @torch.no_grad()
    def infer(
        self,
        images: Tensor,
        noise: Tensor,
        precision: torch.dtype = torch.float32,
        auxiliary_channels: Tensor | None = None,
    ) -> Tensor:
        """Denoise as `forward` does, up to rounding, in less time and without gradients.

        Parameters
        ----------
        images : Tensor, shape (n, y, x)
            Real.
        noise : Tensor, shape (n,) or (n, y, x)
        precision : torch.dtype
            In which the residual is computed; it is subtracted from the images in their own precision.
        auxiliary_channels : Tensor, shape (n, auxiliary_channels, y, x), optional

        Returns
        -------
        Tensor, shape (n, y, x)

        Raises
        ------
        ShapeError
            As `forward`.
        """
        layout = torch.channels_last
        weights = [weight.to(precision, memory_format=layout) for weight in self.parameters()]
        residuals = []
        # One image at a time: convolving a batch at once takes longer per image, and memory for all its feature maps.
        for image in self._inputs(images, noise, auxiliary_channels).split(1):
            h = functional.pad(image, (1, 1, 1, 1), mode="replicate").to(precision, memory_format=layout)
            for weight in weights[:-1]:
                h = _with_edge_repeated(functional.conv2d(h, weight, padding=1).relu_())
            residuals.append(functional.conv2d(h, weights[-1]).squeeze(1))
        return images - torch.cat(residuals).to(images.dtype)


def with_auxiliary_channels(
    denoiser: LocalDenoiser, auxiliary_channels: int, generator: torch.Generator
) -> LocalDenoiser:
    """Make a denoiser with auxiliary channels from a trained one without.

    It has the weights of the other, and small random ones for the auxiliary channels, so its output is nearly the same.
    """
    extended = LocalDenoiser(replace(denoiser.settings, auxiliary_channels=auxiliary_channels), generator)
    weights = denoiser.state_dict()
    first = weights["convolutions.0.weight"]
    shape = (len(first), auxiliary_channels, *first.shape[2:])
    new = NEW_KERNEL_SCALE * first.std() * torch.randn(*shape, generator=generator)
    extended.load_state_dict(weights | {"convolutions.0.weight": torch.cat([first, new], dim=1)})
    return extended


def _with_edge_repeated(maps: Tensor) -> Tensor:
    """Overwrite the outermost pixels of ``(n, c, y, x)`` in place by their inner neighbours.

    This is replicate padding for the next layer, without the copy of the whole map that padding it again would take.
    """
    maps[:, :, 0] = maps[:, :, 1]
    maps[:, :, -1] = maps[:, :, -2]
    maps[..., 0] = maps[..., 1]
    maps[..., -1] = maps[..., -2]
    return maps
