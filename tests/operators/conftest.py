"""The zoo: every operator once or more, on small odd rectangles, for the tests that hold for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from medinr.operators import (
    AffineResampling,
    BoxPSF,
    Coils,
    Decimation,
    FanBeam,
    Fourier,
    GaussianPSF,
    Identity,
    Inpainting,
    LinearOperator,
    LineSampling,
    MeasuredPSF,
    NonUniformFourier,
    OffResonance,
    ParallelBeam,
    PointSampling,
    Prewhitening,
    ScanSampling,
    SliceProfile,
    SoftCoils,
    ToeplitzNormal,
    Weighting,
    birdcage_maps,
    block_diagonal,
    cartesian_mask,
    concatenate,
    downsampling,
    radial_trajectory,
    stack,
    subsets,
    undersampled_fourier,
)

SHAPE = (7, 5)


def _weights(dtype: torch.dtype) -> Tensor:
    return torch.randn(SHAPE, dtype=dtype, generator=torch.Generator().manual_seed(1))


def _maps() -> Tensor:
    return birdcage_maps(SHAPE, 3, dtype=torch.complex128)


def _points() -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(2)) < 0.4


def _scattered(samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    size = torch.tensor([3.0, *SHAPE], dtype=torch.float64)
    return (torch.rand(samples, 3, dtype=torch.float64, generator=generator) - 0.5) * size


def _readout_times() -> Tensor:
    return 1e-3 * torch.arange(SHAPE[1], dtype=torch.float64)


def _projector(shape: tuple[int, int] = SHAPE) -> ParallelBeam:
    angles = torch.tensor([0.0, 0.3, math.pi / 4, math.pi / 2, 2.0, 3.5, -0.4], dtype=torch.float64)
    return ParallelBeam(shape, (1.3, 0.8), angles, detector_spacing=0.9)


def _kernel(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def _tilted(tilt: bool = True) -> Tensor:
    """An affine with other spacings, turned within the plane and, if asked for, out of it."""
    turn = math.pi / 7
    rotation = torch.eye(4, dtype=torch.float64)
    rotation[:2, :2] = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    rotation[:3, 3] = torch.tensor([0.3, -0.6, 0.4 if tilt else 0.0])
    rotation[2, 0] = 0.2 if tilt else 0.0
    return rotation @ torch.diag(torch.tensor([1.2, 0.9, 0.7, 1.0], dtype=torch.float64))


def _covariance() -> Tensor:
    factor = torch.randn(3, 3, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    return factor @ factor.mH + torch.eye(3)


ZOO: dict[str, Callable[[], LinearOperator]] = {
    "identity": lambda: Identity(SHAPE),
    "real weights": lambda: Weighting(_weights(torch.float64)),
    "complex weights": lambda: Weighting(_weights(torch.complex128)),
    "fourier": lambda: Fourier(SHAPE),
    "fourier along y": lambda: Fourier((2, *SHAPE), axes=(-2,)),
    "line sampling": lambda: LineSampling(SHAPE, (5, 0, 3)),
    "coils": lambda: Coils(_maps()),
    "single-coil scan": lambda: undersampled_fourier(SHAPE, cartesian_mask(7, 2, 0.2)),
    "multi-coil scan": lambda: undersampled_fourier(SHAPE, cartesian_mask(7, 2, 0.2), _maps()),
    "psf": lambda: GaussianPSF(SHAPE, (1.0, 0.7), (2.5, 1.1)),
    "psf of a volume": lambda: GaussianPSF((3, 5, 4), (3.0, 1.0, 1.0), (4.0, 0.0, 2.0)),
    "box psf": lambda: BoxPSF(SHAPE, (1.0, 0.7), (4.3, 2.1)),
    "measured psf": lambda: MeasuredPSF(SHAPE, _kernel((4, 3))),
    "measured psf, larger than the image": lambda: MeasuredPSF((3, 2, 4), _kernel((4, 6, 1))),
    "slice profile": lambda: SliceProfile((7, 2, 3), 1.0, 2.5, 1.8),
    "slice profile, gapped": lambda: SliceProfile((9, 1, 2), 0.8, 1.7, 2.0, "rect", slices=2, first=1.1),
    "scan sampling": lambda: ScanSampling(
        (6, 5, 7), torch.eye(4), (3, 5, 4), torch.diag(torch.tensor([1.8, 1.0, 2.0, 1.0])), (1.5, None, None)
    ),
    "affine resampling": lambda: AffineResampling(SHAPE, torch.eye(4), (4, 6), _tilted(tilt=False)),
    "affine resampling of a volume": lambda: AffineResampling((3, 4, 5), torch.eye(4), (4, 2, 3), _tilted()),
    "inpainting": lambda: Inpainting(_weights(torch.float64) > 0.3),
    "prewhitening": lambda: Prewhitening(_covariance(), (3, 4, 2)),
    "decimation": lambda: Decimation(SHAPE, (3, 2)),
    "decimation of a volume": lambda: Decimation((4, 5, 3), (2, 1, 3)),
    "downsampling": lambda: downsampling(SHAPE, (1.0, 0.7), (2, 2)),
    "parallel beam": _projector,
    "parallel beam, wide": lambda: ParallelBeam((3, 8), (0.5, 2.0), [0.1 * k for k in range(19)], 11, 1.1),
    "parallel beam, off centre": lambda: ParallelBeam(SHAPE, (1.3, 0.8), [0.2, 1.0, 2.9], 11, 0.9, centre=-1.7),
    "parallel beam, compiled": lambda: ParallelBeam(SHAPE, (1.3, 0.8), [0.2, 1.0, 2.9], 11, 0.9, compiled=True),
    "fan beam": lambda: FanBeam(SHAPE, (1.3, 0.8), [0.0, 0.3, 1.5, 2.0, 4.0], 9.0, 15.0, 9, 1.6),
    "fan beam, curved": lambda: FanBeam(SHAPE, (1.3, 0.8), [0.1, 1.5, 4.0], 9.0, 15.0, 9, 1.6, curved=True),
    "fan beam, shifted and compiled": lambda: FanBeam(
        SHAPE, (1.3, 0.8), [0.1, 1.5, 4.0], 9.0, 15.0, 9, 1.6, detector_offset=2.3, compiled=True
    ),
    "subset": lambda: subsets(_projector(), 3)[1].operator,
    "adjoint": lambda: _projector().H,
    "normal": lambda: undersampled_fourier(SHAPE, (0, 2, 3, 6)).normal,
    "sum": lambda: GaussianPSF(SHAPE, (1, 1), 2.0) - Identity(SHAPE),
    "sum of any and complex": lambda: Identity(SHAPE) + Fourier(SHAPE),
    "scaled": lambda: 0.5 * _projector(),
    "scaled by a complex number": lambda: (0.3 - 2j) * LineSampling(SHAPE, (1, 4)),
    "stack": lambda: stack([_projector(), -2.0 * _projector()]),
    "stack of any and complex": lambda: stack([Identity(SHAPE), Fourier(SHAPE)]),
    "concatenation": lambda: concatenate([LineSampling(SHAPE, (0, 3, 4)), LineSampling(SHAPE, (1,)) @ Fourier(SHAPE)]),
    "block diagonal": lambda: block_diagonal([Identity(SHAPE), GaussianPSF(SHAPE, (1, 1), 2.0), 3 * Identity(SHAPE)]),
    "block diagonal of any and complex": lambda: block_diagonal([Identity(SHAPE), Fourier(SHAPE)]),
    "divided": lambda: _projector() / 3 * 2,
    "complex after any": lambda: Fourier(SHAPE) @ GaussianPSF(SHAPE, (1, 1), 2.0),
    "any after complex": lambda: LineSampling(SHAPE, (2, 3)) @ Fourier(SHAPE),
    "point sampling": lambda: PointSampling((2, *SHAPE), _points()),
    "point sampling of a volume": lambda: PointSampling((*SHAPE, 3), _points(), axes=(-3, -2)),
    "multi-coil scan of points": lambda: undersampled_fourier(SHAPE, _points(), _maps()),
    "soft coils": lambda: SoftCoils(torch.stack([_maps(), 0.3j * _maps().flip(0)])),
    "nufft": lambda: NonUniformFourier(SHAPE, radial_trajectory(4, 6, SHAPE)),
    "nufft of a volume": lambda: NonUniformFourier((3, *SHAPE), _scattered(11)),
    "multi-coil nufft": lambda: NonUniformFourier((3, *SHAPE), radial_trajectory(2, 6, SHAPE)) @ Coils(_maps()),
    "toeplitz": lambda: ToeplitzNormal(SHAPE, radial_trajectory(4, 6, SHAPE), _scattered(8).reshape(4, 6).abs()),
    "off resonance": lambda: OffResonance(Fourier((2, *SHAPE)), 40.0 * _weights(torch.float64), _readout_times()),
}


#: Relative error of these operators in float64, where it is not that of rounding (`TOLERANCE`): a non-uniform FFT is as
#: exact as it was asked to be.
LOOSER: dict[str, float] = {}

TOLERANCE = 1e-10


@pytest.fixture
def zoo() -> dict[str, Callable[[], LinearOperator]]:
    return ZOO


@pytest.fixture(params=ZOO, ids=lambda name: name.replace(" ", "-"))
def operator_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def operator(operator_name: str) -> LinearOperator:
    return ZOO[operator_name]()


@pytest.fixture
def tolerance(operator_name: str) -> float:
    """Largest relative error of the operator in float64."""
    return LOOSER.get(operator_name, TOLERANCE)


@pytest.fixture
def dense() -> Callable[[LinearOperator], Tensor]:
    """Materialise an operator: its matrix, by applying it to all unit images as one batch."""

    def matrix(op: LinearOperator) -> Tensor:
        dtype = torch.complex128 if op.domain.kind == "complex" else torch.float64
        size = math.prod(op.domain.shape)
        images = torch.eye(size, dtype=dtype).reshape(size, *op.domain.shape)
        return op(images).reshape(size, -1).T

    return matrix


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
