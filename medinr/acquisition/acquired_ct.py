"""A CT image as a file gives it: nothing is told of its noise, which is found from the image itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.acquisition.acquired_image import AcquiredImage
from medinr.acquisition.spoiled import Spoiled, ct_noise
from medinr.errors import ConfigError
from medinr.io.padding import HU_FLOOR
from medinr.operators import Gaussian, LinearOperator, NoiseModel
from medinr.units import MU_WATER, attenuation_from_hu, hu_from_attenuation
from medinr.volume import Volume

#: Where no noise was found, a noise model still wants a sigma above 0, in HU.
_LEAST_SIGMA = 1e-3


@dataclass(frozen=True)
class AcquiredCTSimulation:
    """How a CT scan is spoiled before only its file is given.

    Attributes
    ----------
    sigma : float
        Standard deviation in HU of noise as filtered backprojection leaves it (`medinr.acquisition.spoiled.ct_noise`).
    seed : int
    """

    sigma: float = 40.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ConfigError(f"sigma must be above 0 HU; got {self.sigma}.")


class AcquiredCT(AcquiredImage):
    """Denoising of a CT scan of which only the file is given; whole HU, padding kept."""

    task = "acquired_ct"
    modality = "CT"
    Simulation = AcquiredCTSimulation

    @property
    def scan(self) -> Volume:
        """All measured slices in whole HU, as a file gives them."""
        return self.measurement.volume(np.rint(hu_from_attenuation(self.measurement.data.double().numpy())))

    def from_scan(self, image: NDArray[Any]) -> Tensor:
        """A slice in HU as attenuation in 1/mm."""
        return torch.from_numpy(attenuation_from_hu(np.ascontiguousarray(image, np.float32)))

    @property
    def noise(self) -> NoiseModel:
        """The noise that was found, as far as a model of one sigma can say it."""
        return Gaussian(max(self.scan_noise.sigma, _LEAST_SIGMA) * MU_WATER / 1000.0)

    def scale(self, data: Tensor, operator: LinearOperator) -> float:
        """Water."""
        return MU_WATER

    @classmethod
    def draw(cls, scan: Volume, level: float, settings: Any) -> dict[str, Any]:
        """Settings without sigma, which a measurement is not to tell."""
        return {"settings": {"seed": settings.seed}}

    @classmethod
    def spoiled(cls, scan: Volume, level: float, settings: Any) -> Spoiled:
        """The scan with noise, as attenuation; the reference stays in HU."""
        clean = scan.array.real.astype(np.float32)
        found = ct_noise(clean, settings.sigma, np.random.default_rng(settings.seed + 1))
        # Scanners store no lower values, but for padding.
        whole = np.rint(np.where(clean <= HU_FLOOR, clean, np.maximum(found.array, HU_FLOOR)))
        return replace(found, array=attenuation_from_hu(whole.astype(np.float32)))
