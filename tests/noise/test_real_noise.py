"""Noise of acquired scans whose repeats tell it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from medinr.noise.estimate import estimate_noise
from medinr.noise.repeats import noise_of_repeats

pytestmark = pytest.mark.shared


def test_repeats_of_a_spine(shared_data, as_volume):
    loaded = nib.load(shared_data / "acquired" / "spine_repeats" / "epi_15_repeats.nii.gz")
    values = np.asarray(loaded.dataobj, np.float32).transpose(3, 2, 1, 0)
    repeats = [as_volume(one) for one in values]
    told = noise_of_repeats(repeats).sigma
    differences = np.sqrt((np.diff(values, axis=0) ** 2).mean(axis=0) / 2)
    mean = values.mean(axis=0)
    signal = (mean >= np.percentile(mean, 20)) & (mean <= np.percentile(mean, 95))
    assert told == pytest.approx(np.median(differences[signal]), rel=0.10)
    # Single repeats of this small scan scatter; most are close.
    single = np.array([estimate_noise(repeat).sigma for repeat in repeats[:7]])
    assert np.median(single) == pytest.approx(told, rel=0.15)


@pytest.mark.parametrize("dose", ["dose_010", "dose_100"])
def test_one_of_ten_low_dose_images(shared_data, as_volume, dose):
    folder = shared_data / "acquired" / "ct_dose" / dose / "signal_absent"
    files = sorted(folder.glob("*.raw"))
    images = np.stack([np.fromfile(file, np.int16).reshape(256, 256) for file in files]).astype(np.float32) - 1000
    repeats = [as_volume(image[None], "CT", "HU") for image in images]
    body = images.mean(axis=0) > -300
    noise = images - images.mean(axis=0)
    deviation = np.median(np.sqrt((noise**2).sum(axis=0) / (len(images) - 1))[body])
    estimate = estimate_noise(repeats[0])
    assert estimate.kind == "gaussian"
    assert estimate.sigma == pytest.approx(deviation, rel=0.10)
    assert estimate.autocorrelation[7, 8] == pytest.approx(0.35, abs=0.05)
    assert noise_of_repeats(repeats).autocorrelation[7, 8] == pytest.approx(0.35, abs=0.05)


def test_a_brain_scan_with_noise_on_top(shared_data, as_volume, magnitude):
    loaded = nib.load(shared_data / "brain_mri" / "train" / "patient04_study1_T1W.nii.gz")
    scan = np.asarray(loaded.dataobj, np.float32).T[12:24]
    own = estimate_noise(as_volume(scan)).sigma
    added = 0.05 * np.percentile(scan[scan > 0], 99)
    noise = estimate_noise(as_volume(magnitude(scan, added)))
    assert noise.kind == "rician"
    assert noise.sigma_map is None
    assert noise.sigma == pytest.approx(np.hypot(own, added), rel=0.05)
