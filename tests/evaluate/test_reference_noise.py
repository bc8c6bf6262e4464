"""Noise of the reference taken off: the answer is known where noise was added to a scan without any."""

import math

import numpy as np
import pytest

from medinr.data.orient import standard_orientation
from medinr.errors import ShapeError
from medinr.jobs.reference import Reference
from medinr.jobs.reference_noise import CHANGED, OwnNoise, as_magnitude
from medinr.metrics.image_quality import CORRECTED, METRICS, body_mask, data_range, scores_of
from medinr.metrics.reference_noise import (
    LEAST_LEFT,
    corrected_psnr,
    corrected_scores,
    error_left,
    magnitude_variance,
    noise_by_region,
)
from medinr.volume import Volume

SIGMA = 20.0


def smooth_head(shape=(160, 150)):
    """Tissue of smooth brightness on air without signal."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    return np.where(np.hypot(y, x / 0.9) < 0.8, 500 + 150 * np.cos(4 * x) * np.sin(3 * y), 0.0)


def magnitude(signal, sigma, seed=0, coils=1):
    parts = sigma * np.random.default_rng(seed).standard_normal((2 * coils, *signal.shape))
    parts[0] += signal
    return np.sqrt(np.square(parts).sum(axis=0))


def by_name(scores):
    return {(score.region, score.metric): score.value for score in scores}


@pytest.mark.parametrize("coils", [1, 4])
def test_the_variance_is_that_of_magnitudes(coils):
    signal = smooth_head()
    noisy = np.stack([magnitude(signal, SIGMA, seed, coils) for seed in range(40)])
    found = magnitude_variance(noisy[0], SIGMA, coils)
    inside, air = signal > 300, np.zeros(signal.shape, bool)
    air[:10], air[-10:] = True, True
    assert found[inside].mean() == pytest.approx(SIGMA**2, rel=0.01)
    assert found[inside].mean() == pytest.approx(noisy.var(axis=0, ddof=1)[inside].mean(), rel=0.03)
    # Local means below the floor of noise count as the floor, so that it is a little too high.
    assert found[air].mean() == pytest.approx(noisy.var(axis=0, ddof=1)[air].mean(), rel=0.08)
    if coils == 1:
        assert found[air].mean() == pytest.approx((2 - math.pi / 2) * SIGMA**2, rel=0.08)


def test_blanked_background_has_no_variance_and_takes_none_from_its_neighbours():
    signal = smooth_head()
    noisy = np.where(signal > 0, magnitude(signal, SIGMA), 0.0)
    found = magnitude_variance(noisy, SIGMA)
    assert (found[signal == 0] == 0).all()
    np.testing.assert_allclose(found[signal > 0], SIGMA**2, rtol=0.02)
    noise = noise_by_region(found, noisy)
    assert noise["body"] == pytest.approx(SIGMA**2, rel=0.01)
    assert noise["slice"] == pytest.approx(SIGMA**2 * (signal > 0).mean(), rel=0.01)


def test_a_map_of_sigma_counts_pixel_by_pixel():
    signal = np.full((24, 30), 1000.0)
    sigma = np.broadcast_to(np.linspace(0.0, 30.0, 30), signal.shape)
    np.testing.assert_allclose(magnitude_variance(signal, sigma), sigma**2, rtol=2e-3)
    with pytest.raises(ShapeError, match="one sigma or a map"):
        magnitude_variance(signal, sigma[1:])


@pytest.mark.parametrize("blanked", [True, False])
def test_the_corrected_psnr_is_that_against_the_signal(blanked):
    signal = smooth_head()
    reference = magnitude(signal, SIGMA, seed=1)
    if blanked:
        reference = np.where(signal > 0, reference, 0.0)
    # An error of another kind than noise, a little larger.
    error = 2 * SIGMA * np.sin(np.arange(signal.shape[1]) / 3) * (signal > 0)
    # In air the expected magnitude of noise is what no noise is left of.
    expected = signal if blanked else np.mean([magnitude(signal, SIGMA, 50 + seed) for seed in range(200)], axis=0)
    image = expected + error
    noise = noise_by_region(magnitude_variance(reference, SIGMA), reference)
    plain = scores_of(image, reference, 800.0, "MR")
    found, wanted = by_name(corrected_scores(plain, 800.0, noise)), by_name(scores_of(image, expected, 800.0, "MR"))
    assert set(found) == {("slice", CORRECTED), ("body", CORRECTED)}
    for region in ("slice", "body"):
        assert found[region, CORRECTED] == pytest.approx(wanted[region, "psnr"], abs=0.3)
        assert by_name(plain)[region, "psnr"] < wanted[region, "psnr"] - 1.5


def test_some_error_is_always_left():
    assert error_left(10.0, 4.0) == 6.0
    assert error_left(4.0, 4.0) == error_left(3.0, 4.0) == LEAST_LEFT * 4.0
    # An image that is closer than that, such as the reference itself, is not made worse.
    assert error_left(0.1, 4.0) == 0.1
    assert corrected_psnr(20.0, 1.0, 0.01) == pytest.approx(20 - 10 * math.log10(LEAST_LEFT))
    assert corrected_psnr(20.0, 1.0, 0.0) == pytest.approx(20.0)
    assert corrected_psnr(math.inf, 1.0, 0.01) == math.inf
    assert METRICS[CORRECTED] == ("dB", True)


@pytest.fixture
def head(synthetic):
    """Twelve slices of tissue without structure in which noise is found, lying on their side."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in (12, 96, 80)), indexing="ij")
    signal = np.where(np.hypot(y, x / 0.9) < 0.85, 500 + 100 * np.cos(2 * x) * np.sin(2 * y) + 30 * z, 0.0)
    geometry = synthetic.affine((1.0, 1.0, 5.0)) @ np.diag([1.0, -1.0, -1.0, 1.0])
    return Volume(np.where(signal > 0, magnitude(signal, SIGMA), 0.0).astype(np.float32), geometry, "MR")


def reference_of(volume, numbers):
    chosen = volume.select(numbers)
    images = np.abs(standard_orientation(chosen).array)
    return Reference(chosen, images, data_range(volume.array, "MR"))


def test_the_noise_of_a_scan_is_found_for_its_slices(head):
    own = OwnNoise.found(head, lambda volume: volume)
    assert own.noise.sigma == pytest.approx(SIGMA, rel=0.1)
    reference = reference_of(head, [3, 4, 5])
    facts, reason = own.by_region(reference, [3, 4, 5], 0)
    assert reason == ""
    assert set(facts) == {"slice", "body"}
    inside = body_mask(reference.images[0])
    assert facts["body"] == pytest.approx(own.noise.sigma**2, rel=0.02)
    assert facts["slice"] == pytest.approx(own.noise.sigma**2 * inside.mean(), rel=0.03)
    # The scan's complex values have the same magnitude and so the same noise.
    rotated = head.with_array((head.array * np.exp(0.3j)).astype(np.complex64))
    assert OwnNoise.found(rotated, lambda volume: volume).noise.sigma == pytest.approx(own.noise.sigma, rel=1e-3)
    assert as_magnitude(head) is head


def test_a_map_is_brought_to_the_slices_that_are_measured(head):
    own = OwnNoise.found(head, lambda volume: volume)
    sigma = np.broadcast_to(np.linspace(5, 40, 96)[:, None], head.shape).astype(np.float32)
    mapped = OwnNoise(own.noise, head.with_array(sigma))
    reference = reference_of(head, [3, 4, 5])
    facts, _ = mapped.by_region(reference, [3, 4, 5], 1)
    # Standard orientation turns rows and slices round, and the map with them.
    wanted = np.square(sigma[4])[head.array[4] > 0].mean() * (head.array[4] > 0).mean()
    assert facts["slice"] == pytest.approx(wanted, rel=0.02)
    assert not np.array_equal(reference.images[1], head.array[4])


def test_where_the_noise_is_not_known_nothing_is_taken_off(head):
    def measured(volume):
        return volume

    reference = reference_of(head, [3])
    smooth = np.where(head.array > 0, magnitude(np.full(head.shape, 500.0), 0.5), 0.0).astype(np.float32)
    almost_none = OwnNoise.found(head.with_array(smooth), measured)
    facts, reason = almost_none.by_region(reference, [3], 0)
    assert facts == {}
    assert reason.startswith("There is almost no noise")
    constant = OwnNoise.found(head.with_array(np.ones_like(head.array)), measured)
    assert constant.noise is None
    assert "one value everywhere" in constant.reason
    ct = OwnNoise.found(Volume(head.array, head.affine, "CT", "HU"), measured)
    assert (ct.noise, ct.reason) == (None, "")
    changed = Reference(reference.scan, reference.images * 0.99, reference.peak)
    assert OwnNoise.found(head, measured).by_region(changed, [3], 0) == ({}, CHANGED)
