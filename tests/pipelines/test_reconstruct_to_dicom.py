"""DICOM beside NIfTI: asked for before anything is computed, and never a reason to lose the result."""

import json

import numpy as np
import pydicom
import pytest

from medinr.errors import FileError
from medinr.io.nifti import read_nifti
from medinr.jobs.reconstruct import dicom_output

pytestmark = pytest.mark.usefixtures("without_figures")


def _facts(out):
    return json.loads((out / "result.json").read_text())["dicom"]


def test_the_result_says_in_what_steps_its_values_are_stored(reconstruct, tmp_path):
    assert reconstruct("ct", tmp_path / "out", slices="0:3").code == 0
    facts = _facts(tmp_path / "out")
    assert (facts["written"], facts["quantisation_step"], facts["unit"]) == (True, 1.0, "HU")
    assert not facts["deidentified"]


def test_a_nifti_source_gives_no_dicom_and_no_word_about_it(reconstruct, tmp_path):
    found = reconstruct("denoise", tmp_path / "out")
    assert found.code == 0
    assert _facts(tmp_path / "out") is None
    assert "DICOM" not in found.out + found.err


def test_a_source_that_nothing_can_be_derived_of_gives_nifti_and_says_so(reconstruct, synthetic, tmp_path):
    def without_class(dataset, _):
        del dataset.SOPClassUID

    synthetic.write_dicom_series(tmp_path / "in", synthetic.phantom((3, 24, 20), "CT"), change=without_class)
    found = reconstruct("ct", tmp_path / "out", source=tmp_path / "in", slices="0:3")
    assert found.code == 0
    assert "not written as DICOM" in " ".join((found.out + found.err).split())
    facts = _facts(tmp_path / "out")
    assert not facts["written"]
    assert "SOPClassUID (0008,0016)" in facts["reason"]
    assert not (tmp_path / "out" / "dicom").exists()
    assert read_nifti(tmp_path / "out" / "reconstruction.nii.gz").shape == (3, 24, 20)


def test_what_fails_afterwards_does_not_lose_the_result(reconstruct, monkeypatch, tmp_path):
    def fails(*_, **__):
        raise FileError("the disk is full")

    monkeypatch.setattr(dicom_output, "write_derived_series", fails)
    found = reconstruct("ct", tmp_path / "out")
    assert found.code == 0
    assert "the disk is full" in found.out + found.err
    assert _facts(tmp_path / "out") == {"written": False, "reason": "the disk is full"}
    assert (tmp_path / "out" / "reconstruction.nii.gz").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(
    medinr, models, scans, monkeypatch, tmp_path
):
    def computed(*_, **__):
        raise AssertionError("the measurement was simulated")

    monkeypatch.setattr("medinr.pipelines.reconstruct_simulated.measure", computed)
    (tmp_path / "file").write_text("not a folder")
    out = tmp_path / "file" / "out"
    found = medinr("reconstruct-simulated", scans["ct"], "--task", "ct", "--model", models["CT"], "--out", out)
    assert found.code == 2
    assert "nothing can be written there" in " ".join(found.err.split())
    assert "Traceback" not in found.err


def test_maps_of_a_dicom_source_are_parametric_maps_too(reconstruct, tmp_path):
    pytest.importorskip("highdicom")
    more = ("--uncertainty", "--set", "uncertainty.repeats=2")
    assert reconstruct("ct", tmp_path / "out", *more, slices="0:2").code == 0
    assert _facts(tmp_path / "out")["maps"] == ["uncertainty", "null_space"]
    nifti = read_nifti(tmp_path / "out" / "uncertainty.nii.gz", modality="CT")
    stored = pydicom.dcmread(tmp_path / "out" / "dicom" / "maps" / "uncertainty.dcm").pixel_array
    np.testing.assert_allclose(np.sort(stored.ravel()), np.sort(nifti.array.ravel()), rtol=1e-5, atol=1e-5)
