"""Forward operators: models of how CT and MR scanners measure an image, and of the noise.

Algebra        ``A(x)``, ``A.H(y)``, ``A @ B``, ``A + B``, ``2 * A``, ``A / 2``, ``A.normal``
Blocks         `stack`, `concatenate` for one image, `block_diagonal` for a series
MR             `Fourier`, `LineSampling`, `PointSampling`, `Coils`, `SoftCoils`, put together by `undersampled_fourier`;
               masks: `cartesian_mask`, `point_mask`; coil maps: `espirit_maps`, `walsh_maps`, `low_resolution_maps`
Non-Cartesian  `NonUniformFourier` (NUFFT), `ToeplitzNormal`, `OffResonance`; `radial_trajectory`, `spiral_trajectory`,
               `iterative_density`, `radial_density`
CT             `ParallelBeam`, `FanBeam`, inverted by `fbp`; `subsets` of their views
Resolution     `GaussianPSF`, `BoxPSF`, `MeasuredPSF`, `Decimation`, put together by `downsampling`; `SliceProfile`,
               `ScanSampling` of a fine volume by a scan, `AffineResampling` between grids, `Inpainting`
Noise          `Gaussian`, `CorrelatedGaussian` and `Prewhitening`, `Rician`, `NonCentralChi`, `TransmissionPoisson`,
               `Poisson`
Noise level    `estimate_sigma`, `sigma_from_background`, `sigma_from_kspace`, `coil_covariance`
Self-test      `operator_report`, also for your own operators
Other code     `from_callable`, `to_scipy`, `from_scipy`, `to_sigpy`, `from_sigpy`, `to_deepinv`, `from_deepinv`

This package needs torch alone.
"""

from medinr.operators.adapters import (
    FromCallable,
    from_callable,
    from_deepinv,
    from_scipy,
    from_sigpy,
    to_deepinv,
    to_scipy,
    to_sigpy,
)
from medinr.operators.algebra import BlockDiagonal, Concatenation, Stack, block_diagonal, concatenate, stack
from medinr.operators.base import Adjoint, Composition, Identity, LinearOperator, Scaled, Space, Sum
from medinr.operators.check import Finding, OperatorReport, operator_report
from medinr.operators.ct.fan import FanBeam
from medinr.operators.ct.fbp import fbp
from medinr.operators.ct.projector import Projector
from medinr.operators.ct.radon import ParallelBeam
from medinr.operators.ct.subsets import Subset, subsets
from medinr.operators.inpainting import Inpainting
from medinr.operators.mr.coils import Coils, SoftCoils, birdcage_maps
from medinr.operators.mr.density import iterative_density, radial_density
from medinr.operators.mr.espirit import espirit_maps
from medinr.operators.mr.fourier import Fourier, LineSampling, PointSampling, undersampled_fourier
from medinr.operators.mr.nufft import NonUniformFourier, ToeplitzNormal
from medinr.operators.mr.off_resonance import OffResonance
from medinr.operators.mr.point_mask import PointMask, point_mask
from medinr.operators.mr.sampling import LineMask, cartesian_mask
from medinr.operators.mr.sensitivities import low_resolution_maps, walsh_maps
from medinr.operators.mr.trajectories import cartesian_trajectory, radial_trajectory, spiral_trajectory
from medinr.operators.noise.coils import CorrelatedGaussian, Prewhitening
from medinr.operators.noise.counts import Poisson, TransmissionPoisson
from medinr.operators.noise.level import coil_covariance, estimate_sigma, sigma_from_background, sigma_from_kspace
from medinr.operators.noise.magnitude import NonCentralChi, Rician
from medinr.operators.noise.model import Gaussian, NoiseModel
from medinr.operators.resolution.affine_resampling import AffineResampling
from medinr.operators.resolution.blur import BoxPSF, GaussianPSF, MeasuredPSF
from medinr.operators.resolution.resample import Decimation, decimated_affine, downsampling
from medinr.operators.resolution.scan_sampling import ScanSampling
from medinr.operators.resolution.slice_profile import SliceProfile
from medinr.operators.weighting import Weighting

__all__ = [
    "Adjoint",
    "AffineResampling",
    "BlockDiagonal",
    "BoxPSF",
    "Coils",
    "Composition",
    "Concatenation",
    "CorrelatedGaussian",
    "Decimation",
    "FanBeam",
    "Finding",
    "Fourier",
    "FromCallable",
    "Gaussian",
    "GaussianPSF",
    "Identity",
    "Inpainting",
    "LineMask",
    "LineSampling",
    "LinearOperator",
    "MeasuredPSF",
    "NoiseModel",
    "NonCentralChi",
    "NonUniformFourier",
    "OffResonance",
    "OperatorReport",
    "ParallelBeam",
    "PointMask",
    "PointSampling",
    "Poisson",
    "Prewhitening",
    "Projector",
    "Rician",
    "Scaled",
    "ScanSampling",
    "SliceProfile",
    "SoftCoils",
    "Space",
    "Stack",
    "Subset",
    "Sum",
    "ToeplitzNormal",
    "TransmissionPoisson",
    "Weighting",
    "birdcage_maps",
    "block_diagonal",
    "cartesian_mask",
    "cartesian_trajectory",
    "coil_covariance",
    "concatenate",
    "decimated_affine",
    "downsampling",
    "espirit_maps",
    "estimate_sigma",
    "fbp",
    "from_callable",
    "from_deepinv",
    "from_scipy",
    "from_sigpy",
    "iterative_density",
    "low_resolution_maps",
    "operator_report",
    "point_mask",
    "radial_density",
    "radial_trajectory",
    "sigma_from_background",
    "sigma_from_kspace",
    "spiral_trajectory",
    "stack",
    "subsets",
    "to_deepinv",
    "to_scipy",
    "to_sigpy",
    "undersampled_fourier",
    "walsh_maps",
]
