"""A scan of thick slices as a file gives it: neither slice profile nor noise are told, only how far slices are apart.

The measurement is the whole scan. Its image grid is that of planes across the thick slices, of which one is judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.acquisition.coarse_image import interpolate
from medinr.acquisition.spoiled import Spoiled
from medinr.acquisition.thick_slices import fine_planes, rows_first, thick_scan
from medinr.errors import ConfigError
from medinr.noise.estimate import estimate_noise
from medinr.operators import Gaussian, LinearOperator, NoiseModel, SliceProfile, from_callable
from medinr.volume import Volume

#: Profiles that slices can be made with.
PROFILES = ("gaussian", "rect")


@dataclass(frozen=True)
class ThickSimulation:
    """How thick slices are made of a finer scan; no noise is added to what it has.

    Attributes
    ----------
    thickness : float
        Of the slices in mm; of a Gaussian profile the full width at half maximum.
    gap : float
        Between slices in mm, at most the thickness.
    profile : {"gaussian", "rect"}
    band : int
        Planes that are brought to the fine grid at a time, the judged one in the middle; 0: all of the scan.
    seed : int
        Of nothing: nothing is drawn.
    """

    thickness: float = 4.0
    gap: float = 1.0
    profile: str = "gaussian"
    band: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.thickness > 0 and 0 <= self.gap <= self.thickness and self.band >= 0):
            raise ConfigError(
                "Thick slices have a thickness above 0 mm, a gap from 0 to the thickness, and a band of 0 or more "
                f"planes; got {self.thickness}, {self.gap}, {self.band}."
            )
        if self.profile not in PROFILES:
            raise ConfigError(f"simulation.profile is one of {', '.join(PROFILES)}; got {self.profile!r}.")

    @property
    def distance(self) -> float:
        """Between the centres of slices, in mm."""
        return self.thickness + self.gap


class AcquiredThick(Acquisition):
    """Super-resolution of a scan of thick slices of which only the file is given."""

    task = "acquired_thick"
    modality = "MR"
    title = "super-resolution, profile and noise not told"
    direct_name = "B-spline"
    direct_words = "cubic B-splines aligned at the voxel centres"
    Simulation = ThickSimulation
    tells_noise = False
    whole_scan = True

    @property
    def distance(self) -> float:
        """Between the centres of slices, in mm."""
        return float(self.facts["distance"])

    @cached_property
    def scan(self) -> Volume:
        """The thick scan as its file gives it: shape (thick slices, planes, x)."""
        across = rows_first(self.measurement.volume(self.measurement.data.numpy()))
        step, affine = self.measurement.spacing[0], across.affine.copy()
        affine[:3, 3] += affine[:3, 2] * float(self.facts["first"]) / step
        affine[:3, 2] *= self.distance / step
        facts = replace(across.provenance.facts, thickness=None, acquired_matrix=None, slice_times=())
        return replace(across, affine=affine, provenance=replace(across.provenance, facts=facts))

    def grid(self, planes: range) -> Volume:
        """Zeros on the fine grid of some planes: shape (rows, planes, x)."""
        rows, columns = self.measurement.image_shape
        affine = self.measurement.affine.copy()
        affine[:3, 3] += planes.start * affine[:3, 2]
        zeros = np.zeros((len(planes), rows, columns), np.float32)
        return rows_first(replace(self.measurement.volume(zeros), affine=affine))

    def band(self, position: int) -> range:
        """Planes that are brought to the fine grid for the sake of one."""
        count, width = self.measurement.slices, int(self.facts["band"])
        if width == 0 or width >= count:
            return range(count)
        first = min(max(0, position - width // 2), count - width)
        return range(first, first + width)

    def operator(self, position: int = 0) -> LinearOperator:
        """Mean over each slice, which is taken to be as thick as slices are apart."""
        rows, columns = self.measurement.image_shape
        slices, first = self.measurement.data.shape[1], float(self.facts["first"])
        profile = SliceProfile(
            (rows, 1, columns),
            self.measurement.spacing[0],
            self.distance,
            slices=slices,
            first=first,
        )
        return from_callable(
            lambda x: profile(x.unsqueeze(-2)).squeeze(-2),
            (rows, columns),
            (slices, columns),
            lambda y: profile.H(y.unsqueeze(-2)).squeeze(-2),
            name="thick slices",
        )

    def direct(self, data: Tensor, operator: LinearOperator) -> Tensor:
        """Cubic splines."""
        return self.interpolated(data, 3)

    def interpolated(self, data: Tensor, order: Literal[1, 3]) -> Tensor:
        """A plane interpolated by splines of an order (1: linearly), aligned at the voxel centres."""
        step = self.measurement.spacing[0]
        factor, offset = (self.distance / step, 1.0), (float(self.facts["first"]) / step, 0.0)
        return interpolate(data, self.measurement.image_shape, factor, offset, order)

    @cached_property
    def noise(self) -> NoiseModel:
        """Noise as it is found in the scan."""
        least = 1e-6 * float(self.measurement.data.abs().max())
        return Gaussian(max(estimate_noise(self.scan).sigma, least, float(np.finfo(np.float32).tiny)))

    @classmethod
    def measured_slices(cls, scan: Volume, settings: ThickSimulation, name: str) -> Volume:
        """Planes across the slices that are made."""
        return fine_planes(scan, settings.thickness, settings.distance, name)

    @classmethod
    def draw(cls, scan: Volume, level: float, settings: ThickSimulation) -> dict[str, Any]:
        """Where slices lie, but not how thick they are."""
        thick = _thick(scan, settings)
        # Both lie on one line along the rows.
        first = (thick.affine[:3, 3] - scan.affine[:3, 3]) @ scan.affine[:3, 1] / scan.spacing[1]
        return {
            "settings": {"seed": settings.seed},
            "distance": settings.distance,
            "first": float(first),
            "band": settings.band,
        }

    @classmethod
    def spoiled(cls, scan: Volume, level: float, settings: ThickSimulation) -> Spoiled:
        """Planes of the thick scan, and the fine ones."""
        fine = np.abs(scan.array).astype(np.float32)
        thick = rows_first(_thick(scan, settings)).array
        # No noise is added; sigma is that.
        return Spoiled(np.ascontiguousarray(thick, np.float32), fine, "gaussian", 0.0)


def _thick(scan: Volume, settings: ThickSimulation) -> Volume:
    fine = scan.with_array(np.abs(scan.array).astype(np.float32))
    return thick_scan(fine, settings.thickness, settings.distance, settings.profile)
