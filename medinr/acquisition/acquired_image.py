"""A magnitude image as a file gives it: nothing is told of its noise, which is found from the image itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.acquisition.spoiled import WAYS, Spoiled
from medinr.errors import ConfigError
from medinr.noise.estimate import estimate_noise
from medinr.noise.scan_noise import ScanNoise
from medinr.operators import Identity, LinearOperator, NoiseModel, NonCentralChi, Rician
from medinr.volume import Volume

#: Where no noise was found, a noise model still wants a sigma above 0: this part of the brightest value.
_LEAST_SIGMA = 1e-6


@dataclass(frozen=True)
class AcquiredSimulation:
    """How a scan is spoiled before only its file is given.

    Attributes
    ----------
    way : str
        Of `medinr.acquisition.spoiled.WAYS`.
    noise_level : float
        Sigma as a fraction of the 99th percentile of the whole volume; in one coil, and the mean where it varies.
    seed : int
    """

    way: str = "rician"
    noise_level: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise ConfigError(f"simulation.way is one of {', '.join(WAYS)}; got {self.way!r}.")
        if not self.noise_level > 0:
            raise ConfigError(f"noise_level must be above 0; got {self.noise_level}.")


class AcquiredImage(Acquisition):
    """Denoising of a scan of which only the file is given."""

    task = "acquired"
    modality = "MR"
    title = "denoising, noise estimated"
    direct_name = "input"
    direct_words = "the image of the file itself"
    Simulation: ClassVar[type] = AcquiredSimulation
    tells_noise = False

    @property
    def scan(self) -> Volume:
        """All measured slices, as a file gives them."""
        return self.measurement.volume(self.measurement.data.numpy())

    def from_scan(self, image: NDArray[Any]) -> Tensor:
        """A slice in the units of the scan, as an image of the problem."""
        return torch.from_numpy(np.ascontiguousarray(image, np.float32))

    @cached_property
    def scan_noise(self) -> ScanNoise:
        """Noise as it is found in all slices."""
        return estimate_noise(self.scan)

    @property
    def noise(self) -> NoiseModel:
        """The noise that was found, as far as a model of one sigma can say it."""
        found = self.scan_noise
        sigma = max(found.sigma, _LEAST_SIGMA * float(self.measurement.data.max()), float(np.finfo(np.float32).tiny))
        return NonCentralChi(sigma, found.coils) if found.kind == "chi" else Rician(sigma)

    def operator(self, position: int = 0) -> LinearOperator:
        """The identity."""
        return Identity(self.measurement.image_shape)

    def direct(self, data: Tensor, operator: LinearOperator) -> Tensor:
        """The data."""
        return data

    @classmethod
    def draw(cls, scan: Volume, level: float, settings: Any) -> dict[str, Any]:
        """Settings without the noise level, which a measurement is not to tell."""
        return {"settings": {"way": settings.way, "seed": settings.seed}}

    @classmethod
    def spoiled(cls, scan: Volume, level: float, settings: Any) -> Spoiled:
        """The scan's magnitude, spoiled."""
        # Other numbers than those that the slices of other tasks are drawn by.
        generator = np.random.default_rng(settings.seed + 1)
        return WAYS[settings.way](np.abs(scan.array).astype(np.float32), settings.noise_level * level, generator)
