"""Maps of uncertainty and null space, and warnings, as a reconstruction leaves them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medinr.config import load_task_config
from medinr.io.nifti import read_nifti
from medinr.jobs.reconstruct.uncertainty_maps import MAPS, uncertainty_facts
from medinr.jobs.record import SliceRecord
from medinr.models.checkpoint import load_model, save_model
from medinr.models.model import Model
from medinr.uncertainty.image_statistics import NAMES
from medinr.uncertainty.likeness import Family

SWIFT = pytest.mark.usefixtures("without_figures")
MAPPED = ("--uncertainty", "--set", "uncertainty.iterations=2")


def _result(out: Path) -> dict:
    return json.loads((out / "result.json").read_text())


def _volume(out: Path, name: str) -> np.ndarray:
    return read_nifti(out / f"{name}.nii.gz", modality="MR").array


@SWIFT
@pytest.mark.parametrize("method", ["plug-and-play", "inr"])
@pytest.mark.parametrize("task", ["denoise", "superres", "kspace", "ct"])
def test_maps_lie_beside_every_reconstruction_in_its_unit(reconstruct, tmp_path, task, method):
    # After fewer iterations the tiny denoiser has added next to nothing that was not measured.
    enough = () if method == "inr" else ("--set", "plug_and_play.iterations=8")
    found = reconstruct(task, tmp_path, *MAPPED, *enough, slices="1:3", method=method)
    assert found.code == 0
    image = read_nifti(tmp_path / "reconstruction.nii.gz", modality="MR")
    for name in MAPS:
        other = read_nifti(tmp_path / f"{name}.nii.gz", modality="MR")
        assert other.array.shape == image.array.shape
        np.testing.assert_array_equal(other.affine, image.affine)
        assert np.isfinite(other.array).all()
    spread, unseen = (_volume(tmp_path, name) for name in MAPS)
    assert (spread > 0).all()
    # In tissue of 400 to 700, or 1000 HU above air: some, but less than the image itself.
    assert 1 < spread.mean() < 500
    if task == "denoise":
        assert np.abs(unseen).max() < 1e-3
    else:
        assert 1 < np.abs(unseen).max() < 1500
    result = _result(tmp_path)
    assert {f"{name}.nii.gz" for name in MAPS} <= set(result["outputs"])
    assert result["settings"]["uncertainty"]["repeats"] == 4
    for facts in result["slices"]:
        uncertainty = facts["uncertainty"]
        assert uncertainty["predicted_mean_error"] > 0
        assert uncertainty["actual_mean_error"] > 0
        assert 0 <= uncertainty["covered_by_90_percent_interval"] <= 1
        assert uncertainty["reference_noise"] >= 0
        assert uncertainty["covered_with_reference_noise"] >= uncertainty["covered_by_90_percent_interval"]
        together = uncertainty["predicted_mean_error_with_reference_noise"]
        assert together >= 0.999 * uncertainty["predicted_mean_error"]
        assert facts["seconds"]["uncertainty"] > 0


@SWIFT
def test_the_numbers_are_those_of_the_maps(reconstruct, scans, tmp_path):
    assert reconstruct("kspace", tmp_path, *MAPPED).code == 0
    reference = np.abs(read_nifti(scans["kspace"], modality="MR").select([1]).array)
    error = np.abs(_volume(tmp_path, "reconstruction") - reference)
    result = _result(tmp_path)
    uncertainty, settings = result["slices"][0]["uncertainty"], result["settings"]["uncertainty"]
    body = reference > 200
    # The body as the reconstruction shows it and as it is differ in a few pixels.
    assert uncertainty["actual_mean_error"] == pytest.approx(error[body].mean(), rel=0.3)
    spread = _volume(tmp_path, "uncertainty")[body].mean()
    assert uncertainty["predicted_mean_error"] == pytest.approx(settings["mean_error"] * spread, rel=0.3)


def test_a_figure_shows_them(reconstruct, tmp_path):
    assert reconstruct("denoise", tmp_path, *MAPPED).code == 0
    assert (tmp_path / "uncertainty_0001.png").stat().st_size > 10_000
    assert "uncertainty_0001.png" in _result(tmp_path)["outputs"]


@SWIFT
def test_without_being_asked_for_there_are_none(reconstruct, tmp_path):
    assert reconstruct("denoise", tmp_path).code == 0
    assert not any((tmp_path / f"{name}.nii.gz").exists() for name in MAPS)
    assert "uncertainty" not in _result(tmp_path)["slices"][0]


@SWIFT
@pytest.mark.parametrize("method", ["plug-and-play", "inr"])
def test_uncertainty_of_a_model_without_denoiser_is_refused(medinr, scans, tmp_path, method):
    command = ("reconstruct-simulated", scans["denoise"], "--task", "denoise", "--model", "random", "--method", method)
    found = medinr(*command, "--out", tmp_path / "out", "--uncertainty")
    assert found.code == 2
    assert "has no denoiser, and uncertainty is found by repeating plug-and-play" in found.err


@SWIFT
def test_uncertainty_of_a_method_that_does_without_plug_and_play_is_refused(medinr, scans, models, tmp_path):
    command = (
        "reconstruct-simulated",
        scans["denoise"],
        "--task",
        "denoise",
        "--model",
        models["MR"],
        "--method",
        "TV",
    )
    found = medinr(*command, "--out", tmp_path / "out", "--uncertainty")
    assert found.code == 2
    assert "method TV does without it. Choose --method plug-and-play or inr" in found.err


@SWIFT
@pytest.mark.parametrize(("limit", "words"), [(1e-3, "unlike the scans"), (1e6, "")])
def test_a_scan_unlike_the_training_scans_is_warned_of(medinr, scans, models, tmp_path, limit, words):
    tiny = load_model(models["MR"])
    path = tmp_path / "known.safetensors"
    count = len(NAMES)
    family = Family(np.zeros(count), np.ones(count), np.eye(count), limit)
    card = replace(tiny.card, results={"likeness": family.facts()})
    save_model(path, Model.of(tiny.trunk, tiny.prior, card))
    quick = ("--set", "plug_and_play.iterations=2", "--set", "total_variation.weight=0")
    out = tmp_path / "out"
    found = medinr(
        "reconstruct-simulated",
        scans["denoise"],
        "--task",
        "denoise",
        "--model",
        path,
        "--slices",
        "1",
        "--out",
        out,
        *quick,
    )
    assert found.code == 0
    result = _result(out)
    (judged,) = (check for check in result["slices"][0]["checks"] if check["name"] == "likeness")
    assert judged["limit"] == limit
    assert judged["value"] > 0
    assert judged["passed"] is not bool(words)
    assert words in judged["words"]
    assert len(result["warnings"]) == (1 if words else 0)
    assert ("Warning: slice 1: the image is unlike" in found.out.replace("\n", " ")) == bool(words)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_noise_of_the_reference_is_not_counted_against_the_interval(noise):
    rng = np.random.default_rng(0)
    y, x = np.indices((60, 60))
    body = (np.hypot(y - 30, x - 30) < 25).astype(np.float32)
    error, own = (rng.standard_normal(body.shape).astype(np.float32) for _ in range(2))
    images = {"medinr": body + 0.03 * error * body, "uncertainty": 0.03 * body, "null_space": 0 * body}
    record = SliceRecord(images, {}, "", 1, 1.0, ())
    reference = body + noise * own * body
    found = uncertainty_facts(record, reference, load_task_config("kspace"), noise**2)["uncertainty"]
    assert found["covered_with_reference_noise"] == pytest.approx(0.9, abs=0.02)
    assert (found["covered_by_90_percent_interval"] < 0.7) == (noise > 0)
    assert found["reference_noise"] == noise
    assert found["actual_mean_error"] == pytest.approx(0.8 * np.hypot(0.03, noise), rel=0.05)
