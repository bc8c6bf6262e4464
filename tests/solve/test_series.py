"""The volumes of a series filtered together: noise that is left is what is told; what differs between them stays."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from medinr.errors import ShapeError
from medinr.noise.scan_noise import ScanNoise
from medinr.noise.signal_bias import magnitude_model
from medinr.solve.series import filtered_series, in_common
from medinr.solve.series_noise import band_noise, noise_left, smooth_part, without_bias

SIGMA = 10.0
WHITE = ScanNoise("gaussian", SIGMA)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def anatomy(rng, shape=(3, 40, 36)):
    """Bright, with edges."""
    return (400 + 150 * (gaussian_filter(rng.standard_normal(shape), (0, 2, 2)) > 0)).astype(np.float32)


def noisy(series, rng):
    return (series + SIGMA * rng.standard_normal(series.shape)).astype(np.float32)


def decays(rng, volumes=12):
    """Three components: exponential decays of three rates, mixed by smooth maps."""
    maps = [anatomy(rng) * (0.5 + gaussian_filter(rng.standard_normal((3, 40, 36)), (0, 6, 6))) for _ in range(3)]
    time = np.linspace(0, 2, volumes)
    weights = np.exp(-time[:, None] * np.array([0.2, 1.0, 4.0]))
    return np.einsum("tk,kzyx->tzyx", weights, np.stack(maps)).astype(np.float32)


def test_repeats_are_averaged(rng):
    truth = np.stack([anatomy(rng)] * 16)
    found = filtered_series(noisy(truth, rng), WHITE)
    error = np.square(found.values - truth).mean() / SIGMA**2
    # The smooth part is that of every volume itself: 0.14, and of the rest a sixteenth.
    assert error < 0.24
    assert found.left.mean() == pytest.approx(error, rel=0.25)
    assert found.values.dtype == np.float32


def test_what_is_left_of_the_noise_is_what_is_told(rng):
    truth = decays(rng)
    found = filtered_series(noisy(truth, rng), WHITE)
    error = np.square(found.values - truth).mean() / SIGMA**2
    assert error < 0.6
    assert found.left.mean(dtype=np.float64) == pytest.approx(error, rel=0.2)


def test_noise_that_correlates_between_pixels_is_no_signal(rng):
    truth = np.stack([anatomy(rng)] * 12)
    white = rng.standard_normal(truth.shape)
    coloured = smooth_part(white) / np.sqrt(band_noise(WHITE).share)
    weights = np.array([1, 4, 6, 4, 1]) / 6
    noise = ScanNoise("gaussian", SIGMA, autocorrelation=np.outer(weights, weights))
    found = filtered_series((truth + SIGMA * coloured).astype(np.float32), noise)
    assert found.left.mean() < 0.65
    assert np.square(found.values - truth).mean() / SIGMA**2 < 0.65


def test_a_map_of_sigma_is_used(rng):
    truth = np.stack([anatomy(rng)] * 12)
    sigma = np.broadcast_to(np.linspace(5, 40, 36), truth.shape[1:]).astype(np.float32)
    series = (truth + sigma * rng.standard_normal(truth.shape)).astype(np.float32)
    found = filtered_series(series, ScanNoise("gaussian", 20.0, sigma_map=sigma))
    assert np.square((found.values - truth) / sigma).mean() < 0.28


@pytest.mark.parametrize("on", [np.arange(16) % 8 < 4, np.arange(16) == 7], ids=["half of the volumes", "one volume"])
def test_a_weak_change_stays(on, rng):
    """Of 60 % of sigma, in a disc of 12 pixels: the edge of the components of unsmoothed voxels does not show it."""
    y, x = np.ogrid[:40, :36]
    disc = np.broadcast_to((y - 20) ** 2 + (x - 18) ** 2 <= 36, (3, 40, 36))
    change = 0.6 * SIGMA * disc
    series = noisy(anatomy(rng) + on[:, None, None, None] * change, rng)
    found = filtered_series(series, WHITE)
    # The noise of the disc itself is part of what came.
    came, stayed = ((values[on].mean(0) - values[~on].mean(0))[disc].mean() for values in (series, found.values))
    assert stayed > 0.85 * came
    assert found.left[~on].mean() < 0.4


def test_volumes_with_nothing_in_common_are_told_from_repeats(rng):
    different = np.stack([anatomy(rng) for _ in range(8)])
    left, shifted = in_common(noisy(different, rng), WHITE)
    assert left > 0.8 * shifted
    left, shifted = in_common(noisy(np.stack([different[0]] * 8), rng), WHITE)
    assert left < 0.4 * shifted


def test_the_phase_of_complex_volumes_does_not_count(rng):
    still = np.stack([anatomy(rng)] * 12)
    along = np.linspace(-1, 1, 36)
    phases = np.exp(1j * (rng.uniform(-3, 3, (12, 1, 1, 1)) + rng.uniform(-2, 2, (12, 1, 1, 1)) * along))
    truth = still * phases
    parts = rng.standard_normal((2, *truth.shape))
    found = filtered_series((truth + SIGMA * (parts[0] + 1j * parts[1])).astype(np.complex64), WHITE)
    assert found.values.dtype == np.complex64
    assert np.square(np.abs(found.values - truth)).mean() / (2 * SIGMA**2) < 0.3


def test_one_small_slice_is_enough(rng):
    truth = np.stack([anatomy(rng)[:1, :5, :6]] * 4)
    found = filtered_series(noisy(truth, rng), WHITE)
    assert found.values.shape == truth.shape
    assert np.isfinite(found.values).all()


def test_slices_that_are_done_are_told(rng):
    told = []
    filtered_series(noisy(np.stack([anatomy(rng)] * 4), rng), WHITE, lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)


def test_fewer_than_four_volumes_are_refused():
    with pytest.raises(ShapeError, match=r"4 volumes or more; got shape \(3, 2, 8, 8\)"):
        filtered_series(np.ones((3, 2, 8, 8), np.float32), WHITE)


def test_smoothing_of_independent_pixels():
    band = band_noise(WHITE)
    assert band.share == pytest.approx(0.375**2)
    assert band.pixels == 1
    assert band.smooth_pixels == pytest.approx((70 / 256 / 0.375**2) ** 2)


@pytest.mark.parametrize("coils", [1, 4])
def test_the_bias_is_that_of_the_expected_magnitude(coils):
    noise = ScanNoise("chi" if coils > 1 else "rician", 3.0, coils)
    signal = np.linspace(0, 300, 500, dtype=np.float32).reshape(5, 10, 10)
    mean = 3.0 * magnitude_model(coils).mean(torch.from_numpy(signal.astype(np.float64) / 3.0)).numpy()
    np.testing.assert_allclose(without_bias(mean.astype(np.float32), noise), signal, atol=0.05)
    assert (without_bias(np.zeros((1, 2, 2), np.float32), noise) == 0).all()


def test_noise_that_is_left_is_gaussian_and_smaller():
    noise = noise_left(ScanNoise("chi", 8.0, 4), np.full((1, 3, 3), 0.25, np.float32))
    assert (noise.kind, noise.coils, noise.sigma) == ("gaussian", 1, 4.0)
    np.testing.assert_allclose(noise.sigma_map, 4.0)
