"""Noise found in the scan alone: strength, kind, map, correlation; what it must not depend on; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from medinr.errors import ConfigError, IntensityError, ShapeError, UnitError
from medinr.noise.estimate import estimate_noise


def zero_filled(values, factor):
    """The same field of view with `factor` times the pixels."""
    spectrum = np.fft.fftshift(np.fft.fft2(values, axes=(1, 2)), axes=(1, 2))
    rows, columns = (round(size * (factor - 1) / 2) for size in values.shape[1:])
    spectrum = np.pad(spectrum, ((0, 0), (rows, rows), (columns, columns)))
    wider = np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(1, 2)), axes=(1, 2))
    return wider * (wider[0].size / values[0].size)


@pytest.mark.parametrize(("sigma", "within"), [(2.0, 0.10), (5.0, 0.05), (10.0, 0.05), (15.0, 0.06)])
def test_rician_sigma(head, as_volume, magnitude, sigma, within):
    noise = estimate_noise(as_volume(magnitude(head, sigma)))
    assert noise.kind == "rician"
    assert noise.coils == 1
    assert noise.reliable
    assert noise.sigma_map is None
    assert noise.sigma == pytest.approx(sigma, rel=within)


@pytest.mark.parametrize("sigma", [5.0, 10.0])
def test_background_set_to_zero(head, as_volume, magnitude, sigma):
    values = np.where(head > 20, magnitude(head, sigma), 0.0)
    assert estimate_noise(as_volume(values)).sigma == pytest.approx(sigma, rel=0.05)


def test_cropped_to_the_head(head, as_volume, magnitude):
    values = magnitude(head, 5.0)[:, 14:-14, 14:-14]
    noise = estimate_noise(as_volume(values))
    assert noise.kind == "rician"
    assert noise.sigma == pytest.approx(5.0, rel=0.05)


def test_one_slice(head, as_volume, magnitude):
    assert estimate_noise(as_volume(magnitude(head, 5.0)[4:5])).sigma == pytest.approx(5.0, rel=0.12)


def test_white_noise_has_no_correlation(head, as_volume, magnitude):
    noise = estimate_noise(as_volume(magnitude(head, 8.0)))
    assert noise.autocorrelation is None
    assert noise.zero_filling == (1.0, 1.0)


def test_eight_coils(head, as_volume, magnitude):
    noise = estimate_noise(as_volume(magnitude(head, 4.0, coils=8)))
    assert noise.kind == "chi"
    assert 7 <= noise.coils <= 9
    assert noise.sigma == pytest.approx(4.0, rel=0.10)
    assert "coils" in noise.how


def test_eight_coils_of_a_scan_cropped_to_the_head(head, as_volume, magnitude):
    # Air is left in the corners alone.
    noise = estimate_noise(as_volume(magnitude(head, 4.0, coils=8)[:, 8:104, 8:88]))
    assert noise.kind == "chi"
    assert 5 <= noise.coils <= 9
    assert noise.sigma == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
def test_tissue_is_no_air(head, as_volume, magnitude, sigma):
    # Beside a bright corner, smooth dark tissue scatters as little as the air of many coils.
    inside = np.array(head[:, 32:80, 28:68])
    inside[:, 10:38, 8:32] *= 3.0
    noise = estimate_noise(as_volume(magnitude(inside, sigma)))
    assert (noise.kind, noise.coils) == ("rician", 1)
    assert "air" not in noise.how


def test_coils_can_be_told(head, as_volume, magnitude):
    values = np.where(head > 20, magnitude(head, 4.0, coils=8), 0.0)
    assert estimate_noise(as_volume(values)).kind == "rician"
    told = estimate_noise(as_volume(values), coils=8)
    assert (told.kind, told.coils) == ("chi", 8)
    assert told.sigma == pytest.approx(4.0, rel=0.10)


@pytest.mark.parametrize("blanked", [False, True])
def test_sigma_that_doubles_across_the_slice(head, as_volume, magnitude, blanked):
    sigma = np.broadcast_to(np.linspace(4.0, 8.0, head.shape[2]), head.shape)
    values = magnitude(head, sigma)
    noise = estimate_noise(as_volume(np.where(head > 20, values, 0.0) if blanked else values))
    assert noise.sigma_map is not None
    assert noise.sigma_map.shape == head.shape
    assert noise.sigma_map.dtype == np.float32
    inside = head > 30
    assert np.median(np.abs(noise.sigma_map[inside] / sigma[inside] - 1)) < 0.10
    assert noise.sigma == pytest.approx(np.median(sigma[inside]), rel=0.08)


@pytest.mark.parametrize("coils", [1, 4])
def test_the_map_of_sigma_is_that_of_the_air_where_it_agrees(head, as_volume, magnitude, coils):
    sigma = np.broadcast_to(np.linspace(4.0, 8.0, head.shape[2]), head.shape) / (1 if coils == 1 else 2)
    found = estimate_noise(
        as_volume(magnitude(head, sigma, coils)), kind="rician" if coils == 1 else "chi", coils=coils
    )
    error = np.abs(found.sigma_map[head < 0.5] / sigma[head < 0.5] - 1)
    assert np.median(error) < 0.06
    assert np.quantile(error, 0.9) < 0.14


def test_the_map_of_sigma_is_not_that_of_air_that_was_filtered(head, as_volume, magnitude):
    sigma = np.broadcast_to(np.linspace(4.0, 8.0, head.shape[2]), head.shape)
    values = magnitude(head, sigma)
    filtered = estimate_noise(as_volume(np.where(head < 0.01, 0.7 * values, values)))
    blanked = estimate_noise(as_volume(np.where(head < 0.01, 0, values)))
    np.testing.assert_allclose(filtered.sigma_map, blanked.sigma_map, rtol=0.1)


def test_interpolated_by_zero_filling(head, as_volume, complex_noise):
    wider = np.abs(zero_filled(head + 6.0 * complex_noise(head.shape), 1.5))
    noise = estimate_noise(as_volume(wider))
    assert noise.sigma == pytest.approx(6.0, rel=0.08)
    assert noise.zero_filling == pytest.approx((1.5, 1.5), rel=0.05)
    # The sinc function of a pixel over 1.5 pixels.
    expected = np.sinc(np.arange(4) / 1.5)
    np.testing.assert_allclose(noise.autocorrelation[7, 7:11], expected, atol=0.08)
    np.testing.assert_allclose(noise.autocorrelation[7:11, 7], expected, atol=0.08)


def test_noise_blurred_by_a_gaussian(head, as_volume, complex_noise):
    white = complex_noise(head.shape)
    blurred = gaussian_filter(white.real, (0, 0.6, 0.6)) + 1j * gaussian_filter(white.imag, (0, 0.6, 0.6))
    noise = estimate_noise(as_volume(np.abs(head + 5.0 * blurred / blurred.real.std())))
    assert noise.sigma == pytest.approx(5.0, rel=0.10)
    # The autocorrelation of a Gaussian is a Gaussian, wider by the root of two.
    # Ranking patches by energy prefers those with little of the correlated noise, so the table is a little narrow.
    expected = np.exp(-(np.arange(3) ** 2) / (4 * 0.6**2))
    np.testing.assert_allclose(noise.autocorrelation[7, 7:10], expected, atol=0.12)


def test_filtered_ct(head, as_volume):
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(head.shape[1]), np.fft.fftfreq(head.shape[2]), indexing="ij"))
    ramp = np.sqrt(frequency * np.clip(np.cos(np.pi * frequency), 0, None))
    white = np.random.default_rng(0).standard_normal(head.shape)
    filtered = np.fft.ifft2(np.fft.fft2(white, axes=(1, 2)) * ramp, axes=(1, 2)).real
    filtered *= 30.0 / filtered.std()
    noise = estimate_noise(as_volume(np.where(head > 20, head, -1000.0) + filtered, "CT", "HU"))
    assert noise.kind == "gaussian"
    assert noise.sigma == pytest.approx(30.0, rel=0.10)
    true = [(filtered[:, :, :-lag] * filtered[:, :, lag:]).mean() / 900.0 for lag in (1, 2)]
    np.testing.assert_allclose(noise.autocorrelation[7, 8:10], true, atol=0.06)


def test_padding_of_ct_is_left_out(head, as_volume):
    values = head + 20.0 * np.random.default_rng(0).standard_normal(head.shape)
    values[:, :, :20] = -1024.0
    assert estimate_noise(as_volume(values, "CT", "HU")).sigma == pytest.approx(20.0, rel=0.05)


def test_complex_values(head, as_volume, complex_noise):
    phase = np.exp(0.7j * np.linspace(-1, 1, head.shape[1]))[:, None]
    noise = estimate_noise(as_volume(head * phase + 5.0 * complex_noise(head.shape)))
    assert noise.kind == "gaussian"
    assert noise.floor == 0
    assert noise.sigma == pytest.approx(5.0, rel=0.05)


def test_almost_no_noise_is_not_relied_upon(head, as_volume):
    noise = estimate_noise(as_volume(head))
    assert not noise.reliable
    assert noise.sigma < 0.3
    assert noise.remarks
    assert noise.sigma_map is None


def test_rounding_is_not_relied_upon(head, as_volume, magnitude):
    steps = 4.0 * np.round(magnitude(head, 1.0) / 4.0)
    noise = estimate_noise(as_volume(steps))
    assert not noise.reliable
    assert any("grey levels" in remark for remark in noise.remarks)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("step", [1.0, 5.0, 10.0, 40.0])
@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
def test_noise_that_was_rounded_away_gives_finite_numbers(head, as_volume, magnitude, step, sigma):
    noise = estimate_noise(as_volume(step * np.round(magnitude(head, sigma) / step)))
    assert np.isfinite(noise.sigma)
    assert noise.reliable == (step <= sigma)


def test_air_that_was_filtered_does_not_count(head, as_volume, magnitude):
    values = magnitude(head, 5.0)
    values[head < 0.01] *= 0.6
    noise = estimate_noise(as_volume(values))
    assert noise.kind == "rician"
    assert noise.sigma == pytest.approx(5.0, rel=0.06)
    assert any("air" in remark for remark in noise.remarks)


def test_a_mask_says_where_the_object_is(head, as_volume, magnitude):
    sigma = np.where(np.arange(head.shape[2]) < 48, 4.0, 8.0)
    values = magnitude(head, np.broadcast_to(sigma, head.shape))
    mask = np.zeros(head.shape, bool)
    mask[:, :, :44] = True
    assert estimate_noise(as_volume(values), mask=mask).sigma == pytest.approx(4.0, rel=0.08)


@given(scale=st.floats(1e-4, 1e5))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_sigma_scales_with_the_scan(head, as_volume, magnitude, scale):
    values = magnitude(head, 6.0)[:4].astype(np.float32)
    one, other = (estimate_noise(as_volume(values * np.float32(factor))) for factor in (1.0, scale))
    assert other.sigma == pytest.approx(one.sigma * scale, rel=1e-3)
    assert other.kind == one.kind


def test_the_same_scan_gives_the_same_noise(head, as_volume, magnitude):
    values = magnitude(head, 6.0)
    first, second = (estimate_noise(as_volume(values)) for _ in range(2))
    assert first.facts == second.facts


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flips_do_not_matter(head, as_volume, magnitude, axis):
    values = magnitude(head, 6.0)
    straight, flipped = (estimate_noise(as_volume(v)) for v in (values, np.flip(values, axis)))
    assert flipped.sigma == pytest.approx(straight.sigma, rel=0.01)
    assert flipped.kind == straight.kind


def test_the_scan_is_left_as_it_is(head, as_volume, magnitude):
    volume = as_volume(magnitude(head, 6.0))
    before = volume.array.copy()
    estimate_noise(volume)
    np.testing.assert_array_equal(volume.array, before)


class TestRefused:
    def test_nan(self, head, as_volume):
        values = head.copy()
        values[3, 5, 5] = np.nan
        with pytest.raises(IntensityError, match="slice 3"):
            estimate_noise(as_volume(values))

    @pytest.mark.parametrize("value", [0.0, 7.0])
    def test_one_value(self, as_volume, value):
        with pytest.raises(IntensityError, match="one value"):
            estimate_noise(as_volume(np.full((3, 32, 32), value)))

    def test_noise_alone(self, as_volume, magnitude):
        with pytest.raises(IntensityError, match="stands out"):
            estimate_noise(as_volume(magnitude(np.zeros((4, 64, 64)), 5.0)))

    def test_tiny_slices(self, as_volume, magnitude):
        with pytest.raises(IntensityError, match="8 x 8"):
            estimate_noise(as_volume(magnitude(np.ones((4, 6, 6)), 0.1)))

    def test_phase(self, head, as_volume):
        with pytest.raises(UnitError, match="phase"):
            estimate_noise(as_volume(head, component="phase"))

    @pytest.mark.parametrize(
        "said", [{"kind": "poisson"}, {"coils": 0}, {"kind": "rician", "coils": 4}, {"kind": "gaussian", "coils": 2}]
    )
    def test_what_does_not_fit(self, head, as_volume, said):
        with pytest.raises(ConfigError):
            estimate_noise(as_volume(head), **said)

    def test_complex_values_are_not_rician(self, head, as_volume):
        with pytest.raises(ConfigError, match="Gaussian"):
            estimate_noise(as_volume(head.astype(np.complex64)), kind="rician")

    def test_a_mask_of_another_shape(self, head, as_volume):
        with pytest.raises(ShapeError, match="mask"):
            estimate_noise(as_volume(head), mask=np.ones((2, 2, 2), bool))

    def test_an_empty_mask(self, head, as_volume, magnitude):
        with pytest.raises(IntensityError, match="mask"):
            estimate_noise(as_volume(magnitude(head, 5.0)), mask=np.zeros(head.shape, bool))
