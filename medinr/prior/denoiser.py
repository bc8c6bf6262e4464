"""A local prior: a small denoiser that knows how strong the noise is and looks at no more than its neighbourhood.

It is trained on the same handful of scans as the trunk and stays on during the fit, where the trunk forgets:
a denoiser for noise level ``s`` is the proximal map of what the scans have in common at that scale
(plug-and-play; Venkatakrishnan et al. 2013; noise-level input: Zhang et al., FFDNet, 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from medinr.errors import ShapeError

#: Spread of the kernels that a denoiser hears its first hints with, in units of those it sees the image with.
FAINT = 0.1


@dataclass(frozen=True)
class DenoiserSettings:
    """Architecture of a local denoiser.

    Attributes
    ----------
    channels : int
        Feature maps per layer.
    layers : int
        3x3 convolutions; the receptive field is ``2 * layers + 1`` pixels wide.
    hints : int
        Further images that say something of what is to be found, each seen as its difference from the noisy one.
    """

    channels: int = 32
    layers: int = 8
    hints: int = 0


class LocalDenoiser(nn.Module):
    """Residual network of 3x3 convolutions on an image, its noise level and, if there are any, hints.

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
        sizes = [2 + settings.hints] + [settings.channels] * (settings.layers - 1) + [1]
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
        """The first, from the image, its noise level and hints, and the last, to the image."""
        kernels = list(self.parameters())
        return [kernels[0], *kernels[1:][-1:]]

    def forward(self, images: Tensor, noise: Tensor, hints: Tensor | None = None) -> Tensor:
        """Denoise.

        Parameters
        ----------
        images : Tensor, shape (n, y, x)
            Real.
        noise : Tensor, shape (n,)
            Standard deviation of the noise in each image, in its own unit.
        hints : Tensor, shape (n, hints, y, x), optional
            In the unit of the images; wanted where the architecture has some.

        Returns
        -------
        Tensor, shape (n, y, x)

        Raises
        ------
        ShapeError
            When there are more or fewer hints than the architecture has.
        """
        h = self._seen(images, noise, hints)
        for convolution in self.convolutions[:-1]:
            h = convolution(h).relu_()
        residual: Tensor = self.convolutions[-1](h)
        return images - residual.squeeze(1)

    def _seen(self, images: Tensor, noise: Tensor, hints: Tensor | None) -> Tensor:
        """Images, their levels and what hints say beyond them, ``(n, 2 + hints, y, x)``."""
        given = 0 if hints is None else hints.shape[1]
        if given != self.settings.hints:
            raise ShapeError(f"This denoiser wants {self.settings.hints} hints (n, hints, y, x); got {given}.")
        differences = () if hints is None else (hints - images.unsqueeze(1)).unbind(1)
        return torch.stack([images, noise.reshape(-1, 1, 1).expand_as(images), *differences], dim=1)

    @torch.no_grad()
    def infer(
        self, images: Tensor, noise: Tensor, precision: torch.dtype = torch.float32, hints: Tensor | None = None
    ) -> Tensor:
        """Denoise as `forward` does, to rounding, in less time and without gradients.

        Parameters
        ----------
        images : Tensor, shape (n, y, x)
            Real.
        noise : Tensor, shape (n,)
        precision : torch.dtype
            In which the residual is computed; it is taken from the images in their own.
        hints : Tensor, shape (n, hints, y, x), optional

        Returns
        -------
        Tensor, shape (n, y, x)
        """
        layout = torch.channels_last
        weights = [weight.to(precision, memory_format=layout) for weight in self.parameters()]
        residuals = []
        # One at a time: a batch convolved at once takes longer per image, and the memory of all its feature maps.
        for image in self._seen(images, noise, hints).split(1):
            h = functional.pad(image, (1, 1, 1, 1), mode="replicate").to(precision, memory_format=layout)
            for weight in weights[:-1]:
                h = _with_edge_repeated(functional.conv2d(h, weight, padding=1).relu_())
            residuals.append(functional.conv2d(h, weights[-1]).squeeze(1))
        return images - torch.cat(residuals).to(images.dtype)


def listening(denoiser: LocalDenoiser, hints: int, generator: torch.Generator) -> LocalDenoiser:
    """Start a denoiser that is given hints from a trained one that is given none.

    It has the other's weights, and small random ones for the hints: it begins with nearly the same answers.
    """
    listener = LocalDenoiser(replace(denoiser.settings, hints=hints), generator)
    weights = denoiser.state_dict()
    first = weights["convolutions.0.weight"]
    faint = FAINT * first.std() * torch.randn(len(first), hints, *first.shape[2:], generator=generator)
    listener.load_state_dict(weights | {"convolutions.0.weight": torch.cat([first, faint], dim=1)})
    return listener


def _with_edge_repeated(maps: Tensor) -> Tensor:
    """Overwrite the outermost pixels of ``(n, c, y, x)`` in place by their inner neighbours.

    Replicate padding for the next layer, without the copy of the whole map that padding it anew would take.
    """
    maps[:, :, 0] = maps[:, :, 1]
    maps[:, :, -1] = maps[:, :, -2]
    maps[..., 0] = maps[..., 1]
    maps[..., -1] = maps[..., -2]
    return maps
