"""`medinr reconstruct --prior` and `reconstruct-simulated --prior`: auxiliary scans beside the measurement."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from medinr.io.nifti import read_nifti, write_nifti
from medinr.jobs.reconstruct.auxiliary import LEAST_GAIN_DB, AuxiliaryScans
from medinr.priors.auxiliary_scan import AuxiliaryScanPrior

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture
def auxiliary_scan(synthetic, scans, tmp_path):
    """The same phantom as a DICOM series, a few millimetres away."""
    scan = read_nifti(scans["kspace"], modality="MR")
    affine = scan.affine.copy()
    affine[:3, 3] += 1.5, -1.0, 0.5
    folder = tmp_path / "auxiliary"
    synthetic.write_dicom_series(folder, replace(scan, affine=affine))
    return folder


def result(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("plug-and-play", ()),
        ("plug-and-play", ("--set", "multi_slice=always")),
        ("inr", ("--set", "network.shared_trunk=auto")),
        ("inr", ("--set", "network.shared_trunk=never")),
    ],
)
def test_a_result_says_what_became_of_the_auxiliary_scan(
    reconstruct, synthetic, auxiliary_scan, tmp_path, method, more
):
    slices = "0:4" if "multi_slice=always" in more else "1:3"
    found = reconstruct("kspace", tmp_path / "out", "--prior", auxiliary_scan, *more, slices=slices, method=method)
    assert found.code == 0
    facts = result(tmp_path / "out")["auxiliary_scans"]
    (scan,) = facts["scans"]
    assert scan["registration"]["millimetres"] < 15
    assert scan["registration"]["overlap"] >= 0.5
    assert facts["used"] is (facts["held_out_gain_db"] > LEAST_GAIN_DB)
    assert facts["trials"] in (2, 4)
    assert len(scan["sha256"]) == 64
    assert "Auxiliary scan moved by" in found.out
    for kept in result(tmp_path / "out")["slices"]:
        agreement = kept["auxiliary_scan_agreement"]
        assert (agreement is not None) is facts["used"]
        assert agreement is None or 0 <= agreement <= 1
    written = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    for secret in (synthetic.PATIENT_NAME, synthetic.PATIENT_ID, synthetic.BIRTH_DATE):
        assert not any(secret.encode() in content for content in written)


def test_slices_of_air_in_the_auxiliary_scan_do_no_harm(reconstruct, auxiliary_scan, scans, tmp_path):
    scan = read_nifti(scans["kspace"], modality="MR")
    air = np.zeros_like(scan.array[:2])
    affine = scan.affine.copy()
    affine[:3, 3] -= 2 * affine[:3, 2]
    taller = replace(scan, array=np.concatenate([air, scan.array]), affine=affine)
    path = write_nifti(taller, tmp_path / "taller.nii.gz")
    assert reconstruct("kspace", tmp_path / "out", "--prior", path).code == 0
    assert result(tmp_path / "out")["auxiliary_scans"]["scans"][0]["registration"]["millimetres"] < 15


@pytest.mark.parametrize(
    ("gain", "trials", "used"), [(1.6, 2, True), (1.0, 4, True), (0.5, 4, False), (-0.1, 2, False)]
)
def test_when_the_first_trials_agree_no_more_are_made(
    reconstruct, auxiliary_scan, monkeypatch, tmp_path, gain, trials, used
):
    monkeypatch.setattr("medinr.jobs.reconstruct.auxiliary.gain_db", lambda *_: gain)
    assert reconstruct("kspace", tmp_path / "out", "--prior", auxiliary_scan).code == 0
    facts = result(tmp_path / "out")["auxiliary_scans"]
    assert (facts["trials"], facts["used"]) == (trials, used)


def test_several_scans_of_one_person_are_used_together(reconstruct, auxiliary_scan, scans, monkeypatch, tmp_path):
    """The second one, of another contrast, is registered to the first and used at the place where that lies."""
    scan = read_nifti(scans["kspace"], modality="MR")
    affine = scan.affine.copy()
    affine[:3, 3] += -3.0, 2.0, 0.0
    other = replace(scan, array=np.sqrt(scan.array * scan.array.max()).astype(np.float32))
    path = write_nifti(replace(other, affine=affine), tmp_path / "other.nii.gz")
    seen = []

    def spied(prior, auxiliary, through):
        seen.append(auxiliary)
        return AuxiliaryScanPrior(prior, auxiliary, through)

    monkeypatch.setattr("medinr.jobs.reconstruct.auxiliary.AuxiliaryScanPrior", spied)
    monkeypatch.setattr(AuxiliaryScans, "agreement", lambda *_: None)
    found = reconstruct("kspace", tmp_path / "out", "--prior", auxiliary_scan, "--prior", path)
    assert found.code == 0, found.err
    assert "degrees, and 1 more beside it; " in found.out
    first, second = (kept["registration"] for kept in result(tmp_path / "out")["auxiliary_scans"]["scans"])
    # From one scan to the other: what was added above, and in the fixture.
    assert second["millimetres"] == pytest.approx(np.linalg.norm([-4.5, 3.0, -0.5]), abs=1.0)
    assert first["millimetres"] < 15
    for auxiliary in seen:
        one, two = auxiliary.flatten(1)
        body = one > 0.1
        assert float(torch.corrcoef(torch.stack([one[body].sqrt(), two[body]]))[0, 1]) > 0.95


def test_an_auxiliary_scan_that_does_not_help_leaves_no_trace(reconstruct, auxiliary_scan, monkeypatch, tmp_path):
    monkeypatch.setattr("medinr.jobs.reconstruct.auxiliary.gain_db", lambda *_: -0.5)
    assert reconstruct("kspace", tmp_path / "with", "--prior", auxiliary_scan).code == 0
    assert reconstruct("kspace", tmp_path / "without").code == 0
    one, other = (read_nifti(tmp_path / name / "reconstruction.nii.gz").array for name in ("with", "without"))
    np.testing.assert_array_equal(one, other)
    assert result(tmp_path / "without")["auxiliary_scans"] is None
    assert result(tmp_path / "with")["auxiliary_scans"]["used"] is False


def test_slices_without_the_auxiliary_scan_are_not_taken_for_slices_with_it(
    reconstruct, auxiliary_scan, monkeypatch, tmp_path
):
    monkeypatch.setattr("medinr.jobs.reconstruct.auxiliary.gain_db", lambda *_: 1.0)
    assert reconstruct("kspace", tmp_path / "out").code == 0
    before = read_nifti(tmp_path / "out" / "reconstruction.nii.gz").array
    (tmp_path / "out" / "result.json").unlink()
    assert reconstruct("kspace", tmp_path / "out", "--prior", auxiliary_scan).code == 0
    assert not np.array_equal(before, read_nifti(tmp_path / "out" / "reconstruction.nii.gz").array)


def test_what_cannot_help_is_refused_in_words(medinr, scans, models, auxiliary_scan, tmp_path):
    def reconstruct(task, out, *more):
        model = models["CT" if task == "ct" else "MR"]
        return medinr(
            "reconstruct-simulated", scans[task], "--task", task, "--model", model, "--slices", "1", "--out", out, *more
        )

    found = reconstruct("ct", tmp_path / "ct", "--prior", auxiliary_scan)
    assert found.code == 2
    assert "--prior is for MR; this measurement is CT" in found.err
    found = reconstruct("kspace", tmp_path / "mr", "--prior", scans["ct"])
    assert found.code == 2
    assert "the DICOM header has CT" in found.err
    found = reconstruct("kspace", tmp_path / "mr", "--prior", tmp_path / "nowhere.nii.gz")
    assert found.code == 2
    assert "no such file" in found.err
    whole = read_nifti(scans["kspace"], modality="MR")
    write_nifti(replace(whole, array=np.ascontiguousarray(whole.array[:, :8, :8])), tmp_path / "corner.nii.gz")
    found = reconstruct("kspace", tmp_path / "mr", "--prior", tmp_path / "corner.nii.gz")
    assert found.code == 2
    assert "Is it of the same part of the body?" in found.err
    command = (
        "reconstruct-simulated",
        scans["kspace"],
        "--model",
        "random",
        "--slices",
        "1",
        "--out",
        tmp_path / "random",
    )
    for method in ("plug-and-play", "inr"):
        found = medinr(*command, "--method", method, "--prior", auxiliary_scan)
        assert found.code == 2
        assert f"The model 'random' has no denoiser, and {method} needs one" in found.err
    found = reconstruct("kspace", tmp_path / "tv", "--method", "tv", "--prior", auxiliary_scan)
    assert found.code == 2
    assert "--prior is for plug-and-play and inr; method tv has no use for it" in found.err
    alone = ("network.image_domain.passes=0", "network.refinement_iterations=0", "network.steps=2")
    words = [word for setting in alone for word in ("--set", setting)]
    found = reconstruct("kspace", tmp_path / "steps", "--method", "inr", *words, "--prior", auxiliary_scan)
    assert found.code == 2
    assert "--prior is of no use when a network is fitted in the measurement domain alone" in found.err


def test_denoising_and_super_resolution_use_it_too(reconstruct, auxiliary_scan, tmp_path):
    for task in ("denoise", "superres"):
        assert reconstruct(task, tmp_path / task, "--prior", auxiliary_scan).code == 0
        assert result(tmp_path / task)["auxiliary_scans"]["trials"] in (2, 4)
