"""Spoiled scans: their noise has the moments and correlations that it should have."""

import numpy as np
import pytest

from medinr.acquisition import spoiled
from medinr.errors import ConfigError

SHAPE = (6, 64, 60)


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def flat(value):
    return np.full(SHAPE, value, np.float32)


def neighbours(noise, step=(0, 1)):
    noise = noise - noise.mean()
    first = noise[:, step[0] :, step[1] :]
    second = noise[:, : SHAPE[1] - step[0], : SHAPE[2] - step[1]]
    return float((first * second).mean() / np.square(noise).mean())


def test_rician_noise_without_signal_is_rayleigh(generator):
    found = spoiled.rician(flat(0), 3.0, generator)
    assert found.array.mean() == pytest.approx(3 * np.sqrt(np.pi / 2), rel=0.01)
    assert found.array.std() == pytest.approx(3 * np.sqrt(2 - np.pi / 2), rel=0.02)
    assert (found.kind, found.coils, found.sigma) == ("rician", 1, 3.0)


def test_rician_noise_of_bright_signal_is_gaussian(generator):
    found = spoiled.rician(flat(300), 3.0, generator)
    assert found.array.std() == pytest.approx(3.0, rel=0.02)
    assert found.array.mean() == pytest.approx(300 + 9 / 600, abs=0.1)
    np.testing.assert_array_equal(found.reference, flat(300))


@pytest.mark.parametrize("coils", [1, 8])
def test_second_moment_of_chi_is_that_of_its_coils(generator, coils):
    found = spoiled.chi(flat(5), 2.0, generator, coils)
    assert np.square(found.array).mean() == pytest.approx(25 + 2 * coils * 4, rel=0.01)
    assert (found.kind, found.coils) == (("chi", 8) if coils == 8 else ("rician", 1))


def test_sigma_doubles_from_the_first_column_to_the_last(generator):
    found = spoiled.doubling(np.full((80, *SHAPE[1:]), 300, np.float32), 3.0, generator)
    assert found.sigma_map[0, 0, -1] == pytest.approx(2 * found.sigma_map[0, 0, 0])
    assert found.sigma_map.mean() == pytest.approx(3.0)
    spread = found.array.std(axis=(0, 1), dtype=np.float64)
    np.testing.assert_allclose(spread, found.sigma_map[0, 0], rtol=0.05)


def test_zero_filled_noise_has_its_sigma_and_is_correlated(generator):
    found = spoiled.zero_filled(flat(300), 3.0, generator)
    assert found.array.std() == pytest.approx(3.0, rel=0.05)
    # sinc(1 / 1.5)
    assert neighbours(found.array) == pytest.approx(np.sinc(1 / 1.5), abs=0.03)
    power = np.abs(np.fft.fft2(found.array - 300)).mean(axis=0)
    assert power[SHAPE[1] // 2, 0] < 0.02 * power[5, 5]


def test_zero_filled_reference_keeps_what_was_measured_and_loses_the_rest(generator):
    x = np.arange(SHAPE[2])
    kept, lost = 10 * np.cos(2 * np.pi * 8 * x / SHAPE[2]), 10 * np.cos(2 * np.pi * 25 * x / SHAPE[2])
    found = spoiled.zero_filled((flat(100) + kept + lost).astype(np.float32), 1.0, generator)
    np.testing.assert_allclose(found.reference, flat(100) + kept, atol=1e-3)


def test_zero_filling_of_one_is_plain_rician_noise(generator):
    found = spoiled.zero_filled(flat(300), 3.0, generator, factor=1.0)
    assert abs(neighbours(found.array)) < 0.03


def test_ct_noise_has_its_sigma_and_neighbours_correlate_by_a_third(generator):
    found = spoiled.ct_noise(flat(40), 70.0, generator)
    assert found.kind == "gaussian"
    assert (found.array - 40).std() == pytest.approx(70.0, rel=0.05)
    assert neighbours(found.array) == pytest.approx(0.35, abs=0.03)
    assert neighbours(found.array, (1, 0)) == pytest.approx(0.35, abs=0.03)
    # The ramp leaves no noise in the mean of a slice.
    np.testing.assert_allclose(found.array.mean(axis=(1, 2)), 40, atol=0.01)


def test_the_same_seed_gives_the_same_noise():
    first, second = (spoiled.chi(flat(9), 1.0, np.random.default_rng(4)).array for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("way", list(spoiled.WAYS.values()))
@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan])
def test_noise_without_a_sigma_is_refused(way, sigma, generator):
    with pytest.raises(ConfigError, match="sigma"):
        way(flat(1), sigma, generator)


def test_impossible_settings_are_refused(generator):
    with pytest.raises(ConfigError, match="coil"):
        spoiled.chi(flat(1), 1.0, generator, 0)
    with pytest.raises(ConfigError, match="pixel"):
        spoiled.zero_filled(flat(1), 1.0, generator, 0.5)
