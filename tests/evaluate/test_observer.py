"""The observer: a known detectability is found, and its interval holds it as often as it says."""

import numpy as np
import pytest

from medinr.errors import ConfigError, ShapeError
from medinr.metrics.observer import auc_of, laguerre_gauss_channels, observe

SIZE = 12


def images(count, signal, seed, sigma=1.0):
    return signal + sigma * np.random.default_rng(seed).standard_normal((count, *signal.shape))


def blob(height):
    offset = np.arange(SIZE) - (SIZE - 1) / 2
    return height * np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / 8)


def test_area_under_the_curve_of_a_known_detectability():
    assert auc_of(1.0) == pytest.approx(0.7602499, abs=1e-6)
    assert auc_of(0.0) == 0.5


def test_hotelling_observer_in_white_noise_sees_the_energy_of_the_signal():
    signal = blob(0.5)[4:8, 4:8]
    found = observe(images(4000, signal, 0), images(4000, 0 * signal, 1))
    assert found.d_prime == pytest.approx(np.sqrt(np.square(signal).sum()), rel=0.05)
    assert found.low < found.d_prime < found.high
    assert found.channels == 16


def test_channels_see_what_lies_in_them():
    signal, channels = blob(0.5), laguerre_gauss_channels(SIZE, 8.0, 4)
    found = observe(images(3000, signal, 0), images(3000, 0 * signal, 1), channels)
    flat = channels.reshape(4, -1)
    projected = flat @ signal.ravel()
    expected = np.sqrt(projected @ np.linalg.solve(flat @ flat.T, projected))
    assert found.d_prime == pytest.approx(expected, rel=0.06)
    assert expected <= np.sqrt(np.square(signal).sum())


def test_an_invertible_filter_changes_nothing_to_the_hotelling_observer():
    present, absent = images(200, blob(0.5)[4:8, 4:8], 0), images(200, np.zeros((4, 4)), 1)
    matrix = np.eye(16) + 0.3 * np.random.default_rng(2).random((16, 16))
    filtered = [(part.reshape(-1, 16) @ matrix).reshape(-1, 4, 4) for part in (present, absent)]
    assert observe(*filtered).d_prime == pytest.approx(observe(present, absent).d_prime, rel=1e-6)


def test_ten_images_are_unbiased_and_their_interval_holds_the_truth():
    signal, channels = blob(0.4), laguerre_gauss_channels(SIZE, 8.0, 3)
    flat = channels.reshape(3, -1)
    projected = flat @ signal.ravel()
    truth = np.sqrt(projected @ np.linalg.solve(flat @ flat.T, projected))
    found = [
        observe(images(10, signal, 2 * seed), images(10, 0 * signal, 2 * seed + 1), channels) for seed in range(200)
    ]
    held = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.91 <= held <= 0.99
    assert np.mean([one.d_prime**2 for one in found]) == pytest.approx(truth**2, rel=0.12)


def test_no_signal_is_chance_with_an_interval_from_one_half():
    found = observe(images(10, 0 * blob(1), 3), images(10, 0 * blob(1), 4), laguerre_gauss_channels(SIZE, 8.0, 3))
    assert found.auc_interval[0] == 0.5
    assert found.auc < 0.85
    assert found.auc_interval[1] < 1


def test_channels_are_orthogonal_and_of_unit_length():
    flat = laguerre_gauss_channels(64, 14.0, 4).reshape(4, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(4), atol=1e-3)


def test_what_cannot_be_observed_is_refused():
    few = images(4, blob(1), 0)
    with pytest.raises(ShapeError, match="too few"):
        observe(few, few)
    with pytest.raises(ShapeError, match="one size"):
        observe(few, few[:, :5])
    with pytest.raises(ShapeError, match="size of the regions"):
        observe(few, few, laguerre_gauss_channels(5, 3.0, 2))
    with pytest.raises(ConfigError, match="confidence"):
        observe(few, few, laguerre_gauss_channels(SIZE, 3.0, 2), confidence=1.0)
    with pytest.raises(ConfigError, match="width"):
        laguerre_gauss_channels(SIZE, 0.0, 2)
