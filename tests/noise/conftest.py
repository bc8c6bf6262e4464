"""Made-up heads and noise whose strength, distribution and correlation are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medinr.volume import Provenance, ScanFacts, Volume

#: Slices, rows, columns.
SHAPE = (10, 112, 96)

Array = NDArray[Any]


@pytest.fixture(scope="session")
def head() -> Array:
    """A head of three tissues with shading, blurred like a scan; air around it, values 0 to 100; (z, y, x)."""
    from scipy.ndimage import gaussian_filter

    depth, height, width = SHAPE
    z, y, x = np.meshgrid(
        np.linspace(-0.6, 0.6, depth), np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij"
    )
    radius = np.sqrt((y / 0.8) ** 2 + (x / 0.75) ** 2 + 0.2 * z**2)
    values = np.zeros(SHAPE)
    values[radius < 1.0] = 90.0
    values[radius < 0.9] = 70.0
    values[radius < 0.6 + 0.05 * np.sin(6 * np.arctan2(y, x))] = 50.0
    values *= 1.0 + 0.1 * x
    return np.asarray(gaussian_filter(values, (0, 0.8, 0.8)), dtype=np.float32)


@pytest.fixture(scope="session")
def as_volume() -> Callable[..., Volume]:
    """Turn an array into a scan."""

    def build(array: Array, modality: str = "MR", unit: str = "a.u.", **facts: Any) -> Volume:
        dtype = np.complex64 if np.iscomplexobj(array) else np.float32
        return Volume(
            np.ascontiguousarray(array, dtype=dtype),
            np.diag([1.0, 1.0, 3.0, 1.0]),
            modality,
            unit,
            Provenance(facts=ScanFacts(**facts)),
        )

    return build


@pytest.fixture(scope="session")
def magnitude() -> Callable[..., Array]:
    """Magnitudes of a signal in `coils` coils with complex Gaussian noise of standard deviation `sigma`."""

    def draw(signal: Array, sigma: float | Array, coils: int = 1, seed: int = 0) -> Array:
        random = np.random.default_rng(seed)
        squares = np.zeros(signal.shape)
        for coil in range(coils):
            real, imaginary = sigma * random.standard_normal((2, *signal.shape))
            squares += (real + (signal if coil == 0 else 0.0)) ** 2 + imaginary**2
        return np.asarray(np.sqrt(squares))

    return draw


@pytest.fixture(scope="session")
def complex_noise() -> Callable[..., Array]:
    """White complex noise, one in each part."""

    def draw(shape: tuple[int, ...], seed: int = 0) -> Array:
        real, imaginary = np.random.default_rng(seed).standard_normal((2, *shape))
        return np.asarray(real + 1j * imaginary)

    return draw
