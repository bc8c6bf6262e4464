"""Zero filling undone and done again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medinr.noise.scan_noise import ScanNoise
from medinr.solve.acquired_grid import acquired_shape, on_acquired_grid, on_frequencies

SIZES = st.integers(8, 24)


@settings(deadline=None)
@given(SIZES, SIZES, SIZES)
def test_a_low_frequency_keeps_its_values_at_the_new_pixels(rows, columns, wanted):
    def wave(size):
        return np.cos(2 * np.pi * 2 * np.arange(size) / size + 0.3)

    found = on_frequencies(np.outer(wave(rows), wave(columns)), (wanted, wanted + 1))
    np.testing.assert_allclose(found, np.outer(wave(wanted), wave(wanted + 1)), atol=1e-12)


def test_noise_keeps_its_standard_deviation_when_zero_filled():
    noise = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    filled = on_frequencies(noise, (96, 96))
    assert filled.dtype == np.float32
    # The highest frequency of an even size is left out.
    assert filled.std() == pytest.approx(1.0, abs=0.03)
    assert np.corrcoef(filled[:, 1:].ravel(), filled[:, :-1].ravel())[0, 1] > 0.4


def test_cropping_undoes_filling_up_to_the_highest_frequency():
    image = np.random.default_rng(1).standard_normal((9, 11)) + 1j
    np.testing.assert_allclose(on_frequencies(on_frequencies(image, (14, 17)), (9, 11)), image, atol=1e-12)


def test_the_acquired_grid_is_that_of_the_ratio():
    assert acquired_shape((384, 256), (1.5, 1.0)) == (256, 256)


def test_correlation_is_told_at_distances_of_acquired_samples():
    at = np.arange(-7, 8)
    # Noise that was smoothed, then zero-filled: a Gaussian, twice as wide in pixels as in samples along y.
    wide, narrow = (np.exp(-np.square(at / width)) for width in (4.0, 2.0))
    found = on_acquired_grid(ScanNoise("rician", 0.1, autocorrelation=np.outer(wide, narrow), zero_filling=(2.0, 1.0)))
    assert found.zero_filling == (1.0, 1.0)
    assert found.sigma == 0.1
    samples = np.exp(-np.square(np.arange(-3, 4) / 2.0))
    np.testing.assert_allclose(found.autocorrelation, np.outer(samples, narrow), atol=1e-6)


def test_what_zero_filling_correlates_alone_is_independent():
    at = np.arange(-7, 8)
    table = np.outer(np.sinc(at / 1.5), np.sinc(at / 1.25))
    found = on_acquired_grid(ScanNoise("rician", 0.1, autocorrelation=table, zero_filling=(1.5, 1.25)))
    assert found.autocorrelation is None
