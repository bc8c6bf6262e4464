"""Variance of cosine coefficients to autocorrelation, and the fill-in of low frequencies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn

from medinr.errors import IntensityError
from medinr.noise.correlation import autocorrelation, lag_matrix, measured_autocorrelation, neighbours
from medinr.noise.local_spectrum import local_spectrum
from medinr.noise.signal_bias import variance_ratio


def test_white_noise():
    table = autocorrelation(np.ones((8, 8)))
    expected = np.zeros((15, 15))
    expected[7, 7] = 1.0
    np.testing.assert_allclose(table, expected, atol=1e-12)
    assert neighbours(table) < 1e-12


def test_the_lag_matrix_is_the_diagonal_of_the_transformed_covariance():
    covariance = 0.6 ** np.abs(np.subtract.outer(np.arange(8), np.arange(8)))
    matrix = dctn(np.eye(8), axes=[0], norm="ortho")
    np.testing.assert_allclose(lag_matrix() @ 0.6 ** np.arange(8), np.diag(matrix @ covariance @ matrix.T))


def test_a_known_covariance_comes_back():
    along_y, along_x = 0.6 ** np.arange(8), np.exp(-(np.arange(8) ** 2) / 3)
    variance = np.outer(lag_matrix() @ along_y, lag_matrix() @ along_x)
    np.testing.assert_allclose(autocorrelation(variance)[7:, 7:], np.outer(along_y, along_x), atol=1e-10)


def test_few_patches_draw_doubtful_correlations_to_zero():
    variance = np.random.default_rng(0).normal(1.0, 0.1, (8, 8))
    plain, shrunk = autocorrelation(variance), autocorrelation(variance, patches=200)
    assert np.abs(shrunk).sum() < 0.5 * np.abs(plain).sum()
    assert shrunk[7, 7] == 1.0


def test_correlation_of_noise_itself():
    white = np.random.default_rng(0).standard_normal((6, 80, 80))
    noise = (white + np.roll(white, 1, axis=2)) / np.sqrt(2)
    inside = np.zeros(noise.shape, bool)
    inside[:, 5:70, 10:75] = True
    table = measured_autocorrelation(noise, inside)
    assert table[7, 8] == pytest.approx(0.5, abs=0.03)
    assert table[8, 7] == pytest.approx(0.0, abs=0.03)
    assert table[7, 9] == pytest.approx(0.0, abs=0.03)
    with pytest.raises(IntensityError):
        measured_autocorrelation(np.zeros_like(noise), inside)


def test_structure_in_most_patches_does_not_reach_the_spectrum():
    random = np.random.default_rng(0)
    coefficients = random.standard_normal((4000, 8, 8)).astype(np.float32)
    fall = 30.0 / (1 + np.add.outer(np.arange(8) ** 2, np.arange(8) ** 2))
    coefficients[:3400] += (fall * random.laplace(size=(3400, 8, 8)) * random.gamma(1.0, size=(3400, 1, 1))).astype(
        np.float32
    )
    spectrum = local_spectrum(coefficients, np.ones(4000, np.float32))
    assert spectrum.sigma == pytest.approx(1.0, rel=0.06)


def test_the_scatter_of_magnitudes_by_signal():
    mean = np.array([0.0, np.sqrt(np.pi / 2), 10.0, 1000.0], np.float32)
    np.testing.assert_allclose(variance_ratio(mean, 1)[:2], 2 - np.pi / 2, rtol=1e-4)
    np.testing.assert_allclose(variance_ratio(mean, 1)[2:], 1.0, rtol=0.01)
