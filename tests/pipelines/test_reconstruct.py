import csv
import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors import safe_open

from medinr.acquisition.ways import acquisition_of
from medinr.io.dicom.read import read_dicom_series
from medinr.io.grid import onto_grid
from medinr.io.measurement import read_measurement
from medinr.io.nifti import read_nifti
from medinr.io.scan import read_scan
from medinr.jobs.reconstruct import network, solve
from medinr.jobs.simulated import SIMULATED
from medinr.operators import FanBeam

SWIFT = pytest.mark.usefixtures("without_figures")

TASKS = ("denoise", "superres", "kspace", "ct")
METHODS = ("plug-and-play", "inr")

#: Where each method solves a slice.
SOLVED = {"plug-and-play": (solve, "plug_and_play_solution"), "inr": (network, "fit")}

#: One slice after the other, each on its own.
ALONE = {"plug-and-play": ("--threads", "1"), "inr": ("--set", "network.shared_trunk=never")}

COMMON = {"reconstruction.nii.gz", "result.json", "convergence.csv", "measurement.safetensors", "work"}


def _result(out: Path) -> dict:
    return json.loads((out / "result.json").read_text())


def _count_solutions(monkeypatch, method: str = "plug-and-play", stop_at: int | None = None) -> list[int]:
    """Count the slices solved from here on; the one numbered `stop_at` is interrupted."""
    calls: list[int] = []
    module, name = SOLVED[method]
    real = getattr(module, name)

    def counted(*arguments, **options):
        calls.append(len(calls))
        if len(calls) - 1 == stop_at:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, counted)
    return calls


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_leaves_its_files_and_says_what_it_did(reconstruct, scans, tmp_path, task, method):
    out = tmp_path / "out"
    found = reconstruct(task, out, slices="1:3", method=method)
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
    assert (result["task"], result["method"]) == (task, method)
    assert result["simulated"] is True
    assert result["notes"][0] == SIMULATED
    lines = found.out.splitlines()
    assert lines[0] == lines[-1] == SIMULATED
    assert found.out.count(SIMULATED) == 2
    assert result["settings"]["plug_and_play"]["iterations"] == 2
    if method == "inr":
        assert result["settings"]["network"]["image_domain"]["passes"] == 1.0
    else:
        assert result["settings"]["network"] is None
    assert result["settings"]["simulation"]["seed"] == result["measurement"]["seed"] == 0
    assert result["source_sha256"] == source.provenance.sha256
    assert {"medinr", "torch", "numpy", "python", "threads"} <= result["versions"].keys()
    assert set(result["outputs"]) == {"reconstruction.nii.gz", "convergence.csv"} | figures | dicom
    assert result["seconds"] > 0
    assert [facts["slice"] for facts in result["slices"]] == [1, 2]
    for facts in result["slices"]:
        assert set(facts["seconds"]) == {"input", "TV", "medinr", "checks"}
        assert ("steps" if method == "inr" else "iterations of plug-and-play") in facts["reason"]
        assert facts["whitened_residual"] > 0
        assert facts["expected_residual"] is None or 0 <= facts["expected_residual"] <= 1
        assert facts["reason"] in found.out
    assert "slice 1" in found.out

    rows = list(csv.DictReader((out / "convergence.csv").read_text().splitlines()))
    assert {row["slice"] for row in rows} == {"1", "2"}
    assert {row["phase"] for row in rows} == {"image_domain" if method == "inr" else "plug_and_play"}
    assert all(float(row["seconds"]) >= 0 for row in rows)


@SWIFT
@pytest.mark.parametrize("method", METHODS)
def test_images_of_a_quick_run_are_no_worse_than_nothing(reconstruct, scans, tmp_path, method):
    """The images are of the scan, the right way round and in its units."""
    for task in TASKS:
        assert reconstruct(task, tmp_path / task, slices="1:3", method=method).code == 0
        reference = read_scan(scans[task]).select([1, 2]).array
        found = read_nifti(tmp_path / task / "reconstruction.nii.gz", modality="MR").array
        correlation = np.corrcoef(reference.ravel(), found.ravel())[0, 1]
        assert correlation > 0.85, task
        for flipped in (reference[:, ::-1], reference[:, :, ::-1], reference[::-1, ::-1, ::-1]):
            assert np.corrcoef(flipped.ravel(), found.ravel())[0, 1] < correlation - 0.003, task
        if task == "ct":
            body = reference > -500
            assert np.median(found[body]) == pytest.approx(np.median(reference[body]), abs=200)
            assert np.median(found[~body]) < -700
        else:
            assert found[reference > 300].mean() == pytest.approx(reference[reference > 300].mean(), rel=0.25)
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
def test_a_finished_result_is_refused_and_replaced_when_asked(reconstruct, medinr, scans, models, tmp_path):
    assert reconstruct("denoise", tmp_path).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = medinr(
        "reconstruct-simulated", scans["denoise"], "--task", "denoise", "--model", models["MR"], "--out", tmp_path
    )
    assert again.code == 2
    assert "holds a finished result" in again.err
    assert "--overwrite" in again.err
    assert {path: path.read_bytes() for path in before} == before
    assert reconstruct("denoise", tmp_path, "--overwrite", "--set", "simulation.seed=5").code == 0
    assert _result(tmp_path)["measurement"]["seed"] == 5


@SWIFT
@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_continues_and_ends_the_same(reconstruct, monkeypatch, tmp_path, method):
    alone = ALONE[method]
    assert reconstruct("kspace", tmp_path / "straight", *alone, slices="0:4", method=method).code == 0
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        calls = _count_solutions(patch, method, stop_at=2)
        stopped = reconstruct("kspace", out, *alone, slices="0:4", method=method)
    assert stopped.code == 130
    assert "Run the same command again to continue" in stopped.err
    # In another thread, the next one may have begun before it learned of that.
    assert len(calls) in ((3, 4) if method == "plug-and-play" else (3,))
    assert not (out / "result.json").exists()
    assert not (out / "reconstruction.nii.gz").exists()
    stored = {path: path.stat().st_mtime_ns for path in (out / "work").iterdir()}
    assert len(stored) == 2
    with monkeypatch.context() as patch:
        calls = _count_solutions(patch, method)
        assert reconstruct("kspace", out, *alone, slices="0:4", method=method).code == 0
    assert len(calls) == 2
    assert {path: path.stat().st_mtime_ns for path in stored} == stored
    one, other = (read_nifti(folder / "reconstruction.nii.gz").array for folder in (out, tmp_path / "straight"))
    np.testing.assert_array_equal(one, other)


@SWIFT
@pytest.mark.parametrize(
    ("method", "change"),
    [
        *((method, change) for method in METHODS for change in ("seed=1", "simulation.seed=1")),
        *(
            (method, change)
            for method in METHODS
            for change in ("plug_and_play.iterations=3", "total_variation.weight=2.0")
        ),
        ("inr", "network.image_domain.passes=2"),
    ],
)
def test_slices_of_other_settings_are_not_reused(reconstruct, monkeypatch, tmp_path, method, change):
    assert reconstruct("denoise", tmp_path, method=method).code == 0
    (tmp_path / "result.json").unlink()
    calls = _count_solutions(monkeypatch, method)
    assert reconstruct("denoise", tmp_path, method=method).code == 0
    assert not calls
    (tmp_path / "result.json").unlink()
    assert reconstruct("denoise", tmp_path, "--set", change, method=method).code == 0
    assert len(calls) == 1


@SWIFT
def test_slices_of_another_method_are_not_reused(reconstruct, monkeypatch, tmp_path):
    assert reconstruct("denoise", tmp_path, method="inr").code == 0
    (tmp_path / "result.json").unlink()
    calls = _count_solutions(monkeypatch)
    assert reconstruct("denoise", tmp_path).code == 0
    assert len(calls) == 1


@SWIFT
def test_slices_of_a_retrained_model_are_not_reused(reconstruct, tiny_model, monkeypatch, tmp_path):
    model = tiny_model(tmp_path / "mine.safetensors", "MR")
    assert reconstruct("denoise", tmp_path / "out", "--model", model).code == 0
    (tmp_path / "out" / "result.json").unlink()
    tiny_model(tmp_path / "mine.safetensors", "MR", seed=1)
    calls = _count_solutions(monkeypatch)
    assert reconstruct("denoise", tmp_path / "out", "--model", model).code == 0
    assert len(calls) == 1


@SWIFT
def test_a_damaged_slice_is_made_again(reconstruct, monkeypatch, tmp_path):
    assert reconstruct("denoise", tmp_path).code == 0
    wanted = read_nifti(tmp_path / "reconstruction.nii.gz").array
    (tmp_path / "result.json").unlink()
    (stored,) = (tmp_path / "work").iterdir()
    stored.write_bytes(stored.read_bytes()[:-7])
    calls = _count_solutions(monkeypatch)
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
    # What was simulated stays simulated.
    assert all(result["simulated"] and result["notes"][0] == SIMULATED for result in results)
    assert [s["whitened_residual"] for s in results[0]["slices"]] == [
        s["whitened_residual"] for s in results[1]["slices"]
    ]


@SWIFT
def test_a_measurement_of_another_task_is_refused(medinr, scans, models, tmp_path):
    measured = tmp_path / "m.safetensors"
    assert medinr("simulate", scans["denoise"], "--task", "denoise", "--slices", "1", "--out", measured).code == 0
    found = medinr("reconstruct", measured, "--task", "kspace", "--model", models["MR"], "--out", tmp_path / "out")
    assert found.code == 2
    assert "--task denoise" in found.err


@SWIFT
def test_random_weights_need_no_model(medinr, scans, tmp_path):
    command = ("reconstruct-simulated", scans["denoise"], "--task", "denoise", "--model", "random", "--slices", "1")
    command = (*command, "--method", "inr", "--set", "network.image_domain.passes=0", "--set", "network.steps=2")
    found = medinr(*command, "--set", "total_variation.weight=0", "--out", tmp_path, "--debug")
    assert found.code == 0
    assert _result(tmp_path)["model"] == {"name": "random", "subjects": []}
    assert set(_result(tmp_path)["slices"][0]["seconds"]) == {"input", "medinr", "checks"}


def test_the_published_recipe_is_a_method_like_any_other(reconstruct, tmp_path):
    assert reconstruct("kspace", tmp_path, "--set", "network.steps=4", method="strainer").code == 0
    result = _result(tmp_path)
    assert result["slices"][0]["reason"] == "all 4 steps were done"
    assert (result["method"], result["settings"]["network"]["head"]) == ("strainer", "random")
    assert "convergence_0001.png" in result["outputs"]
    rows = list(csv.DictReader((tmp_path / "convergence.csv").read_text().splitlines()))
    assert [(row["phase"], row["step"]) for row in rows] == [("measurement_domain", str(step)) for step in range(5)]


@pytest.mark.parametrize(
    ("task", "method", "named"),
    [("denoise", "nlm", "NLM"), ("superres", "TGV", "TGV"), ("kspace", "tv", "TV"), ("ct", "sirt", "SIRT")],
)
def test_any_method_of_the_evaluation_reconstructs(reconstruct, scans, tmp_path, task, method, named):
    found = reconstruct(task, tmp_path, "--set", "baselines.sirt_iterations=20", slices="1:3", method=method)
    assert found.code == 0
    result = _result(tmp_path)
    assert [facts["reason"] for facts in result["slices"]] == [f"{named} was done"] * 2
    assert all(facts["whitened_residual"] > 0 for facts in result["slices"])
    # There is nothing to be drawn of its way.
    assert {"comparison_0001.png", "comparison_0002.png"} <= set(result["outputs"])
    assert not any("convergence_" in name for name in result["outputs"])
    reference = read_scan(scans[task]).select([1, 2]).array
    image = read_nifti(tmp_path / "reconstruction.nii.gz", modality="MR").array
    assert np.corrcoef(reference.ravel(), image.ravel())[0, 1] > 0.85
    with safe_open(tmp_path / "work" / "slice_0000.safetensors", framework="np") as file:
        kept = {name: file.get_tensor(name) for name in ("medinr", "TV")}
    assert np.array_equal(kept["medinr"], kept["TV"]) == (named == "TV")


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
    projector = acquisition_of(measurement).operator()
    assert isinstance(projector, FanBeam)
    # Replayed from the file alone, with a configuration that says nothing of a fan, it is the same.
    replayed, direct = tmp_path / "replayed", tmp_path / "direct"
    assert reconstruct("ct", replayed, source=measured).code == 0
    assert reconstruct("ct", direct, *fan, slices="0:3").code == 0
    images = [read_nifti(folder / "reconstruction.nii.gz", modality="CT").array for folder in (replayed, direct)]
    np.testing.assert_array_equal(*images)
