"""Noise from repeats and from a separate scan of noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medinr.errors import IntensityError, ShapeError
from medinr.noise.noise_scan import noise_of_noise_scan
from medinr.noise.repeats import noise_of_repeats


class TestRepeats:
    @pytest.mark.parametrize("count", [2, 3, 8])
    def test_sigma(self, head, as_volume, magnitude, count):
        repeats = [as_volume(magnitude(head, 5.0, seed=seed)) for seed in range(count)]
        noise = noise_of_repeats(repeats)
        assert noise.kind == "rician"
        assert noise.sigma == pytest.approx(5.0, rel=0.05)
        assert noise.sigma_map is None
        assert noise.autocorrelation is None

    def test_slow_drift_does_not_count(self, head, as_volume, magnitude):
        repeats = [as_volume(magnitude(head * (1 + 0.02 * seed), 3.0, seed=seed)) for seed in range(8)]
        assert noise_of_repeats(repeats).sigma == pytest.approx(3.0, rel=0.05)

    def test_a_map_where_sigma_varies(self, head, as_volume, magnitude):
        sigma = np.broadcast_to(np.linspace(3.0, 6.0, head.shape[2]), head.shape)
        noise = noise_of_repeats([as_volume(magnitude(head, sigma, seed=seed)) for seed in range(8)])
        inside = head > 30
        assert np.median(np.abs(noise.sigma_map[inside] / sigma[inside] - 1)) < 0.08

    def test_low_signal_is_corrected_for(self, as_volume, magnitude):
        values = np.full((4, 64, 64), 4.0)
        values[:, 16:48, 16:48] = 8.0
        repeats = [as_volume(magnitude(values, 4.0, seed=seed)) for seed in range(10)]
        assert noise_of_repeats(repeats).sigma == pytest.approx(4.0, rel=0.06)

    def test_correlated_ct(self, head, as_volume):
        def noisy(seed):
            white = np.random.default_rng(seed).standard_normal(head.shape)
            blurred = gaussian_filter(white, (0, 0.7, 0.7))
            return as_volume(head + 20.0 * blurred / blurred.std(), "CT", "HU")

        noise = noise_of_repeats([noisy(seed) for seed in range(6)])
        assert noise.kind == "gaussian"
        assert noise.sigma == pytest.approx(20.0, rel=0.05)
        assert noise.autocorrelation[7, 8] == pytest.approx(np.exp(-1 / (4 * 0.49)), abs=0.05)

    def test_complex(self, head, as_volume, complex_noise):
        repeats = [as_volume(head + 4.0 * complex_noise(head.shape, seed)) for seed in range(4)]
        noise = noise_of_repeats(repeats)
        assert noise.kind == "gaussian"
        assert noise.sigma == pytest.approx(4.0, rel=0.05)

    def test_what_is_refused(self, head, as_volume, magnitude):
        with pytest.raises(ShapeError, match="two"):
            noise_of_repeats([as_volume(head)])
        with pytest.raises(ShapeError, match="shape"):
            noise_of_repeats([as_volume(head), as_volume(head[:4])])
        with pytest.raises(IntensityError, match="copies"):
            noise_of_repeats([as_volume(head), as_volume(head)])
        bad = np.full_like(head, np.nan)
        with pytest.raises(IntensityError, match="repeat 1"):
            noise_of_repeats([as_volume(head), as_volume(bad)])


class TestNoiseScan:
    def test_rician(self, head, as_volume, magnitude):
        noise = noise_of_noise_scan(as_volume(head), as_volume(magnitude(np.zeros((4, 48, 48)), 4.0)))
        assert noise.kind == "rician"
        assert noise.sigma == pytest.approx(4.0, rel=0.03)
        assert noise.autocorrelation is None

    def test_coils(self, head, as_volume, magnitude):
        noise = noise_of_noise_scan(as_volume(head), as_volume(magnitude(np.zeros(head.shape), 4.0, coils=8)))
        assert (noise.kind, noise.coils) == ("chi", 8)
        assert noise.sigma == pytest.approx(4.0, rel=0.03)

    def test_a_map_on_the_same_grid_alone(self, head, as_volume, magnitude):
        sigma = np.broadcast_to(np.linspace(3.0, 6.0, head.shape[2]), head.shape)
        values = magnitude(np.zeros(head.shape), sigma)
        noise = noise_of_noise_scan(as_volume(head), as_volume(values))
        assert np.median(np.abs(noise.sigma_map / sigma - 1)) < 0.06
        elsewhere = noise_of_noise_scan(as_volume(head), as_volume(values[:5]))
        assert elsewhere.sigma_map is None
        assert "another grid" in elsewhere.remarks[0]

    def test_correlation(self, head, as_volume, complex_noise):
        white = complex_noise(head.shape)
        blurred = gaussian_filter(white.real, (0, 0.7, 0.7)) + 1j * gaussian_filter(white.imag, (0, 0.7, 0.7))
        blurred *= 4.0 / blurred.real.std()
        for scan, noise in ((head, np.abs(blurred)), (head.astype(np.complex64), blurred)):
            found = noise_of_noise_scan(as_volume(scan), as_volume(noise))
            assert found.sigma == pytest.approx(4.0, rel=0.04)
            assert found.autocorrelation[7, 8] == pytest.approx(np.exp(-1 / (4 * 0.49)), abs=0.05)

    @pytest.mark.parametrize(
        ("noise", "words"),
        [
            (np.zeros((4, 32, 32)), "blanked"),
            (np.full((4, 32, 32), 5.0), "hardly scatter"),
            (1000.0 * np.random.default_rng(0).rayleigh(size=(4, 32, 32)), "scaled differently"),
        ],
    )
    def test_what_is_refused(self, head, as_volume, noise, words):
        with pytest.raises(IntensityError, match=words):
            noise_of_noise_scan(as_volume(head), as_volume(noise))

    def test_an_object_in_the_noise_scan(self, head, as_volume, magnitude):
        values = magnitude(np.zeros(head.shape), 1.0)
        values[:, 40:44, 40:44] = 60.0
        with pytest.raises(IntensityError, match="shines through"):
            noise_of_noise_scan(as_volume(head), as_volume(values))

    def test_complex_and_magnitude(self, head, as_volume):
        with pytest.raises(ShapeError, match="complex"):
            noise_of_noise_scan(as_volume(head), as_volume(head.astype(np.complex64)))
