"""`mi.denoise` and `mi.superres` on arrays and volumes; the methods are made up here."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import medinr as mi
from medinr.data.resample import continued_onto
from medinr.errors import ConfigError, GeometryError, IntensityError, ShapeError, UnitError
from medinr.jobs.scan.likeness import unlike_training
from medinr.jobs.scan.methods import DENOISERS, SHARPENERS
from medinr.models.checkpoint import load_model
from medinr.noise.scan_noise import ScanNoise

NOISE = ScanNoise("rician", 10.0)


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    def denoise(volume, noise, model, progress=None, unfinished=None):
        if progress is not None:
            progress(1, 1)
        return volume.array - volume.array.dtype.type(noise.sigma)

    def sharpen(volume, grid, noise, model, progress=None, unfinished=None):
        return SimpleNamespace(volume=continued_onto(volume, grid.target.affine, grid.target.shape), residual=0.9)

    monkeypatch.setitem(DENOISERS, "plug-and-play", denoise)
    monkeypatch.setitem(SHARPENERS, "plug-and-play", sharpen)
    monkeypatch.setattr("medinr.jobs.scan.judge.unlike_training", lambda *_: "")


@pytest.fixture
def image(synthetic):
    return synthetic.phantom((3, 30, 26)).array + np.float32(50)


def test_arrays_come_back_in_their_shape(image):
    for values in (image, image[0], torch.from_numpy(image), image.astype(np.float64), image.astype(np.complex64)):
        found = mi.denoise(values, sigma=4.0)
        assert found.array.shape == tuple(values.shape)
        np.testing.assert_allclose(found.array, np.asarray(values) - 4, rtol=1e-6)
        np.testing.assert_allclose(found.removed.array, 4, rtol=1e-5)
        assert found.noise.sigma == 4.0
        assert found.blend == 1.0
    assert "sigma 4" in repr(found)
    assert found.noise.kind == "gaussian"


def test_a_volume_keeps_its_place(synthetic):
    scan = synthetic.phantom((3, 30, 26), geometry=synthetic.affine(angles=(20.0, 5.0, -10.0)))
    found = mi.denoise(scan, noise=NOISE, blend=0.5)
    np.testing.assert_array_equal(found.volume.affine, scan.affine)
    np.testing.assert_allclose(found.array, np.where(scan.array > 0, scan.array - 5, 0))
    spaced = mi.denoise(scan.array, noise=NOISE, spacing=(3.0, 0.8, 0.9)).volume
    assert spaced.spacing == pytest.approx((0.9, 0.8, 3.0))


def test_what_was_denoised_already_is_changed_little_the_second_time(synthetic):
    rng = np.random.default_rng(0)
    scan = synthetic.phantom((4, 40, 40))
    scan = scan.with_array(np.hypot(100 + scan.array + 9 * rng.standard_normal(scan.shape), 9.0).astype(np.float32))
    once = mi.denoise(scan).volume
    twice, forced, told = mi.denoise(once), mi.denoise(once, force=True), mi.denoise(once, sigma=9.0)
    assert (twice.blend, forced.blend, told.blend) == (0.25, 1.0, 1.0)
    assert any("denoised by medinr already" in words for words in twice.warnings)
    assert mi.superres(once, factor=2).blend == 1.0


def test_a_map_and_a_mask(image):
    sigma = np.full(image.shape, 3.0)
    sigma[:, :15] = 6.0
    mask = np.zeros(image.shape, bool)
    mask[1] = True
    found = mi.denoise(image, sigma=sigma, mask=mask)
    assert found.noise.sigma_map.shape == image.shape
    np.testing.assert_array_equal(found.array[[0, 2]], image[[0, 2]])
    assert (found.array[1] < image[1]).all()
    flat = mi.denoise(image[0], sigma=sigma[0], mask=mask[1])
    assert flat.array.shape == image[0].shape


def test_finer_grids(image, synthetic):
    found = mi.superres(image, factor=(1, 1, 2), noise=NOISE, array_spacing=(3.0, 1.0, 1.0))
    assert found.array.shape == (6, 30, 26)
    assert found.volume.spacing == pytest.approx((1.0, 1.0, 1.5))
    assert (found.residual, found.removed) == (0.9, None)
    assert any("thickness is not known" in note for note in found.notes)
    assert mi.superres(image[0], factor=2, noise=NOISE).array.shape == (60, 52)
    assert mi.superres(image[0], spacing=0.5, noise=NOISE).array.shape == (60, 52)
    scan = synthetic.phantom((4, 20, 18))
    like = synthetic.phantom((8, 20, 18), geometry=scan.affine @ np.diag([1, 1, 0.5, 1]))
    assert mi.superres(scan, like=like, noise=NOISE).volume.shape == like.shape


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"volume": np.ones((2, 2, 2, 2))}, ShapeError, r"\(y, x\) or \(z, y, x\)"),
        ({"volume": np.zeros((9, 9)), "sigma": 1.0}, IntensityError, "every voxel is zero"),
        ({"volume": np.full((9, 9), np.nan), "sigma": 1.0}, IntensityError, "NaN"),
        ({"blend": 2.0}, ConfigError, "blend is from 0"),
        ({"noise": NOISE, "sigma": 3.0}, ConfigError, "leave sigma and coils out"),
        ({"sigma": 1e6}, IntensityError, "larger than the signal"),
        ({"sigma": 3.0, "mask": np.ones((4, 4))}, ShapeError, "mask has shape"),
        ({"sigma": np.ones((4, 4))}, ShapeError, "map of sigma has shape"),
        ({"sigma": 3.0, "spacing": (1.0,)}, GeometryError, "spacing is 3 lengths"),
        ({"sigma": 3.0, "modality": "US"}, ConfigError, "modality is one of MR, CT"),
        ({"sigma": 3.0, "method": "magic"}, ConfigError, "no method 'magic'"),
    ],
)
def test_what_cannot_be_is_explained(image, changes, error, words):
    with pytest.raises(error, match=words):
        mi.denoise(**({"volume": image} | changes))


def test_labels_are_refused_and_forced(image):
    labels = np.round(image / 200)
    with pytest.raises(UnitError, match="label map"):
        mi.denoise(labels, sigma=0.1)
    assert any("label map" in words for words in mi.denoise(labels, sigma=0.1, force=True).warnings)


def test_a_head_is_like_the_training_scans_and_noise_is_not(excerpts):
    model = load_model("brain_mr")
    head = mi.load_scan(next((excerpts / "brain_mr").glob("*T1W*.nii.gz")), modality="MR")
    noise = ScanNoise("rician", float(0.01 * np.percentile(head.array, 99)))
    assert unlike_training(head, noise, model) == ""
    rng = np.random.default_rng(0)
    snow = head.with_array(rng.rayleigh(100.0, head.shape).astype(np.float32))
    assert "unlike the scans that the model was trained on" in unlike_training(snow, ScanNoise("rician", 1.0), model)
    y, x = np.indices(head.shape[1:])
    flat = head.with_array(np.broadcast_to(1000.0 + x + y, head.shape).astype(np.float32))
    assert "unlike the scans" in unlike_training(flat, ScanNoise("rician", 1.0), model)
    assert unlike_training(flat, NOISE, load_model("random")) == ""
