"""A magnitude image that was measured itself, with the noise that magnitudes have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.errors import ConfigError
from medinr.operators import Identity, LinearOperator
from medinr.volume import Volume


@dataclass(frozen=True)
class ImageSimulation:
    """Noise on a scan.

    Attributes
    ----------
    noise_level : float
        Rician sigma as a fraction of the 99th percentile of the whole volume.
    seed : int
    """

    noise_level: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.noise_level < 0:
            raise ConfigError(f"noise_level must be 0 or more; got {self.noise_level}.")


class ImageAcquisition(Acquisition):
    """Denoising."""

    task = "denoise"
    modality = "MR"
    title = "denoising"
    direct_name = "noisy"
    direct_words = "the noisy image itself"
    Simulation = ImageSimulation

    def operator(self, position: int = 0) -> LinearOperator:
        """The identity."""
        return Identity(self.measurement.image_shape)

    def direct(self, data: Tensor, operator: LinearOperator) -> Tensor:
        """The data."""
        return data

    @classmethod
    def draw(cls, scan: Volume, level: float, settings: ImageSimulation) -> dict[str, Any]:
        """Noise of magnitudes."""
        return {"noise": "rician", "sigma": settings.noise_level * level}
