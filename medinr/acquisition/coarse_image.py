"""A magnitude image whose voxels are larger than those of the image that is wanted, in a slice or across slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.data.orient import across_slices
from medinr.errors import ConfigError, GeometryError
from medinr.operators import Decimation, LinearOperator, downsampling
from medinr.volume import Volume

#: Ways in which a scan can be coarser than its grid.
DIRECTIONS = ("in-plane", "through-plane")

#: Least tolerance that a noise-free measurement is weighed by, as a fraction of the 99th percentile.
LEAST_TOLERANCE = 0.005


@dataclass(frozen=True)
class CoarseSimulation:
    """A coarser scan of the same anatomy.

    Attributes
    ----------
    factor : int
        How many times coarser.
    direction : {"in-plane", "through-plane"}
        Both axes of a slice are coarser; or only one, because the scan is cut across its slices
        (`medinr.data.orient.across_slices`) and its slices are that many times thicker.
    noise_level : float
        Gaussian sigma as a fraction of the 99th percentile of the whole volume.
    seed : int
    """

    factor: int = 2
    direction: str = "in-plane"
    noise_level: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.noise_level < 0 or self.factor < 1:
            raise ConfigError(
                f"noise_level must be 0 or more and factor at least 1; got {self.noise_level}, {self.factor}."
            )
        if self.direction not in DIRECTIONS:
            raise ConfigError(f"direction {self.direction!r} is not one of {', '.join(DIRECTIONS)}.")


class CoarseImageAcquisition(Acquisition):
    """Super-resolution."""

    task = "superres"
    modality = "MR"
    title = "super-resolution"
    direct_name = "bicubic"
    direct_words = "cubic spline interpolation"
    Simulation = CoarseSimulation

    @property
    def factors(self) -> tuple[int, int]:
        """How many times coarser than the image the data are along (y, x)."""
        given = self.facts["factor"]
        y, x = given if isinstance(given, list | tuple) else (given, given)
        return int(y), int(x)

    def operator(self, position: int = 0) -> LinearOperator:
        """Mean over each coarse voxel, with its slice profile."""
        return downsampling(self.measurement.image_shape, self.measurement.spacing, self.factors)

    def direct(self, data: Tensor, operator: LinearOperator) -> Tensor:
        """Cubic spline interpolation."""
        grid = Decimation(self.measurement.image_shape, self.factors)
        return interpolate(data, operator.domain.shape, grid.factor, grid.offset)

    def scale(self, data: Tensor, operator: LinearOperator) -> float:
        """99th percentile of the coarse image."""
        level = float(torch.quantile(data.abs().flatten().float(), 0.99))
        return level if level > 0 else 1.0

    def gains_from_neighbours(self, cubic: bool) -> bool:
        """Where voxels are about cubic, and coarser along one axis only."""
        down, right = self.factors
        return cubic and down != right

    @classmethod
    def measured_slices(cls, scan: Volume, settings: CoarseSimulation, name: str) -> Volume:
        """Slices across those of the scan, where they are to be thicker."""
        return across_slices(scan, name) if settings.direction == "through-plane" else scan

    @classmethod
    def draw(cls, scan: Volume, level: float, settings: CoarseSimulation) -> dict[str, Any]:
        """Factors and noise."""
        return {
            "noise": "gaussian",
            "sigma": max(settings.noise_level, LEAST_TOLERANCE) * level,
            "added_sigma": settings.noise_level * level,
            "factor": [settings.factor, 1] if settings.direction == "through-plane" else [settings.factor] * 2,
        }


def interpolate(
    coarse: Tensor, shape: Sequence[int], factor: Sequence[float], offset: Sequence[float], order: Literal[1, 3] = 3
) -> Tensor:
    """Spline interpolation onto the fine grid, cubic by default, aligned at the voxel centres.

    Splines (Unser, IEEE SPM 1999) are the sharper relative of the bicubic convolution of photo editors.
    Beyond the outermost samples the nearest one goes on.

    Parameters
    ----------
    coarse : Tensor, shape (..., *coarse grid)
        Real or complex.
    shape : sequence of int
        Fine grid.
    factor, offset : sequence of float, one per axis of ``shape``
        Coarse sample ``k`` lies at fine index ``offset + k factor``.
    order : {3, 1}
        Of the splines; 1 interpolates linearly.

    Returns
    -------
    Tensor, shape (..., *shape)

    Raises
    ------
    GeometryError
        When factor or offset is not one per axis.
    """
    if len(factor) != len(shape) or len(offset) != len(shape):
        raise GeometryError(
            f"Interpolation to {tuple(shape)} needs one factor and one offset per axis, to know where the "
            f"coarse voxels lie; got factor {factor} and offset {offset}."
        )
    from scipy import ndimage

    at = np.meshgrid(*[(np.arange(n) - o) / f for n, f, o in zip(shape, factor, offset, strict=True)], indexing="ij")
    batch = coarse.shape[: coarse.ndim - len(shape)]
    flat = coarse.detach().cpu().numpy().reshape(-1, *coarse.shape[coarse.ndim - len(shape) :])
    fine = np.stack([ndimage.map_coordinates(image, at, order=order, mode="nearest") for image in flat])
    return torch.from_numpy(fine).reshape(*batch, *shape).to(coarse)
