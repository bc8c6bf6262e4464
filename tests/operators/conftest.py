"""The zoo: every operator once or more, on small odd rectangles, for the tests that hold for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from medinr.operators import (
    Coils,
    Decimation,
    Fourier,
    GaussianPSF,
    Identity,
    LinearOperator,
    LineSampling,
    ParallelBeam,
    Weighting,
    birdcage_maps,
    cartesian_mask,
    downsampling,
    stack,
    undersampled_fourier,
)

SHAPE = (7, 5)


def _weights(dtype: torch.dtype) -> Tensor:
    return torch.randn(SHAPE, dtype=dtype, generator=torch.Generator().manual_seed(1))


def _maps() -> Tensor:
    return birdcage_maps(SHAPE, 3, dtype=torch.complex128)


def _projector(shape: tuple[int, int] = SHAPE) -> ParallelBeam:
    angles = torch.tensor([0.0, 0.3, math.pi / 4, math.pi / 2, 2.0, 3.5, -0.4], dtype=torch.float64)
    return ParallelBeam(shape, (1.3, 0.8), angles, detector_spacing=0.9)


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
    "decimation": lambda: Decimation(SHAPE, (3, 2)),
    "decimation of a volume": lambda: Decimation((4, 5, 3), (2, 1, 3)),
    "downsampling": lambda: downsampling(SHAPE, (1.0, 0.7), (2, 2)),
    "parallel beam": _projector,
    "parallel beam, wide": lambda: ParallelBeam((3, 8), (0.5, 2.0), [0.1 * k for k in range(19)], 11, 1.1),
    "adjoint": lambda: _projector().H,
    "normal": lambda: undersampled_fourier(SHAPE, (0, 2, 3, 6)).normal,
    "sum": lambda: GaussianPSF(SHAPE, (1, 1), 2.0) - Identity(SHAPE),
    "sum of any and complex": lambda: Identity(SHAPE) + Fourier(SHAPE),
    "scaled": lambda: 0.5 * _projector(),
    "scaled by a complex number": lambda: (0.3 - 2j) * LineSampling(SHAPE, (1, 4)),
    "stack": lambda: stack([_projector(), -2.0 * _projector()]),
    "stack of any and complex": lambda: stack([Identity(SHAPE), Fourier(SHAPE)]),
    "complex after any": lambda: Fourier(SHAPE) @ GaussianPSF(SHAPE, (1, 1), 2.0),
    "any after complex": lambda: LineSampling(SHAPE, (2, 3)) @ Fourier(SHAPE),
}


@pytest.fixture(params=ZOO, ids=lambda name: name.replace(" ", "-"))
def operator(request: pytest.FixtureRequest) -> LinearOperator:
    return ZOO[request.param]()


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
