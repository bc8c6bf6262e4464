"""CT projections of a slice, by parallel rays or a fan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.errors import ConfigError, GeometryError
from medinr.operators import FanBeam, LinearOperator, ParallelBeam, Projector, fbp
from medinr.units import HU_VACUUM, MU_WATER, attenuation_from_hu
from medinr.volume import Volume

#: Factor on the last noise level where there are few photons, see `medinr.solve.problem.Problem` (train split, 60
#: views, 1e4 photons: 0.09 dB and 0.006 SSIM).
NOISY_END = 0.4

#: Beams of a CT scanner in one plane.
GEOMETRIES = ("parallel", "fan")


@dataclass(frozen=True)
class ProjectionSimulation:
    """Few views, or few photons, of a scan.

    Attributes
    ----------
    views, photons : int, float
        Projections, evenly over half a rotation (parallel) or a full one (fan); photons per unattenuated ray.
    geometry : {"parallel", "fan"}
        Of the beam; the fan's detector is straight.
    distances : (float, float)
        Of a fan's source to the axis of rotation and to the detector in mm. The defaults are those of a common body
        scanner (GE LightSpeed VCT).
    seed : int
    """

    views: int = 60
    photons: float = 1e5
    geometry: str = "parallel"
    distances: tuple[float, float] = (541.0, 949.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.views < 1 or self.photons <= 0:
            raise ConfigError(f"views must be at least 1, photons positive; got {self.views}, {self.photons}.")
        if self.geometry not in GEOMETRIES:
            raise ConfigError(f"geometry {self.geometry!r} is not one of {', '.join(GEOMETRIES)}.")
        if not 0 < self.distances[0] <= self.distances[1]:
            raise ConfigError(
                "distances are those of the source to the axis of rotation and to the detector, which is more, in mm; "
                f"got {self.distances[0]} and {self.distances[1]}."
            )


class ProjectionAcquisition(Acquisition):
    """Reconstruction of CT."""

    task = "ct"
    modality = "CT"
    title = "CT"
    direct_name = "FBP"
    direct_words = "filtered back-projection"
    groups = "angles"
    group_axis = -2
    Simulation = ProjectionSimulation

    def operator(self, position: int = 0) -> LinearOperator:
        """Line integrals."""
        facts, shape, spacing = self.facts, self.measurement.image_shape, self.measurement.spacing
        angles = torch.tensor(facts["angles"], dtype=torch.float64)
        count, pitch = int(facts["detector_count"]), float(facts["detector_spacing"])
        centre = float(facts.get("centre", 0))
        if facts.get("geometry") == "fan":
            origin, detector = float(facts["source_origin"]), float(facts["source_detector"])
            return FanBeam(shape, spacing, angles, origin, detector, count, pitch, detector_offset=-centre)
        return ParallelBeam(shape, spacing, angles, count, pitch, centre=centre)

    def direct(self, data: Tensor, operator: LinearOperator) -> Tensor:
        """Filtered back-projection."""
        return fbp(data, operator) if isinstance(operator, Projector) else operator.H(data)

    def scale(self, data: Tensor, operator: LinearOperator) -> float:
        """Water, for images in Hounsfield units."""
        return MU_WATER if self.measurement.unit == "HU" else super().scale(data, operator)

    @property
    def noisy_end(self) -> float:
        """Lower: rays are known exactly, and what few photons leave open is not an error of theirs."""
        return NOISY_END

    def gains_from_neighbours(self, cubic: bool) -> bool:
        """Not measured to help."""
        return False

    def sampling(self, position: int) -> dict[str, Any]:
        """Angles of the views."""
        angles = [float(angle) for angle in self.facts["angles"]]
        return {"kind": "angles", "views": len(angles), "angles": angles}

    @classmethod
    def draw(cls, scan: Volume, level: float, settings: ProjectionSimulation) -> dict[str, Any]:
        """Views and detector: elements as wide as a pixel (a fan's, on the axis), as many as see the whole image."""
        _, y, x = scan.shape
        dy, dx = scan.spacing[1], scan.spacing[0]
        pitch, diagonal = min(dy, dx), math.hypot(y * dy, x * dx)
        rotation = math.pi
        facts: dict[str, Any] = {"noise": "poisson", "photons": settings.photons, "geometry": settings.geometry}
        if settings.geometry == "fan":
            source, magnified = settings.distances
            if source <= diagonal / 2:
                raise GeometryError(
                    f"A source {source:g} mm from the axis is inside the image's circle of radius "
                    f"{diagonal / 2:.0f} mm. Set simulation.distances to larger ones."
                )
            rotation = 2 * math.pi
            pitch *= magnified / source
            # Where the tangents to the image's circle meet the straight detector.
            diagonal = 2 * magnified * math.tan(math.asin(diagonal / 2 / source))
            facts |= {"source_origin": source, "source_detector": magnified}
        return facts | {
            "angles": (torch.arange(settings.views, dtype=torch.float64) * (rotation / settings.views)).tolist(),
            "detector_spacing": pitch,
            "detector_count": math.ceil(diagonal / pitch) + 1,
        }

    @classmethod
    def images(cls, scan: Volume, parameters: Mapping[str, Any]) -> Tensor:
        """Attenuation in 1/mm."""
        hu = np.clip(scan.array.real, HU_VACUUM, None)
        return torch.from_numpy(np.ascontiguousarray(attenuation_from_hu(hu.astype(np.float32))))
