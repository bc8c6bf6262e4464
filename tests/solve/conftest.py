"""A family of made-up slices, and the trunk and local prior pretrained on all of it but one."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from medinr.inr.coordinates import plane_coordinates
from medinr.inr.network import Trunk, TrunkSettings
from medinr.inr.pretrain import PretrainSettings, pretrain
from medinr.optimise import OptimiserSettings
from medinr.prior.denoiser import DenoiserSettings
from medinr.prior.local import LocalPrior
from medinr.prior.settings import PriorSettings
from medinr.prior.train import train_prior

SIZE = 32


def _slice(numbers: list[float]) -> Tensor:
    """An ellipse with a brighter disc in it, edges about one pixel wide."""
    cy, cx, ry, rx, dy, dx, radius = numbers
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    body = torch.sigmoid(18 * (0.8 - torch.hypot((x - cx) / rx, (y - cy) / ry)))
    return body * (0.6 + 0.4 * torch.sigmoid(18 * (radius - torch.hypot(x - dx, y - dy))))


@dataclass(frozen=True)
class Family:
    """What is known of the family, and its unseen member."""

    trunk: Trunk
    prior: LocalPrior
    unseen: Tensor
    members: Tensor
    length_scale: float = SIZE / 2

    @property
    def turned(self) -> Tensor:
        """The unseen member with a smooth phase."""
        y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
        return torch.polar(self.unseen, 0.5 * x + 0.3 * y)

    def psnr(self, image: Tensor) -> float:
        return -10 * math.log10(float((image.abs() - self.unseen).square().mean()))


@pytest.fixture(scope="session")
def family() -> Family:
    generator = torch.Generator().manual_seed(5)
    spread = torch.tensor([0.2, 0.2, 0.3, 0.3, 0.6, 0.6, 0.3])
    least = torch.tensor([-0.1, -0.1, 0.8, 0.8, -0.3, -0.3, 0.15])
    slices = torch.stack([_slice((least + spread * torch.rand(7, generator=generator)).tolist()) for _ in range(7)])
    points = plane_coordinates((SIZE, SIZE), (1.0, 1.0), SIZE / 2)
    architecture = TrunkSettings(width=64, depth=3, omega=10.0)
    trunk = pretrain(slices[:6], points, PretrainSettings(steps=120, architecture=architecture)).trunk
    # A modest prior: what companions and doubts are worth shows beside one that leaves something to be done.
    adam = OptimiserSettings(kind="adam", adam_rate=3e-3)
    settings = PriorSettings(steps=200, batch=8, patch=20, optimiser=adam, architecture=DenoiserSettings(8, 4))
    return Family(trunk, LocalPrior(train_prior(list(slices[:6]), settings)), slices[6], slices[:6])
