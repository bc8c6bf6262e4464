"""Other toolkits' numbers, by other toolkits: each convention against the library it is called after."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from medinr.errors import ConfigError, ShapeError
from medinr.metrics.conventions import CONVENTIONS, volume_metrics
from medinr.metrics.image_quality import CORRECTED, METRICS, gmsd, hfen, nrmse, psnr, scores_of, ssim

RNG = np.random.default_rng(3)
REFERENCE = RNG.random((3, 26, 31))
IMAGE = REFERENCE + 0.1 * RNG.normal(size=REFERENCE.shape)


def test_ours_is_skimage_with_everything_said() -> None:
    x, r = IMAGE[0], REFERENCE[0]
    options = {"data_range": 1.3, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert ssim(x, r, 1.3) == pytest.approx(structural_similarity(x, r, **options), abs=1e-6)
    assert psnr(x, r, 1.3) == pytest.approx(peak_signal_noise_ratio(r, x, data_range=1.3), abs=1e-6)
    assert nrmse(x, r) == pytest.approx(normalized_root_mse(r, x), abs=1e-6)


def test_fastmri_as_its_repository_writes_it() -> None:
    found = volume_metrics(IMAGE, REFERENCE, "fastmri")
    peak = REFERENCE.max()
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(REFERENCE, IMAGE, data_range=peak), abs=1e-6)
    slices = [structural_similarity(r, x, data_range=peak) for x, r in zip(IMAGE, REFERENCE, strict=True)]
    assert found["ssim"] == pytest.approx(sum(slices) / 3, abs=1e-6)
    nmse = np.linalg.norm(REFERENCE - IMAGE) ** 2 / np.linalg.norm(REFERENCE) ** 2
    assert found["nmse"] == pytest.approx(nmse, abs=1e-6)


def test_monai_by_monai() -> None:
    from monai.metrics import PSNRMetric, SSIMMetric

    x, r = (torch.from_numpy(part).unsqueeze(1) for part in (IMAGE, REFERENCE))
    found = volume_metrics(IMAGE, REFERENCE, "monai", data_range=1.3)
    assert found["psnr"] == pytest.approx(float(PSNRMetric(1.3)(x, r).mean()), abs=1e-6)
    assert found["ssim"] == pytest.approx(float(SSIMMetric(2, data_range=1.3)(x, r).mean()), abs=1e-6)
    # Ours and MONAI's agree as soon as the range is the same.
    assert volume_metrics(IMAGE, REFERENCE, data_range=1.3) == pytest.approx(found, abs=1e-6)


def test_the_conventions_differ() -> None:
    smooth = REFERENCE.cumsum(axis=1) / 26
    numbers = {name: volume_metrics(smooth + IMAGE - REFERENCE, smooth, name, data_range=1.0) for name in CONVENTIONS}
    assert abs(numbers["medinr"]["ssim"] - numbers["fastmri"]["ssim"]) > 1e-3
    # One error of the volume is not the mean over slices.
    uneven = REFERENCE + np.array([0.01, 0.1, 0.2])[:, None, None]
    ours, theirs = (volume_metrics(uneven, REFERENCE, name, data_range=1.0)["psnr"] for name in ("medinr", "fastmri"))
    assert ours == pytest.approx((40 + 20 - 20 * math.log10(0.2)) / 3)
    assert theirs == pytest.approx(-10 * math.log10((0.0001 + 0.01 + 0.04) / 3))


def test_a_wrong_phase_counts_only_when_asked() -> None:
    turned = REFERENCE * np.exp(1j * math.pi / 3)
    assert volume_metrics(turned, REFERENCE, data_range=1.0)["psnr"] > 200
    # |r e^(i pi/3) - r| = |r|: the error is as large as the image.
    found = volume_metrics(turned, REFERENCE, data_range=1.0, complex_error=True)
    assert found["nrmse"] == pytest.approx(1.0)
    assert volume_metrics(turned, REFERENCE, "fastmri", complex_error=True)["nmse"] == pytest.approx(1.0)


def test_real_images_below_zero_stay_below_zero() -> None:
    assert volume_metrics(-REFERENCE, REFERENCE, data_range=1.0)["nrmse"] == pytest.approx(2.0)


def test_one_slice_is_a_stack_of_one() -> None:
    assert volume_metrics(IMAGE[0], REFERENCE[0], data_range=1.0)["psnr"] == pytest.approx(
        psnr(IMAGE[0], REFERENCE[0], 1.0)
    )


def test_what_is_missing_or_unknown_is_said() -> None:
    with pytest.raises(ConfigError, match="'skimage' is not one of medinr, fastmri, monai"):
        volume_metrics(IMAGE, REFERENCE, "skimage")
    with pytest.raises(ConfigError, match="needs a data_range"):
        volume_metrics(IMAGE, REFERENCE, "monai")
    with pytest.raises(ShapeError, match="stacks"):
        volume_metrics(IMAGE[0], REFERENCE)


def test_gmsd_by_hand() -> None:
    """A step edge, kept in one half of the rows and gone in the other.

    4 x 4 blocks with columns 0 0 1 1; the Prewitt gradients are written out pixel by pixel, zeros beyond the border.
    """
    reference = np.zeros((8, 8))
    reference[:, 4:] = 1.0
    image = reference.copy()
    image[4:] = 0.0

    def gradients(blocks: np.ndarray) -> np.ndarray:
        padded = np.pad(blocks, 1)
        out = np.zeros((4, 4))
        for y in range(4):
            for x in range(4):
                part = padded[y : y + 3, x : x + 3]
                across = (part[:, 2].sum() - part[:, 0].sum()) / 3
                down = (part[2].sum() - part[0].sum()) / 3
                out[y, x] = math.hypot(across, down)
        return out

    a = gradients(np.array([[0.0, 0, 1, 1]] * 2 + [[0.0] * 4] * 2))
    b = gradients(np.array([[0.0, 0, 1, 1]] * 4))
    # By hand, the second block row from above, third column: across (1+1+1-0)/3 = 1, down 0.
    assert b[1, 2] == pytest.approx(1.0)
    assert b[1, 3] == pytest.approx(1.0)
    assert b[1, 0] == 0.0
    c = 170 / 255**2
    similarity = (2 * a * b + c) / (a**2 + b**2 + c)
    mean = similarity.sum() / 16
    expected = math.sqrt(((similarity - mean) ** 2).sum() / 15)
    assert gmsd(image, reference, 1.0) == pytest.approx(expected, abs=1e-9)
    # Pinned, so that a change of definition shows.
    assert expected == pytest.approx(0.394673, abs=1e-6)


def test_gmsd_is_zero_for_equal_images_and_free_of_units() -> None:
    x, r = IMAGE[0], REFERENCE[0]
    assert gmsd(r, r, 1.0) == 0.0
    assert gmsd(500 * x, 500 * r, 500.0) == pytest.approx(gmsd(x, r, 1.0))
    assert gmsd(x[:25, :29], r[:25, :29], 1.0) > 0
    with pytest.raises(ShapeError, match="at least 4 x 4"):
        gmsd(x[:3], r[:3], 1.0)


def test_masked_metrics_see_nothing_outside() -> None:
    mask = np.zeros((26, 31), dtype=bool)
    mask[4:14, 4:16] = True
    spoilt = REFERENCE[0].copy()
    spoilt[:, 26:] += 5.0
    assert gmsd(spoilt, REFERENCE[0], 1.0, mask) == 0.0
    assert hfen(spoilt, REFERENCE[0], mask) == pytest.approx(0.0, abs=1e-12)
    assert hfen(spoilt, REFERENCE[0]) > 0.1


def test_every_metric_in_both_regions() -> None:
    y, x = np.ogrid[:40, :40]
    reference = np.where(np.hypot(y - 20, x - 20) < 14, 40.0, -1000.0)
    found = scores_of(np.where(reference > 0, 60.0, -1000.0), reference, 2000.0, "CT")
    # The corrected PSNR wants the noise of the reference, too.
    named = [metric for metric in METRICS if metric != CORRECTED]
    assert [(s.region, s.metric) for s in found] == [(r, m) for r in ("slice", "body") for m in named]
    values = {(s.region, s.metric): s.value for s in found}
    assert values["body", "psnr"] == pytest.approx(40.0)
    assert values["body", "nrmse"] == pytest.approx(20 / 1040)
    assert 0 < values["slice", "gmsd"] < 0.1
