import csv
import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from medinr.pipelines import solve_slices as pipeline

from medinr.data.acquisition import operator_for
from medinr.io.dicom import read_dicom_series
from medinr.io.grid import onto_grid
from medinr.io.measurement import read_measurement
from medinr.io.nifti import read_nifti
from medinr.io.scan import read_scan
from medinr.operators import FanBeam

SWIFT = pytest.mark.usefixtures("without_figures")

TASKS = ("denoise", "superres", "kspace", "ct")
COMMON = {"reconstruction.nii.gz", "result.json", "convergence.csv", "measurement.safetensors", "work"}


def _result(out: Path) -> dict:
    return json.loads((out / "result.json").read_text())


def _count_fits(monkeypatch, stop_at: int | None = None) -> list[int]:
    """Count the fits from here on; the one numbered `stop_at` is interrupted."""
    calls: list[int] = []
    real = pipeline.fit

    def counted(*arguments, **options):
        calls.append(len(calls))
        if len(calls) - 1 == stop_at:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(pipeline, "fit", counted)
    return calls


@pytest.mark.parametrize("task", TASKS)
def test_every_task_leaves_its_files_and_says_what_it_did(reconstruct, scans, tmp_path, task):
    out = tmp_path / "out"
    found = reconstruct(task, out, slices="1:3")
    assert found.code == 0
    figures = {f"{kind}_{n:04d}.png" for kind in ("comparison", "convergence") for n in (1, 2)}
    dicom = {"dicom"} if task == "ct" else set()
    assert {path.name for path in out.iterdir()} == COMMON | figures | dicom

    source = read_scan(scans[task])
    chosen = source.select([1, 2])
    back = read_nifti(out / "reconstruction.nii.gz", modality=source.modality)
    assert back.shape == (2, 24, 20)
    np.testing.assert_allclose(back.affine, chosen.affine, atol=1e-4)
    assert nib.load(out / "reconstruction.nii.gz").header["sform_code"] > 0
    assert np.isfinite(back.array).all()

    result = _result(out)
    assert result["task"] == task
    assert result["settings"]["fit"]["imitation"]["passes"] == 1.0
    assert result["settings"]["simulation"]["seed"] == result["measurement"]["seed"] == 0
    assert result["source_sha256"] == source.provenance.sha256
    assert {"medinr", "torch", "numpy", "python", "threads"} <= result["versions"].keys()
    assert set(result["outputs"]) == {"reconstruction.nii.gz", "convergence.csv"} | figures | dicom
    assert result["seconds"] > 0
    assert [facts["slice"] for facts in result["slices"]] == [1, 2]
    for facts in result["slices"]:
        assert set(facts["seconds"]) == {"input", "TV", "medinr"}
        assert "steps" in facts["reason"]
        assert facts["whitened_residual"] > 0
        assert facts["reason"] in found.out
    assert "slice 1" in found.out

    rows = list(csv.DictReader((out / "convergence.csv").read_text().splitlines()))
    assert {row["slice"] for row in rows} == {"1", "2"}
    assert all(float(row["seconds"]) >= 0 for row in rows)


@SWIFT
def test_images_of_a_quick_fit_are_no_worse_than_nothing(reconstruct, scans, tmp_path):
    """The images are of the scan, the right way round and in its units."""
    for task in TASKS:
        assert reconstruct(task, tmp_path / task, slices="1:3").code == 0
        truth = read_scan(scans[task]).select([1, 2]).array
        found = read_nifti(tmp_path / task / "reconstruction.nii.gz", modality="MR").array
        correlation = np.corrcoef(truth.ravel(), found.ravel())[0, 1]
        assert correlation > 0.85, task
        for flipped in (truth[:, ::-1], truth[:, :, ::-1], truth[::-1, ::-1, ::-1]):
            assert np.corrcoef(flipped.ravel(), found.ravel())[0, 1] < correlation - 0.003, task
        if task == "ct":
            body = truth > -500
            assert np.median(found[body]) == pytest.approx(np.median(truth[body]), abs=200)
            assert np.median(found[~body]) < -700
        else:
            assert found[truth > 300].mean() == pytest.approx(truth[truth > 300].mean(), rel=0.25)
            assert found.min() >= 0


@SWIFT
def test_derived_dicom_lies_on_its_source_and_is_in_hounsfield_units(reconstruct, scans, tmp_path):
    assert reconstruct("ct", tmp_path, slices="0:3").code == 0
    source, derived = read_dicom_series(scans["ct"]), read_dicom_series(tmp_path / "dicom")
    assert derived.unit == "HU"
    assert derived.shape == source.shape
    z, y, x = (size - 1 for size in source.shape)
    corners = np.array(np.meshgrid((0, x), (0, y), (0, z), (1,))).reshape(4, -1)
    np.testing.assert_allclose(derived.affine @ corners, source.affine @ corners, atol=1e-3)
    assert derived.provenance.frame_of_reference == source.provenance.frame_of_reference
    nifti = read_nifti(tmp_path / "reconstruction.nii.gz", modality="CT")
    placed = onto_grid(nifti, derived.affine, derived.shape, "the DICOM series")
    np.testing.assert_allclose(derived.array, placed.array, atol=0.5)


@SWIFT
def test_part_of_a_series_becomes_a_series_of_that_part(reconstruct, scans, tmp_path):
    assert reconstruct("ct", tmp_path, slices="0,2").code == 0
    derived = read_dicom_series(tmp_path / "dicom")
    np.testing.assert_allclose(derived.affine, read_dicom_series(scans["ct"]).select([0, 2]).affine, atol=1e-3)


def test_the_patient_is_named_nowhere_but_in_the_derived_dicom(reconstruct, synthetic, tmp_path):
    found = reconstruct("ct", tmp_path, slices="0:3")
    assert found.code == 0
    secrets = [text.encode() for text in (synthetic.PATIENT_NAME, "Musterfrau", "Erika", synthetic.PATIENT_ID)]
    secrets.append(synthetic.BIRTH_DATE.encode())
    spoken = (found.out + found.err).encode()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "dicom"]
    assert len(files) >= 8
    for content in (spoken, *(path.read_bytes() for path in files)):
        assert not any(secret in content for secret in secrets)
    # The series that goes back to the archive does name its patient, or it would be nobody's.
    assert secrets[0] in (tmp_path / "dicom" / "0001.dcm").read_bytes()


@SWIFT
def test_a_finished_result_is_refused_and_replaced_when_asked(reconstruct, medinr, scans, trunks, tmp_path):
    assert reconstruct("denoise", tmp_path).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = medinr("reconstruct", scans["denoise"], "--task", "denoise", "--trunk", trunks["MR"], "--out", tmp_path)
    assert again.code == 2
    assert "holds a finished result" in again.err
    assert "--overwrite" in again.err
    assert {path: path.read_bytes() for path in before} == before
    assert reconstruct("denoise", tmp_path, "--overwrite", "--set", "simulation.seed=5").code == 0
    assert _result(tmp_path)["measurement"]["seed"] == 5


@SWIFT
def test_an_interrupted_run_continues_and_ends_the_same(reconstruct, monkeypatch, tmp_path):
    alone = ("--set", "joint=never")
    assert reconstruct("kspace", tmp_path / "straight", *alone, slices="0:4").code == 0
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        calls = _count_fits(patch, stop_at=2)
        stopped = reconstruct("kspace", out, *alone, slices="0:4")
    assert stopped.code == 130
    assert "Run the same command again to continue" in stopped.err
    assert len(calls) == 3
    assert not (out / "result.json").exists()
    assert not (out / "reconstruction.nii.gz").exists()
    stored = {path: path.stat().st_mtime_ns for path in (out / "work").iterdir()}
    assert len(stored) == 2
    with monkeypatch.context() as patch:
        calls = _count_fits(patch)
        assert reconstruct("kspace", out, *alone, slices="0:4").code == 0
    assert len(calls) == 2
    assert {path: path.stat().st_mtime_ns for path in stored} == stored
    one, other = (read_nifti(folder / "reconstruction.nii.gz").array for folder in (out, tmp_path / "straight"))
    np.testing.assert_array_equal(one, other)


@SWIFT
@pytest.mark.parametrize("change", ["fit.seed=1", "simulation.seed=1", "fit.imitation.passes=2", "peer.tv_weight=2.0"])
def test_slices_of_other_settings_are_not_reused(reconstruct, monkeypatch, tmp_path, change):
    assert reconstruct("denoise", tmp_path).code == 0
    (tmp_path / "result.json").unlink()
    calls = _count_fits(monkeypatch)
    assert reconstruct("denoise", tmp_path).code == 0
    assert not calls
    (tmp_path / "result.json").unlink()
    assert reconstruct("denoise", tmp_path, "--set", change).code == 0
    assert len(calls) == 1


@SWIFT
def test_slices_of_a_retrained_trunk_are_not_reused(reconstruct, tiny_trunk, monkeypatch, tmp_path):
    trunk = tiny_trunk(tmp_path / "mine.safetensors", "MR")
    assert reconstruct("denoise", tmp_path / "out", "--trunk", trunk).code == 0
    (tmp_path / "out" / "result.json").unlink()
    tiny_trunk(tmp_path / "mine.safetensors", "MR", seed=1)
    calls = _count_fits(monkeypatch)
    assert reconstruct("denoise", tmp_path / "out", "--trunk", trunk).code == 0
    assert len(calls) == 1


@SWIFT
def test_a_damaged_slice_is_made_again(reconstruct, monkeypatch, tmp_path):
    assert reconstruct("denoise", tmp_path).code == 0
    wanted = read_nifti(tmp_path / "reconstruction.nii.gz").array
    (tmp_path / "result.json").unlink()
    (stored,) = (tmp_path / "work").iterdir()
    stored.write_bytes(stored.read_bytes()[:-7])
    calls = _count_fits(monkeypatch)
    assert reconstruct("denoise", tmp_path).code == 0
    assert len(calls) == 1
    np.testing.assert_array_equal(read_nifti(tmp_path / "reconstruction.nii.gz").array, wanted)


@SWIFT
@pytest.mark.parametrize("task", TASKS)
def test_a_measurement_file_replays_to_the_same_images(reconstruct, medinr, scans, tmp_path, task):
    assert reconstruct(task, tmp_path / "one", slices="1:3").code == 0
    measured = tmp_path / "m.safetensors"
    simulated = medinr("simulate", scans[task], "--task", task, "--slices", "1:3", "--out", measured, "--debug")
    assert simulated.code == 0
    first, second = (read_measurement(path) for path in (tmp_path / "one" / "measurement.safetensors", measured))
    assert np.array_equal(first.data.numpy(), second.data.numpy())
    assert first.parameters == second.parameters
    assert reconstruct(task, tmp_path / "two", source=measured).code == 0
    one, two = (read_nifti(tmp_path / name / "reconstruction.nii.gz", modality="MR") for name in ("one", "two"))
    np.testing.assert_array_equal(onto_grid(two, one.affine, one.shape, "the first").array, one.array)
    results = [_result(tmp_path / name) for name in ("one", "two")]
    assert results[0]["source_sha256"] == results[1]["source_sha256"]
    assert [s["whitened_residual"] for s in results[0]["slices"]] == [
        s["whitened_residual"] for s in results[1]["slices"]
    ]


@SWIFT
def test_a_measurement_of_another_task_is_refused(medinr, scans, trunks, tmp_path):
    measured = tmp_path / "m.safetensors"
    assert medinr("simulate", scans["denoise"], "--task", "denoise", "--slices", "1", "--out", measured).code == 0
    found = medinr("reconstruct", measured, "--task", "kspace", "--trunk", trunks["MR"], "--out", tmp_path / "out")
    assert found.code == 2
    assert "--task denoise" in found.err


@SWIFT
def test_random_weights_need_no_trunk(medinr, scans, tmp_path):
    command = ("reconstruct", scans["denoise"], "--task", "denoise", "--trunk", "random", "--slices", "1")
    found = medinr(*command, "--set", "fit.steps=2", "--set", "peer.tv_weight=0", "--out", tmp_path, "--debug")
    assert found.code == 0
    assert _result(tmp_path)["trunk"] == {"name": "random", "subjects": []}
    assert set(_result(tmp_path)["slices"][0]["seconds"]) == {"input", "medinr"}


@SWIFT
def test_the_published_recipe_is_a_configuration_like_any_other(medinr, scans, trunks, tmp_path):
    command = ("reconstruct", scans["kspace"], "--task", "published_recipe", "--trunk", trunks["MR"], "--slices", "1")
    found = medinr(*command, "--set", "fit.steps=4", "--set", "peer.iterations=3", "--out", tmp_path, "--debug")
    assert found.code == 0
    assert _result(tmp_path)["slices"][0]["reason"] == "all 4 steps were done"


@SWIFT
def test_a_simulated_measurement_says_how_and_keeps_the_source_out(medinr, scans, tmp_path):
    measured = tmp_path / "m.safetensors"
    found = medinr("simulate", scans["ct"], "--task", "ct", "--out", measured, "--set", "simulation.views=7", "--debug")
    assert found.code == 0
    assert "Measurement ct, 3 slices, data (3, 7, " in found.out
    measurement = read_measurement(measured)
    assert measurement.parameters["settings"]["views"] == 7
    assert measurement.provenance.sha256 == read_scan(scans["ct"]).provenance.sha256
    digest = hashlib.sha256(measured.read_bytes()).hexdigest()
    refused = medinr("simulate", scans["ct"], "--task", "ct", "--out", measured)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert hashlib.sha256(measured.read_bytes()).hexdigest() == digest


@SWIFT
def test_a_fan_is_measured_replayed_and_reconstructed(medinr, scans, reconstruct, tmp_path):
    fan = ("--set", "simulation.geometry=fan", "--set", "simulation.views=40")
    measured = tmp_path / "fan.safetensors"
    assert medinr("simulate", scans["ct"], "--task", "ct", "--out", measured, "--debug", *fan).code == 0
    measurement = read_measurement(measured)
    assert measurement.parameters["geometry"] == "fan"
    assert measurement.parameters["source_origin"] == 541.0
    projector = operator_for(measurement)
    assert isinstance(projector, FanBeam)
    # Replayed from the file alone, with a configuration that says nothing of a fan, it is the same.
    replayed, direct = tmp_path / "replayed", tmp_path / "direct"
    assert reconstruct("ct", replayed, source=measured).code == 0
    assert reconstruct("ct", direct, *fan, slices="0:3").code == 0
    images = [read_nifti(folder / "reconstruction.nii.gz", modality="CT").array for folder in (replayed, direct)]
    np.testing.assert_array_equal(*images)
