"""Least squares, SIRT, wavelets and non-local means: each against what it minimises or is known to do."""

import math

import numpy as np
import pytest
import sigpy
import torch

from medinr.baselines.iterative import least_squares, sirt
from medinr.baselines.nonlocal_means import nonlocal_means
from medinr.baselines.wavelet import wavelet_sparsity
from medinr.errors import ConfigError
from medinr.operators import (
    Gaussian,
    Identity,
    ParallelBeam,
    Rician,
    birdcage_maps,
    cartesian_mask,
    downsampling,
    undersampled_fourier,
)


def _disc(size: int) -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for _ in range(2)), indexing="ij")
    return ((x**2 + y**2) < 0.6).float() + 0.5 * (((x - 0.2) ** 2 + y**2) < 0.1).float()


def _error(image: torch.Tensor, reference: torch.Tensor) -> float:
    return float((image.abs() - reference.abs()).norm() / reference.norm())


def test_conjugate_gradients_reach_the_least_squares_solution() -> None:
    operator = downsampling((10, 12), (1.0, 1.0), 2)
    data = torch.randn(operator.range.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = least_squares(data, operator, 60)
    basis = torch.eye(120, dtype=torch.float64).reshape(120, 10, 12)
    matrix = operator(basis).reshape(120, -1).T
    wanted = torch.linalg.pinv(matrix) @ data.flatten()
    torch.testing.assert_close(found.flatten(), wanted, atol=1e-6, rtol=1e-6)


def test_with_coil_maps_it_is_sense() -> None:
    reference = _disc(32).to(torch.complex64)
    operator = undersampled_fourier((32, 32), cartesian_mask(32, 2, 0.2, "equispaced", 0), birdcage_maps((32, 32), 6))
    found = least_squares(operator(reference), operator, 30)
    assert _error(found, reference) < 0.02
    assert _error(operator.H(operator(reference)), reference) > 0.1


def test_sirt_is_the_formula_and_converges() -> None:
    angles = torch.arange(30, dtype=torch.float64) * (math.pi / 30)
    operator = ParallelBeam((24, 24), (1.0, 1.0), angles, 35, 1.0)
    reference = _disc(24)
    data = operator(reference)
    rows, columns = operator(torch.ones(24, 24)), operator.H(torch.ones(data.shape))
    first = sirt(data, operator, 1)
    wanted = operator.H(torch.where(rows > 1e-6 * rows.max(), data / rows, 0.0)) / columns
    torch.testing.assert_close(first, wanted, atol=1e-5, rtol=1e-4)
    errors = [_error(sirt(data, operator, count), reference) for count in (1, 10, 100)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.12
    assert float(sirt(data - 1.0, operator, 5).min()) >= 0
    assert float(sirt(data - 1.0, operator, 5, nonnegative=False).min()) < 0


def _blob(size: int) -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for _ in range(2)), indexing="ij")
    return torch.exp(-6 * ((x - 0.1) ** 2 + (y + 0.2) ** 2))


def _objective(image, data, operator, weight, sigma):
    coefficients = sigpy.fwt(image.numpy(), wave_name="db4")
    misfit = float((operator(image) - data).abs().square().sum())
    return misfit / (2 * sigma**2) + weight / sigma * float(np.abs(coefficients).sum())


def test_wavelets_minimise_what_they_say() -> None:
    reference = _blob(48).to(torch.complex64)
    operator = undersampled_fourier((48, 48), cartesian_mask(48, 2.5, 0.1, "variable", 0))
    data = Gaussian(0.02).sample(operator(reference), torch.Generator().manual_seed(0))
    few, many = (wavelet_sparsity(data, operator, 1.0, sigma=0.02, iterations=count) for count in (5, 100))
    assert many.dtype == torch.complex64
    values = [_objective(image, data, operator, 1.0, 0.02) for image in (operator.H(data), reference, few, many)]
    # Accelerated steps do not fall every time.
    assert values[3] < 1.001 * min(values)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        beside = many + 0.01 * torch.randn(48, 48, generator=generator, dtype=torch.complex64)
        assert _objective(beside, data, operator, 1.0, 0.02) > values[3]
    assert _error(many, reference) < 0.6 * _error(operator.H(data), reference)


def test_plain_wavelet_shrinkage_is_one_step() -> None:
    noisy = _blob(32) + 0.1 * torch.randn(32, 32, generator=torch.Generator().manual_seed(1))
    operator = Identity((32, 32))
    once, often = (wavelet_sparsity(noisy, operator, 2.0, sigma=0.1, iterations=count) for count in (1, 60))
    assert once.dtype == torch.float32
    assert _error(once, _blob(32)) < 0.5 * _error(noisy, _blob(32))
    least, other = (_objective(image, noisy, operator, 2.0, 0.1) for image in (often, once))
    assert other == pytest.approx(least, rel=0.05)
    assert float(wavelet_sparsity(noisy, operator, 1.5, sigma=0.1, iterations=1, nonnegative=True).min()) >= 0
    assert torch.equal(wavelet_sparsity(0 * noisy, operator, 1.0, sigma=0.1), 0 * noisy)


def test_nonlocal_means_denoises_and_takes_the_bias_of_air_away() -> None:
    noise = Rician(0.1)
    noisy = noise.sample(_disc(48), torch.Generator().manual_seed(0))
    found = nonlocal_means(noisy, noise, 0.8)
    assert _error(found, _disc(48)) < 0.5 * _error(noisy, _disc(48))
    air = np.s_[:4, :4]
    assert float(noisy[air].mean()) == pytest.approx(0.125, abs=0.03)
    assert float(found[air].mean()) < 0.05


def test_no_iteration_is_refused() -> None:
    operator = Identity((4, 4))
    for solve in (least_squares, sirt):
        with pytest.raises(ConfigError, match="at least one iteration"):
            solve(torch.ones(4, 4), operator, 0)
