"""From the facts of a measurement to the operator and noise model that explain it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.measurement import Measurement
from medinr.operators import (
    Coils,
    FanBeam,
    Gaussian,
    Identity,
    LinearOperator,
    LineMask,
    NoiseModel,
    NonUniformFourier,
    ParallelBeam,
    Projector,
    Rician,
    TransmissionPoisson,
    downsampling,
    fbp,
    undersampled_fourier,
)
from medinr.units import MU_WATER


def operator_for(measurement: Measurement, position: int = 0) -> LinearOperator:
    """Build the forward operator of one slice, the same for all unless each has its own coils or lines.

    From the image ``(y, x)`` (magnitude or complex MR in the scan's units; attenuation in 1/mm for CT) to
    the shape of one slice's data.
    """
    facts, shape, spacing = measurement.parameters, measurement.image_shape, measurement.spacing
    if measurement.task == "denoise":
        return Identity(shape)
    if measurement.task == "superres":
        return downsampling(shape, spacing, factors(measurement))
    if measurement.task == "kspace":
        return _fourier(measurement, position)
    angles = torch.tensor(facts["angles"], dtype=torch.float64)
    count, pitch, centre = int(facts["detector_count"]), float(facts["detector_spacing"]), float(facts.get("centre", 0))
    if facts.get("geometry") == "fan":
        origin, detector = float(facts["source_origin"]), float(facts["source_detector"])
        return FanBeam(shape, spacing, angles, origin, detector, count, pitch, detector_offset=-centre)
    return ParallelBeam(shape, spacing, angles, count, pitch, centre=centre)


def factors(measurement: Measurement) -> tuple[int, int]:
    """How many times coarser than the image ``superres`` data are along (y, x)."""
    given = measurement.parameters["factor"]
    y, x = given if isinstance(given, list | tuple) else (given, given)
    return int(y), int(x)


def line_mask(measurement: Measurement, position: int = 0) -> LineMask:
    """Sampled lines of a slice of Cartesian k-space."""
    mask = measurement.parameters["mask"]
    return LineMask.from_dict(mask if isinstance(mask, Mapping) else mask[position])


def shares_lines(measurement: Measurement) -> bool:
    """Whether all slices are sampled in the same way."""
    return isinstance(measurement.parameters.get("mask", {}), Mapping)


def shares_operator(measurement: Measurement) -> bool:
    """Whether all slices are measured by one operator."""
    if not shares_lines(measurement):
        return False
    maps = measurement.arrays.get("coil_maps")
    return maps is None or maps.ndim == 3 or len(maps) == 1


def _fourier(measurement: Measurement, position: int) -> LinearOperator:
    shape, arrays = measurement.image_shape, measurement.arrays
    maps = arrays.get("coil_maps")
    if maps is not None and maps.ndim == 4:
        maps = maps[position]
    if "trajectory" in arrays:
        full = shape if maps is None else tuple(maps.shape)
        scan = NonUniformFourier(full, arrays["trajectory"], toeplitz=True)
        return scan if maps is None else scan @ Coils(maps)
    mask = arrays["mask"] if "mask" in arrays else line_mask(measurement, position)
    return undersampled_fourier(shape, mask, maps)


def noise_for(measurement: Measurement) -> NoiseModel:
    """Build the noise model of a measurement."""
    facts = measurement.parameters
    kinds = {"gaussian": Gaussian, "rician": Rician}
    if facts["noise"] == "poisson":
        return TransmissionPoisson(float(facts["photons"]))
    if facts["noise"] not in kinds:
        raise ConfigError(f"Noise {facts['noise']!r} is not one of gaussian, rician, poisson.")
    return kinds[facts["noise"]](float(facts["sigma"]))


def group_axis(measurement: Measurement) -> int | None:
    """Axis whose samples belong together when held out: lines, readouts, angles, points of all coils; not pixels."""
    if measurement.task not in ("kspace", "ct"):
        return None
    return -1 if "mask" in measurement.arrays else -2


def protected_groups(measurement: Measurement, position: int = 0) -> tuple[int, ...]:
    """Positions along the group axis that a fit should always see: central k-space."""
    if measurement.task != "kspace" or "trajectory" in measurement.arrays:
        return ()
    facts = measurement.parameters
    if "mask" in measurement.arrays:
        points = measurement.arrays["mask"].nonzero()
        centre = torch.tensor(measurement.arrays["mask"].shape) // 2
        near = ((points - centre).abs() <= torch.tensor(facts["calibration"]) / 2).all(dim=1)
        return tuple(near.nonzero().flatten().tolist())
    mask = line_mask(measurement, position)
    half = max(1.0, mask.centre_fraction * mask.count / 2)
    return tuple(i for i, line in enumerate(mask.lines) if abs(line - mask.count // 2) <= half)


def plain_image(measurement: Measurement, data: Tensor, operator: LinearOperator) -> Tensor:
    """What one slice of raw data show without any model: zero-filled or gridded k-space, filtered backprojection."""
    if measurement.task == "ct":
        return fbp(data, operator) if isinstance(operator, Projector) else operator.H(data)
    density = measurement.arrays.get("density")
    return operator.H(data if density is None else data * density.to(data.real.dtype))


def intensity_scale(measurement: Measurement, data: Tensor, operator: LinearOperator) -> float:
    """Image units per network unit, from what was measured.

    Water for CT in Hounsfield units; else the 99th percentile of the magnitude of what a plain image or the data show.
    """
    if measurement.unit == "HU":
        return MU_WATER
    image = data if measurement.task in ("denoise", "superres") else plain_image(measurement, data, operator)
    level = float(torch.quantile(image.abs().flatten().float(), 0.99))
    return level if level > 0 else 1.0
