"""Forward operators: how CT and MR scanners measure an image, and how the measurement scatters.

Algebra        ``A(x)``, ``A.H(y)``, ``A @ B``, ``A + B``, ``2 * A``, ``stack([A, B])``, ``A.normal``
MR             `Fourier`, `LineSampling`, `Coils`, put together by `undersampled_fourier`
CT             `ParallelBeam`, inverted by `fbp`
Resolution     `GaussianPSF`, `Decimation`, put together by `downsampling`
Noise          `Gaussian`, `Rician`, `TransmissionPoisson`, `estimate_sigma`
Self-test      `operator_report`, for your own operators too

This package needs torch alone.
"""

from medinr.operators.base import (
    Adjoint,
    Composition,
    Identity,
    LinearOperator,
    Scaled,
    Space,
    Stack,
    Sum,
    Weighting,
    stack,
)
from medinr.operators.check import Finding, OperatorReport, operator_report
from medinr.operators.coils import Coils, birdcage_maps
from medinr.operators.fbp import fbp
from medinr.operators.fourier import Fourier, LineSampling, undersampled_fourier
from medinr.operators.noise import Gaussian, NoiseModel, Rician, TransmissionPoisson
from medinr.operators.noise_level import estimate_sigma
from medinr.operators.radon import ParallelBeam
from medinr.operators.resample import Decimation, GaussianPSF, decimated_affine, downsampling
from medinr.operators.sampling import LineMask, cartesian_mask

__all__ = [
    "Adjoint",
    "Coils",
    "Composition",
    "Decimation",
    "Finding",
    "Fourier",
    "Gaussian",
    "GaussianPSF",
    "Identity",
    "LineMask",
    "LineSampling",
    "LinearOperator",
    "NoiseModel",
    "OperatorReport",
    "ParallelBeam",
    "Rician",
    "Scaled",
    "Space",
    "Stack",
    "Sum",
    "TransmissionPoisson",
    "Weighting",
    "birdcage_maps",
    "cartesian_mask",
    "decimated_affine",
    "downsampling",
    "estimate_sigma",
    "fbp",
    "operator_report",
    "stack",
    "undersampled_fourier",
]
