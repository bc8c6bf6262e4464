"""From the facts of a measurement to the operator and noise model that explain it."""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.measurement import Measurement
from medinr.operators import (
    Gaussian,
    Identity,
    LinearOperator,
    LineMask,
    NoiseModel,
    ParallelBeam,
    Rician,
    TransmissionPoisson,
    downsampling,
    undersampled_fourier,
)
from medinr.units import MU_WATER


def operator_for(measurement: Measurement) -> LinearOperator:
    """Build the forward operator of one slice.

    From the image ``(y, x)`` (magnitude or complex MR in the scan's units; attenuation in 1/mm for CT) to
    the shape of one slice's data.
    """
    facts, shape, spacing = measurement.parameters, measurement.image_shape, measurement.spacing
    if measurement.task == "denoise":
        return Identity(shape)
    if measurement.task == "superres":
        return downsampling(shape, spacing, int(facts["factor"]))
    if measurement.task == "kspace":
        return undersampled_fourier(shape, LineMask.from_dict(facts["mask"]), measurement.arrays.get("coil_maps"))
    angles = torch.tensor(facts["angles"], dtype=torch.float64)
    return ParallelBeam(shape, spacing, angles, int(facts["detector_count"]), float(facts["detector_spacing"]))


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
    """Axis whose samples belong together when held out: lines and angles, not pixels."""
    return -2 if measurement.task in ("kspace", "ct") else None


def protected_groups(measurement: Measurement) -> tuple[int, ...]:
    """Positions along the group axis that a fit should always see: the central k-space lines."""
    if measurement.task != "kspace":
        return ()
    mask = LineMask.from_dict(measurement.parameters["mask"])
    half = max(1.0, mask.centre_fraction * mask.count / 2)
    return tuple(i for i, line in enumerate(mask.lines) if abs(line - mask.count // 2) <= half)


def intensity_scale(measurement: Measurement, data: Tensor, operator: LinearOperator) -> float:
    """Image units per network unit, from what was measured.

    Water for CT; for MR the 99th percentile of the magnitude of what a plain adjoint or the data show.
    """
    if measurement.modality == "CT":
        return MU_WATER
    image = operator.H(data) if measurement.task == "kspace" else data
    level = float(torch.quantile(image.abs().flatten().float(), 0.99))
    return level if level > 0 else 1.0
