"""Error against the mean of other repeats: the answer is known where the truth is."""

import math

import numpy as np
import pytest

from medinr.errors import IntensityError, ShapeError
from medinr.metrics.image_quality import body_mask, scores_of
from medinr.metrics.reference_noise import noise_by_region, scores_without_reference_noise
from medinr.metrics.repeats import (
    RepeatError,
    drift,
    error_against_others,
    mean_of_others,
    with_bias,
    without_drift,
)
from medinr.noise.scan_noise import ScanNoise

SHAPE = (4, 32, 30)


@pytest.fixture
def truth():
    return 100 + 50 * np.random.default_rng(1).random(SHAPE)


def repeats_of(truth, count, sigma, seed=0):
    return truth + sigma * np.random.default_rng(seed).standard_normal((count, *truth.shape))


def test_the_error_is_that_against_the_truth(truth):
    repeats = repeats_of(truth, 5, 8.0)
    found = error_against_others(repeats[0], repeats[1:])
    assert found.reference_noise == pytest.approx(64 / 4, rel=0.05)
    assert found.squared == pytest.approx(64 + 64 / 4, rel=0.05)
    assert found.corrected == pytest.approx(np.square(repeats[0] - truth).mean(), rel=0.05)


def test_a_perfect_image_has_no_error_left(truth):
    found = error_against_others(truth, repeats_of(truth, 10, 8.0))
    assert abs(found.corrected) < 0.5


def test_gain_is_in_decibels_of_the_corrected_error(truth):
    others = repeats_of(truth, 14, 8.0)
    noisy, better = (truth + sigma * np.random.default_rng(7).standard_normal(SHAPE) for sigma in (8.0, 4.0))
    gain = error_against_others(better, others).gain_over(error_against_others(noisy, others))
    assert gain == pytest.approx(20 * math.log10(2), abs=0.15)


def test_no_gain_is_told_where_an_error_is_not_positive():
    assert math.isnan(RepeatError(1.0, 2.0).gain_over(RepeatError(3.0, 1.0)))
    assert math.isnan(RepeatError(3.0, 1.0).gain_over(RepeatError(1.0, 2.0)))


def test_the_mask_chooses_the_voxels(truth):
    others = repeats_of(truth, 3, 1.0)
    wrong = truth.copy()
    wrong[0] += 100
    mask = np.ones(SHAPE, bool)
    mask[0] = False
    assert error_against_others(wrong, others, mask).squared < 3
    assert error_against_others(wrong, others).squared > 1000


def test_drift_is_taken_out(truth):
    gains = np.array([0.98, 1.0, 1.02, 1.01, 0.99])
    repeats = gains[:, None, None, None] * truth
    np.testing.assert_allclose(drift(repeats), gains, rtol=1e-6)
    np.testing.assert_allclose(without_drift(repeats), np.broadcast_to(truth, repeats.shape), rtol=1e-6)


def test_drift_is_found_under_noise(truth):
    gains = np.array([0.98, 1.02, 1.0])
    found = drift(gains[:, None, None, None] * repeats_of(truth, 3, 5.0))
    np.testing.assert_allclose(found, gains, atol=3e-3)


def test_what_cannot_be_compared_is_refused(truth):
    with pytest.raises(ShapeError, match="two others"):
        error_against_others(truth, truth[None])
    with pytest.raises(ShapeError, match="two others"):
        error_against_others(truth[:2], repeats_of(truth, 3, 1.0))
    with pytest.raises(ShapeError, match="mask"):
        error_against_others(truth, repeats_of(truth, 3, 1.0), np.zeros(SHAPE, bool))
    with pytest.raises(ShapeError, match="Repeats"):
        drift(truth)
    with pytest.raises(IntensityError, match="zero"):
        drift(np.zeros((3, *SHAPE)))
    with pytest.raises(IntensityError, match="Repeat 1"):
        drift(np.stack([truth, 0 * truth, truth]))


def test_the_mean_of_the_others_is_as_bright_as_the_repeat_left_out(truth):
    gains = np.array([0.97, 1.0, 1.04, 0.99])
    found = mean_of_others(gains[:, None, None, None] * truth, 2)
    np.testing.assert_allclose(found.image, 1.04 * truth, rtol=1e-6)
    np.testing.assert_allclose(found.variance, 0, atol=1e-9)
    noisy = mean_of_others(repeats_of(truth, 9, 8.0), 4)
    assert noisy.variance.mean() == pytest.approx(64 / 8, rel=0.05)
    assert np.square(noisy.image - truth).mean() == pytest.approx(64 / 8, rel=0.05)
    with pytest.raises(ShapeError, match="two others or more; got 2"):
        mean_of_others(repeats_of(truth, 2, 1.0), 0)


def test_scores_are_those_against_the_truth():
    y, x = np.meshgrid(*[np.linspace(-1, 1, 96)] * 2, indexing="ij")
    truth = np.where(np.hypot(y, x) < 0.8, 200 + 50 * np.cos(5 * x), 40.0)
    generator = np.random.default_rng(3)
    others = truth + 12 * generator.standard_normal((5, *truth.shape))
    image = truth + 6 * generator.standard_normal(truth.shape)
    reference, variance = others.mean(axis=0), others.var(axis=0, ddof=1) / 5
    noise = noise_by_region(variance, reference)
    assert noise["slice"] == pytest.approx(144 / 5, rel=0.05)
    assert noise["body"] == pytest.approx(variance[body_mask(reference)].mean())

    def by_name(scores):
        return {(score.region, score.metric): score.value for score in scores}

    found = by_name(scores_without_reference_noise(image, reference, 250.0, noise))
    wanted, plain = by_name(scores_of(image, truth, 250.0, "MR")), by_name(scores_of(image, reference, 250.0, "MR"))
    assert list(found) == list(plain)
    for region in ("slice", "body"):
        assert found[region, "psnr"] == pytest.approx(wanted[region, "psnr"], abs=0.2)
        assert plain[region, "psnr"] < wanted[region, "psnr"] - 2
        assert found[region, "nrmse"] == pytest.approx(wanted[region, "nrmse"], rel=0.03)
        for metric in ("ssim", "hfen", "gmsd"):
            assert found[region, metric] == plain[region, metric]
    # Where no error is left beside the noise, none is invented.
    best = by_name(scores_without_reference_noise(reference, reference, 250.0, noise))
    assert (best["slice", "psnr"], best["slice", "nrmse"]) == (math.inf, 0.0)


def test_bias_is_that_of_magnitudes():
    signal = np.array([[[0.0, 8.0, 80.0]]])
    found = with_bias(signal, ScanNoise("rician", 8.0))
    np.testing.assert_allclose(found[0, 0], [8 * math.sqrt(math.pi / 2), 8 * 1.5486, 80.402], rtol=1e-3)
    sigma = np.array([[[8.0, 0.0, 8.0]]], np.float32)
    np.testing.assert_allclose(with_bias(signal, ScanNoise("rician", 8.0, 1, sigma))[0, 0, 1], 8.0, rtol=1e-4)
    np.testing.assert_array_equal(with_bias(signal, ScanNoise("gaussian", 8.0)), signal)
