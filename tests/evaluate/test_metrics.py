import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medinr.errors import IntensityError, ShapeError, UnitError
from medinr.metrics.image_quality import (
    body_mask,
    data_range,
    hfen,
    nrmse,
    prepare,
    psnr,
    slice_metrics,
    ssim,
)

RNG = np.random.default_rng(7)
REFERENCE = RNG.random((24, 31))
NOISY = REFERENCE + 0.1 * RNG.normal(size=REFERENCE.shape)


def _disk(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(y - centre[0], x - centre[1]) <= radius


def test_psnr_and_nrmse_by_hand() -> None:
    reference = np.array([[3.0, 0.0], [0.0, 4.0]])
    image = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert psnr(image, reference, 4.0) == pytest.approx(10 * math.log10(16 / 0.25))
    assert nrmse(image, reference) == pytest.approx(1 / 5)
    mask = np.array([[False, False], [True, True]])
    assert psnr(image, reference, 4.0, mask) == pytest.approx(10 * math.log10(16 / 0.5))
    assert nrmse(image, reference, mask) == pytest.approx(1 / 4)


def test_equal_images_are_perfect() -> None:
    assert psnr(REFERENCE, REFERENCE, 1.0) == math.inf
    assert ssim(REFERENCE, REFERENCE, 1.0) == pytest.approx(1.0)
    assert nrmse(REFERENCE, REFERENCE) == hfen(REFERENCE, REFERENCE) == 0.0


def test_ssim_follows_wang_2004_written_out() -> None:
    offset = np.arange(-5, 6)
    window = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 1.3) ** 2, (0.03 * 1.3) ** 2
    values = []
    for y in range(5, REFERENCE.shape[0] - 5):
        for x in range(5, REFERENCE.shape[1] - 5):
            a, b = (part[y - 5 : y + 6, x - 5 : x + 6] for part in (NOISY, REFERENCE))
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * a**2).sum() - ma**2, (window * b**2).sum() - mb**2
            covariance = (window * a * b).sum() - ma * mb
            values.append((2 * ma * mb + c1) * (2 * covariance + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    assert ssim(NOISY, REFERENCE, 1.3) == pytest.approx(np.mean(values), abs=1e-9)


def test_ssim_of_constant_images_is_its_luminance_term() -> None:
    a, b = np.full((16, 16), 0.5), np.full((16, 16), 1.0)
    c1 = 0.01**2
    assert ssim(a, b, 1.0) == pytest.approx((2 * 0.5 + c1) / (1.25 + c1))


def test_ssim_in_a_mask_ignores_what_lies_far_outside() -> None:
    image = REFERENCE.copy()
    image[:, 20:] = 0.0
    mask = np.zeros_like(REFERENCE, dtype=bool)
    mask[:, :12] = True
    assert ssim(image, REFERENCE, 1.0, mask) == pytest.approx(1.0)
    assert ssim(image, REFERENCE, 1.0) < 0.9


def test_hfen_sees_edges_and_no_offset() -> None:
    assert hfen(REFERENCE + 5.0, REFERENCE) == pytest.approx(0.0, abs=2e-3)
    assert hfen(np.full_like(REFERENCE, 2.0), REFERENCE) == pytest.approx(1.0, abs=2e-3)


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-2, 2))
def test_metrics_do_not_depend_on_the_unit(scale: float, shift: float) -> None:
    x, r = scale * NOISY, scale * REFERENCE
    assert psnr(x + scale * shift, r + scale * shift, scale) == pytest.approx(psnr(NOISY, REFERENCE, 1.0))
    assert ssim(x, r, scale) == pytest.approx(ssim(NOISY, REFERENCE, 1.0))
    assert nrmse(x, r) == pytest.approx(nrmse(NOISY, REFERENCE))
    assert hfen(x, r) == pytest.approx(hfen(NOISY, REFERENCE))


@given(flips=st.tuples(st.sampled_from([1, -1]), st.sampled_from([1, -1])), transpose=st.booleans())
def test_metrics_do_not_depend_on_the_orientation(flips: tuple[int, int], transpose: bool) -> None:
    def turned(image: np.ndarray) -> np.ndarray:
        flipped = image[:: flips[0], :: flips[1]]
        return flipped.T if transpose else flipped

    for metric in (lambda x, r: psnr(x, r, 1.0), lambda x, r: ssim(x, r, 1.0), nrmse, hfen):
        assert metric(turned(NOISY), turned(REFERENCE)) == pytest.approx(metric(NOISY, REFERENCE))


@given(level=st.floats(0.01, 0.5))
def test_more_noise_is_worse(level: float) -> None:
    noise = NOISY - REFERENCE
    less, more = REFERENCE + level * noise, REFERENCE + 1.5 * level * noise
    assert psnr(less, REFERENCE, 1.0) > psnr(more, REFERENCE, 1.0)
    assert ssim(less, REFERENCE, 1.0) > ssim(more, REFERENCE, 1.0)
    assert hfen(less, REFERENCE) < hfen(more, REFERENCE)


def test_body_is_the_largest_bright_part_with_its_holes() -> None:
    body, lung, table = (_disk((64, 64), c, r) for c, r in (((30, 32), 20), ((28, 26), 6), ((60, 10), 3)))
    image = np.where(body & ~lung | table, 40.0, -1000.0) + 0.1 * RNG.normal(size=(64, 64))
    np.testing.assert_array_equal(body_mask(image), body)
    np.testing.assert_array_equal(body_mask((image + 1000) * np.exp(1j)), body)


def test_range_and_preparation_follow_the_modality() -> None:
    volume = np.stack([3j * np.ones((4, 4)), np.ones((4, 4))])
    assert data_range(volume, "MR") == 3.0
    assert data_range(np.zeros((1, 4, 4)), "CT") == 2000.0
    np.testing.assert_array_equal(prepare(np.array([[3 + 4j]]), "MR"), [[5.0]])
    np.testing.assert_array_equal(prepare(np.array([[-3024.0, 40.0, 3000.0]]), "CT"), [[-1000, 40, 1000]])


def test_one_call_gives_every_number() -> None:
    reference = np.where(_disk((40, 40), (20, 20), 14), 40.0, -1000.0)
    image = np.where(reference > 0, reference + 20.0, reference)
    found = slice_metrics(image, reference, data_range(reference[None], "CT"), "CT")
    inside = float(body_mask(reference).mean())
    assert found.psnr_body == pytest.approx(40.0)
    assert found.psnr == pytest.approx(40.0 - 10 * math.log10(inside))
    assert found.nrmse == pytest.approx(20 / 1040)


def test_last_digits_do_not_depend_on_the_threads_of_blas() -> None:
    scored = """
import numpy as np
from medinr.metrics.image_quality import scores_of
noise = np.random.default_rng(0)
reference = 100 * noise.random((178, 178))
print([one.value.hex() for one in scores_of(reference + noise.normal(size=(178, 178)), reference, 100.0, "MR")])
"""
    # BLAS reads its number of threads once, when it is loaded.
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    printed = {
        subprocess.run(
            [sys.executable, "-c", scored],
            env=os.environ | dict.fromkeys(names, threads),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(printed) == 1


def test_what_cannot_be_judged_is_named() -> None:
    with pytest.raises(ShapeError, match=r"\(24, 31\) and \(24, 30\)"):
        psnr(NOISY, REFERENCE[:, 1:], 1.0)
    with pytest.raises(ShapeError, match="at least 11 x 11"):
        ssim(NOISY[:10], REFERENCE[:10], 1.0)
    with pytest.raises(ShapeError, match="not empty"):
        psnr(NOISY, REFERENCE, 1.0, np.zeros(REFERENCE.shape, bool))
    with pytest.raises(UnitError, match="take the magnitude"):
        nrmse(NOISY * 1j, REFERENCE)
    with pytest.raises(UnitError, match="'OT'"):
        data_range(REFERENCE, "OT")
    with pytest.raises(UnitError, match="Hounsfield"):
        prepare(NOISY * 1j, "CT")
    with pytest.raises(IntensityError, match="NaN"):
        psnr(np.full_like(REFERENCE, np.nan), REFERENCE, 1.0)
    with pytest.raises(IntensityError, match="range must be positive"):
        psnr(NOISY, REFERENCE, 0.0)
    with pytest.raises(IntensityError, match="zero"):
        nrmse(NOISY, np.zeros_like(NOISY))
    with pytest.raises(IntensityError, match="no body"):
        body_mask(np.ones((12, 12)))
