"""One slice of a measurement: its problem, its peers, its image in the scan's own units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.baselines import denoise_magnitude, naive, total_variation
from medinr.data.acquisition import (
    factors,
    group_axis,
    intensity_scale,
    noise_for,
    operator_for,
    plain_image,
    protected_groups,
    shares_operator,
)
from medinr.errors import CheckpointError
from medinr.inr.network import Trunk, TrunkSettings
from medinr.measurement import Measurement
from medinr.operators import Decimation, LinearOperator, Rician
from medinr.prior.local import LocalPrior
from medinr.solve.problem import Problem
from medinr.trunks.checkpoint import TrunkCard, load_checkpoint
from medinr.units import hu_from_attenuation
from medinr.volume import Volume

NAIVE_NAMES = {"denoise": "noisy", "superres": "bicubic", "kspace": "zero-filled", "ct": "FBP"}


@dataclass(frozen=True, eq=False)
class Truth:
    """The scan a measurement was simulated from, or the image of all its raw data; seen by figures and scores only.

    Attributes
    ----------
    scan : Volume
        The chosen slices, as they lie in the file.
    images : ndarray, shape (slices, y, x)
        The same in standard orientation, magnitude or HU.
    peak : float
        Data range for PSNR and SSIM, from the whole scan.
    """

    scan: Volume
    images: NDArray[np.float32]
    peak: float


@dataclass(frozen=True, eq=False)
class Start:
    """Where a fit starts from: trunk, its coordinate scale in mm, local prior, and card if there is one."""

    trunk: Trunk
    length_scale: float
    prior: LocalPrior | None
    card: TrunkCard | None


def open_trunk(name: str, modality: str) -> Start:
    """Load a trunk for a modality; ``"random"`` gives random weights on a 115 mm scale.

    Raises
    ------
    CheckpointError
        When the trunk is missing or was trained on another modality.
    """
    if name == "random":
        return Start(Trunk(TrunkSettings(), torch.Generator().manual_seed(0)), 115.0, None, None)
    found = load_checkpoint(name)
    if found.card.modality != modality:
        raise CheckpointError(
            f"Trunk {found.card.name!r} was trained on {found.card.modality} scans; this scan is {modality}. "
            "Choose another with --trunk (medinr trunks lists them)."
        )
    return Start(found.trunk, found.card.length_scale, found.prior, found.card)


def problem_for(measurement: Measurement, index: int, operator: LinearOperator | None = None) -> Problem:
    """Pose the inverse problem of slice ``index``; slices may share the measurement's operator and what it keeps."""
    operator = operator_for(measurement, index) if operator is None else operator
    data = measurement.data[index]
    return Problem(
        data=data,
        operator=operator,
        noise=noise_for(measurement),
        spacing=measurement.spacing,
        complex_image=measurement.task == "kspace",
        scale=intensity_scale(measurement, data, operator),
        group_axis=group_axis(measurement),
        protected=protected_groups(measurement, index),
    )


def problems_for(measurement: Measurement) -> list[Problem]:
    """Pose the problems of all slices, on one operator where they share it."""
    shared = operator_for(measurement) if shares_operator(measurement) else None
    return [problem_for(measurement, position, shared) for position in range(measurement.slices)]


def naive_image(measurement: Measurement, problem: Problem) -> Tensor:
    """The image a reader has without any reconstruction: noisy, bicubic, zero-filled or FBP."""
    if measurement.task == "superres":
        grid = Decimation(problem.shape, factors(measurement))
        return naive("superres", problem.data, problem.operator, factor=grid.factor, offset=grid.offset)
    if measurement.task == "denoise":
        return naive("denoise", problem.data, problem.operator)
    return plain_image(measurement, problem.data, problem.operator)


def tv_image(
    problem: Problem, weight: float, iterations: int, method: Callable[..., Tensor] = total_variation
) -> Tensor:
    """The total-variation peer, or `generalised_variation`, in the units of the image."""
    if isinstance(problem.noise, Rician):
        return denoise_magnitude(problem.data, problem.noise, weight, iterations=iterations, method=method)
    _, precision = problem.noise.surrogate(problem.data, problem.data)
    return method(
        problem.data,
        problem.operator,
        weight,
        precision=precision,
        iterations=iterations,
        nonnegative=not problem.complex_image,
    )


def exported(measurement: Measurement, image: Tensor) -> NDArray[np.float32]:
    """An image in the units a reader expects: magnitude for MR, the measurement's unit for CT; shape (y, x)."""
    if measurement.unit == "HU":
        return np.asarray(hu_from_attenuation(image.detach().double().numpy()), dtype=np.float32)
    magnitude: Any = image.detach().abs() if image.is_complex() else image.detach().clamp_min(0.0)
    return np.asarray(magnitude.numpy(), dtype=np.float32)
