"""Simulated acquisitions: draw the parameters, then apply them; the drawn parameters are kept with the data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.data.acquisition import noise_for, operator_for, shares_operator
from medinr.errors import ConfigError, GeometryError, UnitError
from medinr.measurement import TASKS, Measurement
from medinr.operators import birdcage_maps, cartesian_mask
from medinr.units import HU_VACUUM, attenuation_from_hu
from medinr.volume import Volume

#: Modality each task's physics belongs to.
TASK_MODALITY = {"denoise": "MR", "superres": "MR", "kspace": "MR", "ct": "CT"}

#: Ways in which a scan can be coarser than its grid.
DIRECTIONS = ("in-plane", "through-plane")

#: Beams of a CT scanner in one plane.
GEOMETRIES = ("parallel", "fan")


@dataclass(frozen=True)
class SimulationSettings:
    """What a simulated scanner does to a scan.

    Attributes
    ----------
    noise_level : float
        ``denoise`` and ``superres``: sigma as a fraction of the 99th percentile of the whole volume.
    factor : int
        ``superres``: how many times coarser.
    direction : {"in-plane", "through-plane"}
        ``superres``: both axes of a slice are coarser; or only one, because the scan is cut across its slices
        (`medinr.data.orient.across_slices`) and its slices are that many times thicker.
    acceleration, centre_fraction, mask : float, float, str
        ``kspace``: Cartesian line sampling, see `medinr.operators.cartesian_mask`.
    own_lines : bool
        ``kspace``: every slice has lines of its own, as many and drawn the same way, so that what one lacks its
        neighbours have.
    coils : int
        ``kspace``: 1, or the number of simulated birdcage coils.
    snr_db : float
        ``kspace``: energy of the fully sampled k-space over the noise energy.
    phase : float
        ``kspace``: peak of the smooth synthetic phase in radians (magnitude scans carry none of their own).
    views, photons : int, float
        ``ct``: projections, evenly over half a turn (parallel) or a full one (fan); photons per unattenuated ray.
    geometry : {"parallel", "fan"}
        ``ct``: of the beam; the fan's detector is straight.
    source_origin, source_detector : float
        ``ct`` with a fan: distance of the source to the axis of rotation and to the detector in mm. The defaults are
        those of a common body scanner (GE LightSpeed VCT).
    seed : int
    """

    noise_level: float = 0.05
    factor: int = 2
    direction: str = "in-plane"
    acceleration: float = 4.0
    centre_fraction: float = 0.08
    mask: str = "variable"
    own_lines: bool = False
    coils: int = 1
    snr_db: float = 40.0
    phase: float = 1.5
    views: int = 60
    photons: float = 1e5
    geometry: str = "parallel"
    source_origin: float = 541.0
    source_detector: float = 949.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.noise_level < 0 or self.factor < 1 or self.coils < 1 or self.views < 1 or self.photons <= 0:
            raise ConfigError(
                "noise_level must be 0 or more; factor, coils and views at least 1; photons positive; got "
                f"{self.noise_level}, {self.factor}, {self.coils}, {self.views}, {self.photons}."
            )
        if self.direction not in DIRECTIONS:
            raise ConfigError(f"direction {self.direction!r} is not one of {', '.join(DIRECTIONS)}.")
        if self.geometry not in GEOMETRIES:
            raise ConfigError(f"geometry {self.geometry!r} is not one of {', '.join(GEOMETRIES)}.")
        if not 0 < self.source_origin <= self.source_detector:
            raise ConfigError(
                "The source is source_origin mm from the axis of rotation and source_detector mm, which is more, from "
                f"the detector; got {self.source_origin} and {self.source_detector}."
            )


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


def draw_parameters(task: str, scan: Volume, level: float, settings: SimulationSettings) -> dict[str, Any]:
    """Draw everything random about an acquisition except the noise itself.

    Parameters
    ----------
    task : {"denoise", "superres", "kspace", "ct"}
    scan : Volume
        The slices to be measured.
    level : float
        99th percentile of the whole volume, for the noise level.
    settings : SimulationSettings

    Returns
    -------
    dict
        Plain values, to be stored with the measurement.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    lines = scan.shape[1]
    common: dict[str, Any] = {"simulated": True, "seed": settings.seed, "settings": asdict(settings)}
    if task == "denoise":
        return common | {"noise": "rician", "sigma": settings.noise_level * level}
    if task == "superres":
        # A noise-free measurement still needs a tolerance to be weighed by: half a percent.
        return common | {
            "noise": "gaussian",
            "sigma": max(settings.noise_level, 0.005) * level,
            "added_sigma": settings.noise_level * level,
            "factor": [settings.factor, 1] if settings.direction == "through-plane" else [settings.factor] * 2,
        }
    if task == "kspace":
        masks = [
            cartesian_mask(
                lines, settings.acceleration, settings.centre_fraction, settings.mask, settings.seed + position
            )
            for position in range(scan.shape[0] if settings.own_lines else 1)
        ]
        coefficients = (torch.rand(6, generator=generator) * 2 - 1) * (settings.phase / 2)
        return common | {
            "noise": "gaussian",
            "mask": [mask.to_dict() for mask in masks] if settings.own_lines else masks[0].to_dict(),
            "achieved_acceleration": masks[0].achieved_acceleration,
            "phase": coefficients.tolist(),
            "coils": settings.coils,
        }
    return common | {"noise": "poisson", "photons": settings.photons} | _projection_facts(scan, settings)


def _projection_facts(scan: Volume, settings: SimulationSettings) -> dict[str, Any]:
    """Views and detector: elements as wide as a pixel (a fan's, on the axis), as many as see the whole image."""
    _, y, x = scan.shape
    dy, dx = scan.spacing[1], scan.spacing[0]
    pitch, diagonal = min(dy, dx), math.hypot(y * dy, x * dx)
    turn = math.pi
    facts: dict[str, Any] = {"geometry": settings.geometry}
    if settings.geometry == "fan":
        source, magnified = settings.source_origin, settings.source_detector
        if source <= diagonal / 2:
            raise GeometryError(
                f"A source {source:g} mm from the axis is inside the image's circle of radius {diagonal / 2:.0f} mm. "
                "Set simulation.source_origin and source_detector to larger distances."
            )
        turn = 2 * math.pi
        pitch *= magnified / source
        # Where the tangents to the image's circle meet the straight detector.
        diagonal = 2 * magnified * math.tan(math.asin(diagonal / 2 / source))
        facts |= {"source_origin": source, "source_detector": magnified}
    return facts | {
        "angles": (torch.arange(settings.views, dtype=torch.float64) * (turn / settings.views)).tolist(),
        "detector_spacing": pitch,
        "detector_count": math.ceil(diagonal / pitch) + 1,
    }


def images_for(task: str, scan: Volume, parameters: dict[str, Any]) -> Tensor:
    """Give what the scanner sees, shape (slices, y, x): magnitude, complex image, or attenuation in 1/mm."""
    if task == "ct":
        hu = np.clip(scan.array.real, HU_VACUUM, None)
        return torch.from_numpy(np.ascontiguousarray(attenuation_from_hu(hu.astype(np.float32))))
    magnitude = torch.from_numpy(np.ascontiguousarray(np.abs(scan.array)))
    if task != "kspace":
        return magnitude
    return torch.polar(
        magnitude, smooth_phase((scan.shape[1], scan.shape[2]), parameters["phase"]).expand_as(magnitude)
    )


def simulate(task: str, scan: Volume, settings: SimulationSettings, *, level: float | None = None) -> Measurement:
    """Simulate the measurement of a scan's slices.

    Parameters
    ----------
    task : {"denoise", "superres", "kspace", "ct"}
    scan : Volume
        Slices to measure, in standard orientation.
    settings : SimulationSettings
    level : float, optional
        99th percentile of the whole volume when ``scan`` is only part of it.

    Returns
    -------
    Measurement
        With every drawn parameter, so that the same measurement can be made again.

    Raises
    ------
    UnitError
        When the scan's modality does not go with the task.
    """
    if task not in TASKS:
        raise ConfigError(f"Task {task!r} is not one of {', '.join(TASKS)}.")
    if scan.modality != TASK_MODALITY[task]:
        raise UnitError(
            f"Task {task} simulates a {TASK_MODALITY[task]} scanner; this scan is {scan.modality}. "
            f"Choose another task, or say --modality {TASK_MODALITY[task]} if the file is one."
        )
    if level is None:
        level = float(np.percentile(np.abs(scan.array), 99))
    parameters = draw_parameters(task, scan, level, settings)
    images = images_for(task, scan, parameters)
    arrays = {}
    if task == "kspace" and settings.coils > 1:
        arrays["coil_maps"] = birdcage_maps((scan.shape[1], scan.shape[2]), settings.coils)
    if task == "kspace":
        # Orthonormal transform: the energy of k-space is the energy of the image.
        energy = float(images.abs().square().mean())
        parameters["sigma"] = math.sqrt(energy / 10 ** (settings.snr_db / 10) / 2)
    blank = Measurement(
        task=task,
        data=torch.zeros(len(images), 1, 1),
        parameters=parameters,
        affine=scan.affine,
        image_shape=(scan.shape[1], scan.shape[2]),
        modality=scan.modality,
        unit=scan.unit,
        arrays=arrays,
        provenance=scan.provenance,
    )
    if shares_operator(blank):
        clean = operator_for(blank)(images)
    else:
        clean = torch.stack([operator_for(blank, position)(image) for position, image in enumerate(images)])
    generator = torch.Generator().manual_seed(settings.seed + 1)
    if parameters.get("added_sigma") == 0.0 or parameters.get("sigma") == 0.0:
        data = clean
    else:
        data = noise_for(blank).sample(clean, generator)
    return Measurement(**{**vars(blank), "data": data})
