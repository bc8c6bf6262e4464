"""`medinr denoise`: what it takes, says, refuses and writes; the denoiser itself is made up here."""

import json
import os
import re

import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy.ndimage import uniform_filter

from medinr.io.dicom.read import read_dicom_series
from medinr.io.nifti import read_nifti, write_nifti
from medinr.jobs.scan.methods import DENOISERS
from medinr.noise.scan_noise import ScanNoise


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    """A denoiser that subtracts 4 from everything, and a noise that is told; the calls of the denoiser."""
    calls = []

    def denoise(volume, noise, model, progress=None, unfinished=None):
        calls.append(volume)
        if progress is not None:
            progress(volume.shape[0], volume.shape[0])
        return volume.array - np.float32(4)

    monkeypatch.setitem(DENOISERS, "plug-and-play", denoise)
    monkeypatch.setattr("medinr.jobs.scan.judge.unlike_training", lambda *_: "")
    monkeypatch.setattr("medinr.jobs.scan.noise._found", lambda source, *_: _noise(source.first))
    return calls


def _noise(volume):
    gaussian = volume.modality == "CT" or np.iscomplexobj(volume.array)
    return ScanNoise("gaussian" if gaussian else "rician", 11.5, how="made up for a test")


@pytest.fixture
def head(synthetic, tmp_path):
    """A NIfTI file of int16, forms of two codes."""
    scan = synthetic.phantom((9, 24, 20))
    image = nib.Nifti1Image(scan.array.T.astype(np.int16), scan.affine)
    image.set_sform(scan.affine, code=2)
    image.set_qform(scan.affine, code=1)
    nib.save(image, tmp_path / "head_T2w.nii.gz")
    return tmp_path / "head_T2w.nii.gz"


def test_a_volume_goes_back_as_it_came(medinr, head, tmp_path):
    out = tmp_path / "out"
    found = medinr("denoise", head, "--out", out, "--debug")
    assert found.code == 0, found.err
    lines = found.out.splitlines()
    assert lines[0] == "Reading the scan ..."
    assert "MR, 20 x 24 pixels x 9 slices, 0.90 x 0.80 x 3.00 mm" in lines[1]
    assert "sigma 11.5 a.u., Rician; made up for a test" in lines[2]
    assert re.search(r"denoising takes about \d+ s and 0\.\d GB of memory", found.out)
    before, after = nib.load(head), nib.load(out / "denoised.nii.gz")
    assert after.get_data_dtype() == np.int16
    np.testing.assert_array_equal(after.affine, before.affine)
    assert (int(after.header["sform_code"]), int(after.header["qform_code"])) == (2, 1)
    old, new = (np.asarray(image.dataobj).astype(int) for image in (before, after))
    np.testing.assert_array_equal(new, np.where(old == 0, 0, old - 4))
    residual = nib.load(out / "residual.nii.gz")
    assert residual.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(residual.dataobj), old - new)
    result = json.loads((out / "result.json").read_text())
    assert result["outputs"] == sorted(p.name for p in out.iterdir() if p.name != "result.json")
    assert {"before_after.png", "noise.png"} <= set(result["outputs"])
    assert result["simulated"] is False
    assert "invent" in result["learned_prior"]
    assert result["noise"]["sigma"] == 11.5
    assert result["removed"]["root_mean_square"] == 4.0
    assert result["removed"]["root_mean_square_over_sigma"] == pytest.approx(4 / 11.5, rel=1e-3)
    assert result["blend"] == 1.0
    assert str(tmp_path) not in json.dumps(result)


def test_every_volume_of_a_series_and_its_times(medinr, made_up, synthetic, tmp_path):
    scan = synthetic.phantom((3, 20, 18))
    series = np.stack([scan.array.T + 10 * number for number in range(5)], -1)
    image = nib.Nifti1Image(series.astype(np.float32), scan.affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.2
    nib.save(image, tmp_path / "a_dwi.nii.gz")
    (tmp_path / "a_dwi.bval").write_text("0 700 700 700 1400\n")
    (tmp_path / "a_dwi.bvec").write_text("0 1 0 0 1\n0 0 1 0 0\n0 0 0 1 0\n")
    (tmp_path / "a_dwi.json").write_text('{"EchoTime": 0.09, "PatientName": "Doe"}')
    found = medinr("denoise", tmp_path / "a_dwi.nii.gz", "--out", tmp_path / "out", "--blend", "0.5", "--each-alone")
    assert found.code == 0, found.err
    assert "5 volumes" in found.out
    assert "15/15" in found.out
    after = nib.load(tmp_path / "out" / "denoised.nii.gz")
    assert after.shape == series.shape
    assert after.get_data_dtype() == np.float32
    assert after.header["pixdim"][4] == pytest.approx(2.2)
    outside = np.isin(series, 0)
    np.testing.assert_allclose(np.asarray(after.dataobj)[~outside], (series - 2)[~outside])
    assert nib.load(tmp_path / "out" / "residual.nii.gz").shape == series.shape
    for ending in (".bval", ".bvec"):
        same = (tmp_path / f"a_dwi{ending}").read_text()
        assert (tmp_path / "out" / f"denoised{ending}").read_text() == same
    assert json.loads((tmp_path / "out" / "denoised.json").read_text()) == {"EchoTime": 0.09}
    assert len(made_up) == 7  # two parts for the forecast, and five volumes


def test_a_run_that_was_stopped_goes_on(medinr, made_up, synthetic, monkeypatch, tmp_path):
    scan = synthetic.phantom((3, 20, 18))
    nib.save(nib.Nifti1Image(np.stack([scan.array.T] * 4, -1), scan.affine), tmp_path / "rest_bold.nii.gz")
    good = DENOISERS["plug-and-play"]

    def stopped(volume, noise, model, progress=None, unfinished=None):
        if len(made_up) == 4:
            raise KeyboardInterrupt
        return good(volume, noise, model, progress)

    command = ("denoise", tmp_path / "rest_bold.nii.gz", "--out", tmp_path / "out")
    monkeypatch.setitem(DENOISERS, "plug-and-play", stopped)
    found = medinr(*command)
    assert found.code == 130
    assert len(list((tmp_path / "out" / "work").iterdir())) == 2
    assert not (tmp_path / "out" / "denoised.nii.gz").exists()
    monkeypatch.setitem(DENOISERS, "plug-and-play", good)
    made_up.clear()
    assert medinr(*command, "--debug").code == 0
    assert len(made_up) == 4  # two parts for the forecast, and the two that were missing
    assert not (tmp_path / "out" / "work").exists()
    # Finished: refused, unless it may be replaced.
    found = medinr(*command)
    assert found.code == 2
    assert "--overwrite" in found.err
    assert medinr(*command, "--overwrite", "--blend", "0").code == 0
    np.testing.assert_array_equal(read_nifti(tmp_path / "out" / "denoised.nii.gz", 0).array, scan.array)


def test_a_dicom_series_gives_a_derived_one(medinr, synthetic, tmp_path):
    chest = synthetic.phantom((9, 24, 20), "CT", synthetic.affine(angles=(20.0, -15.0, 30.0)))
    array = chest.array.copy()
    array[:, :5] = -2000
    synthetic.write_dicom_series(tmp_path / "series", chest.with_array(array))
    out = tmp_path / "out"
    found = medinr("denoise", tmp_path / "series", "--out", out, "--debug")
    assert found.code == 0, found.err
    source, result = read_dicom_series(tmp_path / "series"), read_dicom_series(out / "dicom")
    np.testing.assert_allclose(result.affine, source.affine, atol=1e-3)
    np.testing.assert_array_equal(result.array[:, :5], -1024)
    np.testing.assert_array_equal(result.array[:, 5:], source.array[:, 5:] - 4)
    header = pydicom.dcmread(next((out / "dicom").iterdir()))
    assert header.PatientID == synthetic.PATIENT_ID
    assert header.SeriesDescription == "medinr denoise"
    assert json.loads((out / "result.json").read_text())["dicom"]["written"] is True
    image = nib.load(out / "denoised.nii.gz")
    assert image.get_data_dtype() == np.int16
    # Outside the field of view values are those of the files: readers make -1024 of them.
    np.testing.assert_array_equal(np.asarray(image.dataobj).T[:, :5], -2000)
    assert (header.pixel_array[:5] + int(header.RescaleIntercept) == -2000).all()
    assert synthetic.PATIENT_ID not in (out / "result.json").read_text() + found.out


def test_magnitude_and_phase_are_one_complex_scan(medinr, made_up, synthetic, tmp_path):
    scan = synthetic.phantom((3, 20, 18))
    phase = np.linspace(-np.pi, np.pi, scan.array.size, dtype=np.float32).reshape(scan.shape)
    write_nifti(scan, tmp_path / "a_mag.nii.gz", dtype="int16")
    write_nifti(scan.with_array(phase), tmp_path / "a_ph.nii.gz")
    out = tmp_path / "out"
    found = medinr("denoise", tmp_path / "a_mag.nii.gz", "--phase", tmp_path / "a_ph.nii.gz", "--out", out, "--debug")
    assert found.code == 0, found.err
    assert "complex MR" in found.out
    assert "Gaussian" in found.out
    assert np.iscomplexobj(made_up[-1].array)
    assert nib.load(out / "denoised.nii.gz").get_data_dtype() == np.int16
    assert nib.load(out / "denoised_phase.nii.gz").get_data_dtype() == np.float32


def test_a_mask_says_where(medinr, head, tmp_path):
    scan = read_nifti(head)
    mask = np.zeros(scan.shape, np.float32)
    mask[3:6] = 1
    write_nifti(scan.with_array(mask), tmp_path / "m.nii.gz")
    out = tmp_path / "out"
    assert medinr("denoise", head, "--mask", tmp_path / "m.nii.gz", "--out", out, "--debug").code == 0
    found = read_nifti(out / "denoised.nii.gz").array
    np.testing.assert_array_equal(found[:3], scan.array[:3])
    np.testing.assert_array_equal(found[4], np.where(scan.array[4] > 0, scan.array[4] - 4, 0))


def test_a_dry_run_says_all_and_writes_nothing(medinr, head, tmp_path):
    found = medinr("denoise", head, "--out", tmp_path / "out", "--dry-run", "--debug")
    assert found.code == 0, found.err
    assert "denoising takes about" in found.out
    assert not (tmp_path / "out").exists()


def test_what_weakens_the_effect_is_said(medinr, head, monkeypatch, tmp_path):
    weak = ScanNoise("rician", 0.4, reliable=False, how="made up", remarks=("almost no noise",))
    monkeypatch.setattr("medinr.jobs.scan.noise._found", lambda *_: weak)
    out = tmp_path / "out"
    found = medinr("denoise", head, "--out", out, "--debug")
    assert found.code == 0, found.err
    assert "Warning: almost no noise" in found.out
    assert "25 % of the effect is applied (--blend 1 for all)" in found.out
    result = json.loads((out / "result.json").read_text())
    assert result["blend"] == 0.25
    # Steps of 1 are coarse beside a sigma of 0.4.
    assert nib.load(out / "denoised.nii.gz").get_data_dtype() == np.float32
    assert any("stored as float32" in note for note in result["notes"])


def test_a_scan_unlike_the_training_scans_is_said(medinr, head, monkeypatch, tmp_path):
    monkeypatch.setattr("medinr.jobs.scan.judge.unlike_training", lambda *_: "the scan looks unlike")
    found = medinr("denoise", head, "--out", tmp_path / "out", "--debug")
    assert "Warning: the scan looks unlike\n" in found.out
    assert json.loads((tmp_path / "out" / "result.json").read_text())["blend"] == 1.0


def test_a_map_of_sigma_is_written_where_it_varies(medinr, head, monkeypatch, tmp_path):
    scan = read_nifti(head)
    varying = uniform_filter(scan.array, 5) / 40
    monkeypatch.setattr("medinr.jobs.scan.noise._found", lambda *_: ScanNoise("rician", 9.0, sigma_map=varying))
    assert medinr("denoise", head, "--out", tmp_path / "out", "--debug").code == 0
    np.testing.assert_array_equal(read_nifti(tmp_path / "out" / "noise_sigma.nii.gz", modality="OT").array, varying)


def test_refusals_come_before_anything_is_computed(medinr, made_up, head, synthetic, tmp_path):
    scan = read_nifti(head)
    labels = write_nifti(scan.with_array(100 * np.rint(scan.array / 200)), tmp_path / "x_dseg.nii.gz")
    nan = write_nifti(scan.with_array(scan.array + np.float32(np.nan)), tmp_path / "nan.nii.gz")
    zero = write_nifti(scan.with_array(0 * scan.array), tmp_path / "zero.nii.gz")
    other = write_nifti(scan.select([0, 2]), tmp_path / "other.nii.gz")
    colour = np.zeros((20, 24, 9), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "colour.nii.gz")
    (tmp_path / "file").touch()
    for arguments, words in (
        ((labels,), "label map"),
        ((nan,), "NaN"),
        ((zero,), "every voxel is zero"),
        ((tmp_path / "colour.nii.gz",), "colours"),
        ((tmp_path / "none.nii.gz",), "no such"),
        ((head, "--mask", other), "--mask: it has"),
        ((head, "--sigma", "0"), "finite number above 0"),
        ((head, "--sigma", other), "--sigma: it has"),
        ((head, "--sigma", "3", "--noise-scan", other), "not by both"),
        ((head, "--method", "magic"), "no method 'magic'"),
        ((head, "--model", "chest_ct"), "was trained on CT"),
        ((head, "--blend", "2"), "number from 0 to 1"),
        ((head, "--out", tmp_path / "file" / "below"), "nothing can be written"),
    ):
        found = medinr("denoise", "--out", tmp_path / "out", *arguments)
        assert found.code == 2, (arguments, found.err)
        assert words in found.err, (words, found.err)
        assert "Traceback" not in found.err
    assert made_up == []
    assert not (tmp_path / "out").exists()
    assert medinr("denoise", labels, "--force", "--out", tmp_path / "out").code == 0
    assert any("label map" in words for words in json.loads((tmp_path / "out/result.json").read_text())["warnings"])


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="no permissions of this kind")
def test_outputs_of_a_failed_run_are_absent(medinr, head, monkeypatch, tmp_path):
    def broken(*_, **__):
        raise RuntimeError("power cut")

    monkeypatch.setattr("medinr.jobs.scan.write_denoised.write_result", broken)
    assert medinr("denoise", head, "--out", tmp_path / "out").code == 1
    assert not (tmp_path / "out" / "result.json").exists()
    assert list((tmp_path / "out" / "work").iterdir())


def test_help_says_what_a_learned_prior_can_do(medinr):
    found = medinr("denoise", "--help")
    assert found.code == 0
    assert "can remove small structure, or invent it" in re.sub(r"\s+", " ", found.out)


@pytest.fixture
def denoised_head(medinr, head, tmp_path):
    assert medinr("denoise", head, "--out", tmp_path / "once").code == 0
    return tmp_path / "once" / "denoised.nii.gz"


def test_what_was_denoised_already_is_hardly_changed(medinr, denoised_head, tmp_path):
    said = nib.load(denoised_head).header["descrip"].item().decode()
    assert re.fullmatch(r"medinr \S+, denoise", said)
    found = medinr("denoise", denoised_head, "--out", tmp_path / "twice", "--debug")
    assert found.code == 0, found.err
    assert "Warning: the scan was denoised by medinr already" in found.out
    assert "25 % of the effect is applied (--blend 1 for all)" in found.out
    result = json.loads((tmp_path / "twice" / "result.json").read_text())
    assert result["blend"] == 0.25
    assert result["noise"]["reliable"] is False
    once, twice = (read_nifti(path).array for path in (denoised_head, tmp_path / "twice" / "denoised.nii.gz"))
    tissue = twice > 0
    np.testing.assert_array_equal(twice[tissue], once[tissue] - 1)


@pytest.mark.parametrize("option", [("--sigma", "11.5"), ("--force",), ("--blend", "1")])
def test_all_of_the_effect_is_for_who_asks_for_it(medinr, denoised_head, tmp_path, option):
    found = medinr("denoise", denoised_head, "--out", tmp_path / "twice", *option, "--debug")
    assert found.code == 0, found.err
    assert "the scan was denoised by medinr already" in found.out
    assert json.loads((tmp_path / "twice" / "result.json").read_text())["blend"] == 1.0


def test_a_derived_series_is_known_again(medinr, synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "series", synthetic.phantom((4, 24, 20), "CT"))
    for options in ((), ("--deidentify",)):
        once, twice = tmp_path / f"once{len(options)}", tmp_path / f"twice{len(options)}"
        found = medinr("denoise", tmp_path / "series", "--out", once, *options, "--debug")
        assert found.code == 0, found.err
        assert "already" not in found.out
        found = medinr("denoise", once / "dicom", "--out", twice, "--debug")
        assert "Warning: the scan was denoised by medinr already" in found.out
        assert json.loads((twice / "result.json").read_text())["blend"] == 0.25
