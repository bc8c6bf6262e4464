"""A family of made-up slices, and the denoiser prior trained on all of it but one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medinr.optimise import OptimiserSettings
from medinr.priors.denoiser import DenoiserSettings
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.priors.training import train_prior
from medinr.priors.training_settings import PriorSettings

if TYPE_CHECKING:
    from medinr.network.trunk import Trunk

SIZE = 32


def _slice(numbers: list[float]) -> Tensor:
    """An ellipse with a brighter disc in it, edges about one pixel wide."""
    cy, cx, ry, rx, dy, dx, radius = numbers
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    body = torch.sigmoid(18 * (0.8 - torch.hypot((x - cx) / rx, (y - cy) / ry)))
    return body * (0.6 + 0.4 * torch.sigmoid(18 * (radius - torch.hypot(x - dx, y - dy))))


@dataclass(frozen=True)
class Family:
    """What is known of the family, and its unseen member; a trunk only for tests of the network."""

    prior: DenoiserPrior
    unseen: Tensor
    members: Tensor
    trunk: Trunk | None = None
    length_scale: float = SIZE / 2

    @property
    def with_phase(self) -> Tensor:
        """The unseen member with a smooth phase."""
        y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
        return torch.polar(self.unseen, 0.5 * x + 0.3 * y)

    def psnr(self, image: Tensor) -> float:
        return -10 * math.log10(float((image.abs() - self.unseen).square().mean()))


def make_family() -> Family:
    """Draw seven members and train the prior on the first six."""
    generator = torch.Generator().manual_seed(5)
    spread = torch.tensor([0.2, 0.2, 0.3, 0.3, 0.6, 0.6, 0.3])
    least = torch.tensor([-0.1, -0.1, 0.8, 0.8, -0.3, -0.3, 0.15])
    slices = torch.stack([_slice((least + spread * torch.rand(7, generator=generator)).tolist()) for _ in range(7)])
    # A modest prior: what auxiliary scans and uncertainty are worth shows beside one that leaves something to be done.
    adam = OptimiserSettings(kind="adam", adam_rate=3e-3)
    settings = PriorSettings(steps=200, batch=8, patch=20, optimiser=adam, architecture=DenoiserSettings(8, 4))
    return Family(DenoiserPrior(train_prior(list(slices[:6]), settings)), slices[6], slices[:6])
