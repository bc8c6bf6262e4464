"""`medinr superres`: grids, refusals and outputs; the prior is made up here: cubic splines and one added."""

import json
import re
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from medinr.data.resample import continued_onto
from medinr.io.dicom.read import read_dicom_series
from medinr.io.nifti import read_nifti, write_nifti
from medinr.jobs.scan.methods import SHARPENERS
from medinr.noise.scan_noise import ScanNoise


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    """Adds 1 to cubic splines; the thicknesses that it was told."""
    told = []

    def sharpen(volume, grid, noise, model, progress=None, unfinished=None):
        told.append(grid.thickness)
        plain = continued_onto(volume, grid.target.affine, grid.target.shape)
        if progress is not None:
            progress(3, 3)
        return SimpleNamespace(volume=plain.with_array(plain.array + np.float32(1)), residual=1.04)

    def noise(source, *_):
        kind = "gaussian" if source.first.modality == "CT" else "rician"
        return ScanNoise(kind, 11.5, how="made up for a test")

    monkeypatch.setitem(SHARPENERS, "plug-and-play", sharpen)
    monkeypatch.setattr("medinr.jobs.scan.judge.unlike_training", lambda *_: "")
    monkeypatch.setattr("medinr.jobs.scan.noise._found", noise)
    monkeypatch.setattr("medinr.solve.sharpen_time._SECONDS", 0.01)
    return told


@pytest.fixture
def head(synthetic, tmp_path):
    scan = synthetic.phantom((9, 24, 20), geometry=synthetic.affine((1.0, 1.0, 3.0), angles=(10.0, 5.0, 0.0)))
    nib.save(nib.Nifti1Image(scan.array.T.astype(np.int16), scan.affine), tmp_path / "head_T2w.nii.gz")
    return tmp_path / "head_T2w.nii.gz"


def _ends(affine, shape):
    """Outer faces of the field of view."""
    x, y, z = shape[::-1]
    return affine @ np.array([[-0.5, x - 0.5], [-0.5, y - 0.5], [-0.5, z - 0.5], [1, 1]])


@pytest.mark.parametrize(
    ("option", "shape", "spacing"),
    [
        (("--spacing", "1"), (27, 24, 20), (1, 1, 1)),
        (("--factor", "2"), (18, 48, 40), (0.5, 0.5, 1.5)),
        (("--factor", "1,1,3"), (27, 24, 20), (1, 1, 1)),
        (("--spacing", "0.5,0.5,3"), (9, 48, 40), (0.5, 0.5, 3)),
    ],
)
def test_finer_grids_have_the_same_field_of_view(medinr, head, tmp_path, option, shape, spacing):
    out = tmp_path / "out"
    found = medinr("superres", head, *option, "--out", out, "--debug")
    assert found.code == 0, found.err
    result, scan = read_nifti(out / "sharpened.nii.gz"), read_nifti(head)
    assert result.shape == shape
    assert result.spacing == pytest.approx(spacing, abs=1e-5)
    np.testing.assert_allclose(_ends(result.affine, result.shape), _ends(scan.affine, scan.shape), atol=1e-4)
    assert nib.load(out / "sharpened.nii.gz").get_data_dtype() == np.int16
    facts = json.loads((out / "result.json").read_text())
    assert facts["residual_over_sigma"] == [1.04]
    assert facts["result_grid"]["shape_zyx"] == list(shape)
    assert "before_after.png" in facts["outputs"]
    assert any("slice thickness is not known" in note for note in facts["notes"])
    assert "slice thickness is not known" in found.out


def test_the_grid_of_another_scan_and_a_weaker_effect(medinr, head, synthetic, tmp_path):
    scan = read_nifti(head)
    like = synthetic.phantom((16, 12, 10), geometry=scan.affine @ np.diag([1.5, 1.5, 0.4, 1]))
    write_nifti(like, tmp_path / "other.nii.gz")
    out = tmp_path / "out"
    command = ("superres", head, "--like", tmp_path / "other.nii.gz", "--blend", "0.5", "--out", out, "--debug")
    assert medinr(*command).code == 0
    result = read_nifti(out / "sharpened.nii.gz")
    np.testing.assert_allclose(result.affine, like.affine, atol=1e-4)
    plain = continued_onto(scan, result.affine, like.shape).array
    tissue = plain > 300
    np.testing.assert_allclose(result.array[tissue], plain[tissue] + 0.5, atol=0.6)
    assert tissue[0].any()  # the outermost slice is not black
    assert tissue[-1].any()


def test_the_thickness_is_the_users_or_the_headers(medinr, made_up, head, synthetic, tmp_path):
    command = ("superres", head, "--spacing", "1", "--out", tmp_path / "out", "--overwrite")
    assert medinr(*command, "--slice-thickness", "2.5").code == 0
    head.with_name("head_T2w.json").write_text('{"SliceThickness": 2.8}')
    assert medinr(*command).code == 0
    assert sorted(set(made_up)) == [2.5, 2.8]
    # A thickness of the slices as acquired is not that of the result's.
    assert not (tmp_path / "out" / "sharpened.json").exists()


def test_a_dicom_series_gives_a_derived_one(medinr, synthetic, tmp_path):
    chest = synthetic.phantom((9, 24, 20), "CT", synthetic.affine((0.9, 0.8, 2.5), angles=(0.0, 0.0, 0.0)))
    synthetic.write_dicom_series(tmp_path / "series", chest)
    out = tmp_path / "out"
    found = medinr("superres", tmp_path / "series", "--factor", "1,1,2", "--out", out, "--debug")
    assert found.code == 0, found.err
    source, result = read_dicom_series(tmp_path / "series"), read_dicom_series(out / "dicom")
    assert result.shape == (18, 24, 20)
    np.testing.assert_allclose(result.spacing, (0.9, 0.8, 1.25), atol=1e-3)
    np.testing.assert_allclose(_ends(result.affine, result.shape), _ends(source.affine, source.shape), atol=2e-3)


def test_every_volume_of_a_series(medinr, synthetic, tmp_path):
    scan = synthetic.phantom((4, 20, 18))
    nib.save(nib.Nifti1Image(np.stack([scan.array.T] * 3, -1), scan.affine), tmp_path / "rest_bold.nii.gz")
    found = medinr("superres", tmp_path / "rest_bold.nii.gz", "--factor", "1,1,2", "--out", tmp_path / "out", "--debug")
    assert found.code == 0, found.err
    assert nib.load(tmp_path / "out" / "sharpened.nii.gz").shape == (18, 20, 8, 3)
    assert len(json.loads((tmp_path / "out" / "result.json").read_text())["residual_over_sigma"]) == 3


def test_refusals(medinr, made_up, head, synthetic, tmp_path):
    scan = read_nifti(head)
    one = write_nifti(scan.select([4]), tmp_path / "one_T2w.nii.gz")
    far = synthetic.phantom((3, 8, 8), geometry=synthetic.affine(origin=(900.0, 0.0, 0.0)))
    write_nifti(far, tmp_path / "far.nii.gz")
    for arguments, words in (
        ((head,), "one of the arguments --spacing --factor --like is required"),
        ((head, "--spacing", "1", "--factor", "2"), "not allowed with"),
        ((head, "--spacing", "1,2"), "neither one number nor three"),
        ((head, "--factor", "0.5"), "not a factor of 1 to 20"),
        ((head, "--spacing", "4"), "nowhere finer"),
        ((one, "--spacing", "1"), "one slice"),
        ((one, "--factor", "2"), "one slice"),
        ((head, "--spacing", "1", "--slice-thickness", "0.2"), "it should be between 0.3 and 30 mm"),
        ((head, "--like", tmp_path / "far.nii.gz"), "do not overlap"),
        ((head, "--spacing", "0.01"), "more than 20 times finer"),
        ((head, "--spacing", "1", "--method", "magic"), "no method 'magic'"),
    ):
        found = medinr("superres", "--out", tmp_path / "out", *arguments)
        assert found.code == 2, (arguments, found.err)
        assert words in found.err, (words, found.err)
    assert made_up == []
    assert not (tmp_path / "out").exists()
    # Within the slice, one slice will do.
    assert medinr("superres", one, "--factor", "2,2,1", "--out", tmp_path / "out", "--debug").code == 0
    assert read_nifti(tmp_path / "out" / "sharpened.nii.gz").shape == (1, 48, 40)


def test_a_dry_run_and_help(medinr, head, tmp_path):
    found = medinr("superres", head, "--spacing", "1", "--dry-run", "--out", tmp_path / "out", "--debug")
    assert found.code == 0, found.err
    assert "to 20 x 24 pixels x 27 slices of 1.00 x 1.00 x 1.00 mm: this takes about" in found.out
    assert not (tmp_path / "out").exists()
    found = medinr("superres", "--help")
    assert "can remove small structure, or invent it" in re.sub(r"\s+", " ", found.out)


def test_a_denoised_scan_may_be_refined_in_full(medinr, head, tmp_path):
    scan = nib.load(head)
    scan.header["descrip"] = b"medinr 1.0, denoise"
    nib.save(scan, tmp_path / "denoised.nii.gz")
    found = medinr("superres", tmp_path / "denoised.nii.gz", "--spacing", "1", "--out", tmp_path / "out", "--debug")
    assert found.code == 0, found.err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["blend"] == 1.0
    assert "the scan was denoised by medinr already" in result["notes"]
    assert nib.load(tmp_path / "out" / "sharpened.nii.gz").header["descrip"].item().decode().endswith(", superres")
