"""k-space: lines or points of a Cartesian grid, or samples off the grid, of one coil or several."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.errors import ConfigError
from medinr.measurement import Measurement
from medinr.noise.outer_kspace import believed_sigma
from medinr.operators import (
    Coils,
    Gaussian,
    LinearOperator,
    LineMask,
    NoiseModel,
    NonUniformFourier,
    birdcage_maps,
    cartesian_mask,
    undersampled_fourier,
)
from medinr.volume import Volume

#: Factor on the last noise level of noisy k-space of one coil.
NOISY_END = 0.5


@dataclass(frozen=True)
class KspaceSimulation:
    """Undersampled k-space of a magnitude scan.

    Attributes
    ----------
    acceleration, centre_fraction, mask : float, float, str
        Cartesian line sampling, see `medinr.operators.cartesian_mask`.
    own_lines : bool
        Every slice has lines of its own, as many and drawn the same way, so that what one lacks its neighbours have.
    coils : int
        1, or the number of simulated birdcage coils.
    snr_db : float
        Energy of the fully sampled k-space over the noise energy.
    phase : float
        Peak of the smooth synthetic phase in radians (magnitude scans carry none of their own).
    seed : int
    """

    acceleration: float = 4.0
    centre_fraction: float = 0.08
    mask: str = "variable"
    own_lines: bool = False
    coils: int = 1
    snr_db: float = 40.0
    phase: float = 1.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.coils < 1:
            raise ConfigError(f"coils must be at least 1; got {self.coils}.")


class KspaceAcquisition(Acquisition):
    """Reconstruction of k-space."""

    task = "kspace"
    modality = "MR"
    title = "undersampled k-space"
    direct_name = "zero-filled"
    direct_words = "zero-filled k-space, coils combined by their maps"
    groups = "lines"
    complex_image = True
    Simulation = KspaceSimulation

    def __init__(self, measurement: Measurement) -> None:
        super().__init__(measurement)
        # Lines and readouts; of points of a grid, the points of all coils.
        self.group_axis = -1 if "mask" in measurement.arrays else -2

    @cached_property
    def noise(self) -> NoiseModel:
        """As told, or as the outermost samples of the readouts say where that must be wrong."""
        told = super().noise
        if not isinstance(told, Gaussian) or "mask" not in self.facts:
            return told
        return Gaussian(believed_sigma(float(told.sigma), self.measurement.data))

    @property
    def noise_warning(self) -> str:
        """That the noise was not what was told."""
        told, found = super().noise, self.noise
        if told == found or not (isinstance(told, Gaussian) and isinstance(found, Gaussian)):
            return ""
        return (
            f"the noise is said to have a standard deviation of {float(told.sigma):.3g}, and the outermost samples of "
            f"k-space have {float(found.sigma):.3g}, which was used"
        )

    def lines(self, position: int = 0) -> LineMask:
        """Sampled lines of a slice of Cartesian k-space."""
        mask = self.facts["mask"]
        return LineMask.from_dict(mask if isinstance(mask, Mapping) else mask[position])

    def operator(self, position: int = 0) -> LinearOperator:
        """Coil maps, Fourier transform and sampling."""
        shape, arrays = self.measurement.image_shape, self.measurement.arrays
        maps = arrays.get("coil_maps")
        if maps is not None and maps.ndim == 4:
            maps = maps[position]
        if "trajectory" in arrays:
            full = shape if maps is None else tuple(maps.shape)
            scan = NonUniformFourier(full, arrays["trajectory"], toeplitz=True)
            return scan if maps is None else scan @ Coils(maps)
        mask = arrays["mask"] if "mask" in arrays else self.lines(position)
        return undersampled_fourier(shape, mask, maps)

    def direct(self, data: Tensor, operator: LinearOperator) -> Tensor:
        """Zero-filled or gridded k-space, coils combined."""
        density = self.measurement.arrays.get("density")
        return operator.H(data if density is None else data * density.to(data.real.dtype))

    @property
    def sampled_alike(self) -> bool:
        """Whether all slices have the same lines."""
        return isinstance(self.facts.get("mask", {}), Mapping)

    @property
    def shares_operator(self) -> bool:
        """Whether all slices have the same lines and coil maps."""
        maps = self.measurement.arrays.get("coil_maps")
        return self.sampled_alike and (maps is None or maps.ndim == 3 or len(maps) == 1)

    def gains_from_neighbours(self, cubic: bool) -> bool:
        """Where voxels are about cubic, or each slice was sampled in its own way."""
        return cubic or not self.sampled_alike

    @property
    def noisy_end(self) -> float:
        """Lower without coil sensitivities, which are estimated and never exact."""
        return 1.0 if "coil_maps" in self.measurement.arrays else NOISY_END

    def protected(self, position: int = 0) -> tuple[int, ...]:
        """Central k-space."""
        arrays = self.measurement.arrays
        if "trajectory" in arrays:
            return ()
        if "mask" in arrays:
            points = arrays["mask"].nonzero()
            centre = torch.tensor(arrays["mask"].shape) // 2
            near = ((points - centre).abs() <= torch.tensor(self.facts["calibration"]) / 2).all(dim=1)
            return tuple(near.nonzero().flatten().tolist())
        mask = self.lines(position)
        half = max(1.0, mask.centre_fraction * mask.count / 2)
        return tuple(i for i, line in enumerate(mask.lines) if abs(line - mask.count // 2) <= half)

    def sampling(self, position: int) -> dict[str, Any]:
        """Lines of a Cartesian scan."""
        if "mask" not in self.facts:
            return super().sampling(position)
        maps = self.measurement.arrays.get("coil_maps")
        mask = self.lines(position)
        return {
            "kind": "lines",
            "axis": "y",
            "count": mask.count,
            "lines": list(mask.lines),
            "acceleration": float(self.facts["achieved_acceleration"]),
            "coils": 1 if maps is None else int(maps.shape[-3]),
        }

    @classmethod
    def draw(cls, scan: Volume, level: float, settings: KspaceSimulation) -> dict[str, Any]:
        """Lines and phase."""
        generator = torch.Generator().manual_seed(settings.seed)
        masks = [
            cartesian_mask(
                scan.shape[1], settings.acceleration, settings.centre_fraction, settings.mask, settings.seed + position
            )
            for position in range(scan.shape[0] if settings.own_lines else 1)
        ]
        coefficients = (torch.rand(6, generator=generator) * 2 - 1) * (settings.phase / 2)
        return {
            "noise": "gaussian",
            "mask": [mask.to_dict() for mask in masks] if settings.own_lines else masks[0].to_dict(),
            "achieved_acceleration": masks[0].achieved_acceleration,
            "phase": coefficients.tolist(),
            "coils": settings.coils,
        }

    @classmethod
    def images(cls, scan: Volume, parameters: Mapping[str, Any]) -> Tensor:
        """Magnitudes with a smooth phase."""
        magnitude = super().images(scan, parameters)
        phase = smooth_phase((scan.shape[1], scan.shape[2]), parameters["phase"])
        return torch.polar(magnitude, phase.expand_as(magnitude))

    @classmethod
    def arrays(cls, scan: Volume, settings: KspaceSimulation) -> dict[str, Tensor]:
        """Birdcage coils."""
        if settings.coils == 1:
            return {}
        return {"coil_maps": birdcage_maps((scan.shape[1], scan.shape[2]), settings.coils)}

    @classmethod
    def noise_facts(cls, images: Tensor, settings: KspaceSimulation) -> dict[str, Any]:
        """Sigma by the energy of the images: an orthonormal transform keeps it."""
        energy = float(images.abs().square().mean())
        return {"sigma": math.sqrt(energy / 10 ** (settings.snr_db / 10) / 2)}


def smooth_phase(shape: tuple[int, int], coefficients: list[float]) -> Tensor:
    """Evaluate a phase map in radians: a quadratic polynomial over the field of view, shape (y, x).

    Coefficients multiply ``1, y, x, y^2, x y, x^2`` with y and x from -1 to 1.
    """
    y = torch.linspace(-1, 1, shape[0]).unsqueeze(1)
    x = torch.linspace(-1, 1, shape[1]).unsqueeze(0)
    terms = (
        torch.ones(shape),
        y.expand(shape),
        x.expand(shape),
        (y**2).expand(shape),
        y * x,
        (x**2).expand(shape),
    )
    return sum((c * t for c, t in zip(coefficients, terms, strict=True)), torch.zeros(shape))
