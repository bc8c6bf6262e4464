"""A border of zeros in k-space is found where there is one, at the right size, and nowhere else."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from medinr.jobs.audit import audit_volume
from medinr.jobs.audit.kspace import measured_share
from medinr.jobs.audit.sample import sample_volume
from medinr.jobs.audit.spectrum import axis_spectra
from medinr.volume import Provenance, ScanFacts, Volume


def tissue(size, seed, exponent=1.5, noise=0.05):
    """A random slice whose amplitudes fall as 1/f^exponent, with white noise and a smooth phase; complex."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    frequency[0, 0] = 1 / size
    image = np.fft.ifft2(np.fft.fft2(random.normal(size=(size, size))) / frequency**exponent).real
    image = (image - image.min()) / image.std()
    y, x = np.meshgrid(*2 * [np.linspace(-1, 1, size)], indexing="ij")
    image = image * np.exp(1j * (0.8 * x + 0.5 * y**2))
    return image + noise * (random.normal(size=image.shape) + 1j * random.normal(size=image.shape))


def zero_filled(image, share_y, share_x, window=None):
    """Keep the central part of k-space, and fill the rest with zeros."""
    kspace = np.fft.fftshift(np.fft.fft2(image))
    for axis, share in enumerate((share_y, share_x)):
        at = np.abs(np.arange(image.shape[axis]) - image.shape[axis] // 2) / (image.shape[axis] / 2)
        keep = at <= share
        if window is not None:
            keep = keep * (window + (1 - window) * np.cos(np.pi / 2 * np.minimum(at / share, 1)) ** 2)
        kspace = kspace * np.expand_dims(keep, 1 - axis)
    return np.fft.ifft2(np.fft.ifftshift(kspace))


def volume(slices, modality="MR", **facts):
    array = np.stack([np.rint(100 * np.abs(image)) for image in slices]).astype(np.float32)
    provenance = Provenance(facts=ScanFacts(**facts))
    return Volume(array, np.diag([0.8, 0.8, 3.0, 1.0]), modality, "a.u.", provenance)


def codes(scan):
    return {finding.code for finding in audit_volume(scan)}


@pytest.mark.parametrize("size", [96, 160, 256])
@pytest.mark.parametrize(("share_y", "share_x"), [(0.5, 0.8), (0.65, 0.85), (0.75, 0.6)])
@pytest.mark.parametrize("window", [None, 0.5])
def test_the_measured_share_of_a_zero_filled_image(size, share_y, share_x, window):
    scan = volume([zero_filled(tissue(size, seed), share_y, share_x, window) for seed in range(3)])
    spectra = axis_spectra(sample_volume(scan))
    assert measured_share(spectra["y"]) == pytest.approx(share_y, abs=0.05)
    assert measured_share(spectra["x"]) == pytest.approx(share_x, abs=0.05)
    (finding,) = [f for f in audit_volume(scan) if f.code == "zero-filled"]
    assert f"{size} x {size} pixels" in finding.words
    share = float(finding.words.split("about ")[1].split(" %")[0])
    assert share == pytest.approx(100 * share_x * share_y, abs=6)
    assert finding.severity == "caution"


def test_one_axis_alone_and_complex_images():
    slices = [zero_filled(tissue(128, seed), 1.0, 0.7) for seed in range(2)]
    scan = Volume(np.stack(slices).astype(np.complex64), np.diag([0.8, 0.8, 3.0, 1.0]), "MR")
    spectra = axis_spectra(sample_volume(scan))
    assert measured_share(spectra["x"]) == pytest.approx(0.7, abs=0.04)
    assert measured_share(spectra["y"]) is None
    (words,) = [f.words for f in audit_volume(scan) if f.code == "zero-filled"]
    assert "% along x" in words
    assert "along y" not in words


def test_slices_of_a_three_dimensional_acquisition():
    random = np.random.default_rng(0)
    array = gaussian_filter(random.normal(size=(96, 64, 64)), 1.0) * 20 + 10 + 0.3 * random.normal(size=(96, 64, 64))
    kspace = np.fft.fft(array, axis=0)
    kspace[np.abs(np.fft.fftfreq(96)) > 0.3] = 0
    scan = Volume(np.abs(np.fft.ifft(kspace, axis=0)).astype(np.float32), np.eye(4), "MR")
    assert measured_share(axis_spectra(sample_volume(scan))["z"]) == pytest.approx(0.6, abs=0.05)


def test_false_alarms_are_rare():
    """Tissue-like images of every slope, with noise, blur, interpolation and rounding: none has a step."""
    alarms, tried = [], 0
    for seed in range(12):
        for size in (64, 128):
            for exponent in (1.0, 1.5, 2.0):
                base = np.abs(tissue(size, seed, exponent, noise=0.1))
                kinds = {
                    "plain": base,
                    "blur": gaussian_filter(base, 0.8),
                    "sharp": base + 1.5 * (base - gaussian_filter(base, 1.0)),
                    "linear": zoom(base, 1.5, order=1),
                    "moved": np.roll(base, 1, 0) * 0.5 + base * 0.5,
                    "noise": np.random.default_rng(seed).normal(size=(size, size)) + 20,
                }
                for name, image in kinds.items():
                    spectra = axis_spectra(sample_volume(volume([image])))
                    tried += 1
                    if any(measured_share(spectrum) is not None for spectrum in spectra.values()):
                        alarms.append((name, size, exponent, seed))
    assert tried == 432
    assert len(alarms) <= tried // 200, alarms


def test_the_header_is_believed_where_the_values_are_silent():
    scan = volume([tissue(128, 0)], acquired_matrix=(128, 64))
    (finding,) = [f for f in audit_volume(scan) if f.code == "zero-filled"]
    assert "128 x 64 samples for 128 x 128 pixels: about 50 %" in finding.words
    assert "zero-filled" not in codes(volume([tissue(128, 0)], acquired_matrix=(128, 128)))
    assert "zero-filled" not in codes(volume([tissue(128, 0)]))


def test_smooth_and_sharpened_images():
    plain = [np.abs(tissue(128, seed, noise=0.1)) for seed in range(2)]
    assert not codes(volume(plain)) & {"smooth", "sharpened"}
    assert "smooth" in codes(volume([gaussian_filter(image, 1.0) for image in plain]))
    noisy = [np.random.default_rng(seed).normal(size=(128, 128)) + 9 for seed in range(2)]
    assert not codes(volume(noisy)) & {"smooth", "sharpened"}
    sharp = [image + 2 * (image - gaussian_filter(image, 1.0)) for image in noisy]
    assert "sharpened" in codes(volume(sharp))


def test_small_images_are_not_judged():
    assert not codes(volume([zero_filled(tissue(32, 0), 0.5, 0.5)])) & {"zero-filled", "smooth", "sharpened"}


@pytest.mark.shared
def test_vendor_magnitude_images_are_zero_filled_and_repeats_of_an_epi_are_not(shared_data):
    from medinr.io.nifti import read_nifti

    for path in sorted((shared_data / "brain_mri").glob("*/*_study*W.nii.gz")):
        assert "zero-filled" in codes(read_nifti(path)), path.name
    for path in sorted((shared_data / "brain_mri").glob("*/*_MNI.nii.gz")):
        assert "zero-filled" not in codes(read_nifti(path)), path.name
    repeats = shared_data / "acquired" / "spine_repeats" / "epi_15_repeats.nii.gz"
    assert "zero-filled" not in codes(read_nifti(repeats, 0))
