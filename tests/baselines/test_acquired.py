"""Baselines for acquired scans: they denoise a phantom, keep units and axes, and say when they are missing."""

import importlib.util
import warnings

import numpy as np
import pytest

from medinr.acquisition.spoiled import chi, rician
from medinr.baselines.acquired import BASELINES, Baseline, without_bias
from medinr.baselines.acquired.block_matching_scans import power_spectrum
from medinr.errors import ConfigError, LibraryError, ShapeError
from medinr.noise.scan_noise import ScanNoise

SIGMA = 8.0
SINGLE = [name for name, baseline in BASELINES.items() if not baseline.series]
SERIES = [name for name, baseline in BASELINES.items() if baseline.series]


def phantom(shape=(6, 40, 36)):
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    return ((y**2 + x**2 < 0.7) * 100.0 + (np.abs(y - 0.2) < 0.2) * (np.abs(x) < 0.3) * 60 + 0 * z).astype(np.float32)


def installed(name):
    if not BASELINES[name].available:
        pytest.skip(f"needs {BASELINES[name].library}, for {name}")
    return BASELINES[name]


def error(image, clean):
    return float(np.sqrt(np.square(image - clean).mean()))


@pytest.fixture
def noise():
    return ScanNoise("rician", SIGMA)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", SINGLE)
def test_a_baseline_denoises_a_phantom(name, noise):
    baseline, clean = installed(name), phantom()
    noisy = rician(clean, SIGMA, np.random.default_rng(0)).array
    image = baseline.denoise(noisy, noise, told=True)
    assert image.shape == clean.shape
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert error(image, clean) < 0.9 * error(noisy, clean)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", SERIES)
def test_a_series_baseline_denoises_repeats(name, noise):
    baseline, clean = installed(name), phantom((3, 24, 22))
    generator = np.random.default_rng(0)
    series = np.stack([rician(clean, SIGMA, generator).array for _ in range(12)])
    images = baseline.denoise(series, noise)
    assert images.shape == series.shape
    assert error(images, clean) < 0.8 * error(series, clean)


@pytest.mark.parametrize("name", list(BASELINES))
def test_a_missing_library_is_named(name, noise, monkeypatch):
    if BASELINES[name].available:
        pytest.skip(f"{BASELINES[name].library} is installed")
    scan = np.ones((10, 4, 8, 8) if BASELINES[name].series else (4, 8, 8), np.float32)
    with pytest.raises(LibraryError, match="pip install"):
        BASELINES[name].denoise(scan, noise)


@pytest.mark.parametrize("name", list(BASELINES))
def test_the_chosen_setting_is_among_those_that_were_tried(name):
    assert dict(BASELINES[name].chosen) in [dict(setting) for setting in BASELINES[name].settings]


def test_own_estimates_are_used_unless_told_otherwise():
    noisy = rician(phantom(), SIGMA, np.random.default_rng(0)).array
    wrong = ScanNoise("rician", 4 * SIGMA)
    own, told = (BASELINES["TV"].denoise(noisy, wrong, told=told, debias=False) for told in (False, True))
    assert told.std() < own.std()


@pytest.mark.parametrize(("kind", "coils", "said"), [("rician", 1, None), ("chi", 8, False), ("gaussian", 1, False)])
def test_only_rician_noise_is_corrected_by_those_that_know_no_other(kind, coils, said):
    given = {}

    def smooth(volume, sigma, **options):
        given.update(options)
        return volume

    baseline = Baseline("", smooth, ({},), {}, unbiased=True)
    scan = np.full((1, 4, 4), 30.0, np.float32)
    image = baseline.denoise(scan, ScanNoise(kind, 5.0, coils))
    assert given.get("rician") is said
    assert (image.max() < 30) == (kind == "chi")


def test_a_wrong_number_of_axes_is_refused(noise):
    with pytest.raises(ShapeError, match="3 axes"):
        BASELINES["TV"].denoise(np.ones((2, 3, 8, 8), np.float32), noise)


@pytest.mark.parametrize("coils", [1, 8])
def test_bias_is_taken_out_of_mean_magnitudes(coils):
    clean = np.full((2, 100, 100), 12.0, np.float32)
    noisy = chi(clean, 5.0, np.random.default_rng(0), coils).array
    mean = np.full((1, 2, 2), noisy.mean(), np.float32)
    assert noisy.mean() > 12.5
    np.testing.assert_allclose(without_bias(mean, 5.0, coils), 12.0, rtol=0.03)


def test_bias_follows_a_map_and_is_none_without_noise():
    magnitude = np.full((1, 1, 3), 10.0, np.float32)
    found = without_bias(magnitude, np.array([[[0.0, 2.0, 20.0]]], np.float32))
    assert found[0, 0, 0] == 10.0
    assert 9.0 < found[0, 0, 1] < 10.0
    assert found[0, 0, 2] == 0.0
    with pytest.raises(ConfigError, match="coil"):
        without_bias(magnitude, 1.0, 0)


def test_the_power_spectrum_is_that_of_the_autocorrelation():
    table = np.zeros((3, 3))
    table[1] = 0.25, 1.0, 0.25
    found = power_spectrum(table, (8, 6))
    assert found.mean() == pytest.approx(1.0)
    expected = 1 + 0.5 * np.cos(2 * np.pi * np.arange(6) / 6)
    np.testing.assert_allclose(found, np.broadcast_to(expected, (8, 6)), atol=1e-12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_block_matching_with_a_white_spectrum_is_plain_block_matching(noise):
    installed("BM3D")
    noisy = rician(phantom((1, 24, 22)), SIGMA, np.random.default_rng(0)).array
    table = np.zeros((3, 3))
    table[1, 1] = 1.0
    white = ScanNoise("rician", SIGMA, autocorrelation=table)
    images = [BASELINES[name].denoise(noisy, white) for name in ("BM3D", "BM3D-coloured")]
    np.testing.assert_allclose(*images, atol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_block_matching_takes_a_single_slice(noise):
    baseline, clean = installed("BM4D"), phantom((1, 24, 22))
    noisy = rician(clean, SIGMA, np.random.default_rng(0)).array
    image = baseline.denoise(noisy, noise)
    assert image.shape == clean.shape
    assert error(image, clean) < error(noisy, clean)


def test_the_table_of_baselines_needs_no_optional_library():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert importlib.util.find_spec("medinr.baselines.acquired.table") is not None
