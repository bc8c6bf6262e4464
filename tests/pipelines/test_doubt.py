"""Maps of uncertainty and null space, and warnings, as `medinr reconstruct` leaves them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from medinr.pipelines.doubt import MAPS

from medinr.io.nifti import read_nifti
from medinr.trunks.checkpoint import load_checkpoint, save_checkpoint

SWIFT = pytest.mark.usefixtures("without_figures")
DOUBT = ("--uncertainty", "--set", "uncertainty.turns=2")


def _result(out: Path) -> dict:
    return json.loads((out / "result.json").read_text())


def _volume(out: Path, name: str) -> np.ndarray:
    return read_nifti(out / f"{name}.nii.gz", modality="MR").array


@SWIFT
@pytest.mark.parametrize("task", ["denoise", "superres", "kspace", "ct"])
def test_maps_lie_beside_every_reconstruction_in_its_unit(reconstruct, tmp_path, task):
    found = reconstruct(task, tmp_path, *DOUBT, slices="1:3")
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
        doubt = facts["doubt"]
        assert doubt["predicted_mean_error"] > 0
        assert doubt["actual_mean_error"] > 0
        assert 0 <= doubt["covered_by_90_percent_interval"] <= 1
        assert facts["seconds"]["uncertainty"] > 0


@SWIFT
def test_the_numbers_are_those_of_the_maps(reconstruct, scans, tmp_path):
    assert reconstruct("kspace", tmp_path, *DOUBT).code == 0
    truth = np.abs(read_nifti(scans["kspace"], modality="MR").select([1]).array)
    error = np.abs(_volume(tmp_path, "reconstruction") - truth)
    result = _result(tmp_path)
    doubt, settings = result["slices"][0]["doubt"], result["settings"]["uncertainty"]
    body = truth > 200
    # The body as the reconstruction shows it and as it is differ in a few pixels.
    assert doubt["actual_mean_error"] == pytest.approx(error[body].mean(), rel=0.3)
    spread = _volume(tmp_path, "uncertainty")[body].mean()
    assert doubt["predicted_mean_error"] == pytest.approx(settings["mean_error"] * spread, rel=0.3)


def test_a_figure_shows_them(reconstruct, tmp_path):
    assert reconstruct("denoise", tmp_path, *DOUBT).code == 0
    assert (tmp_path / "doubt_0001.png").stat().st_size > 10_000
    assert "doubt_0001.png" in _result(tmp_path)["outputs"]


@SWIFT
def test_without_being_asked_for_there_are_none(reconstruct, tmp_path):
    assert reconstruct("denoise", tmp_path).code == 0
    assert not any((tmp_path / f"{name}.nii.gz").exists() for name in MAPS)
    assert "doubt" not in _result(tmp_path)["slices"][0]


@SWIFT
def test_uncertainty_of_a_trunk_without_prior_is_refused(medinr, scans, tmp_path):
    found = medinr("reconstruct", scans["denoise"], "--task", "denoise", "--trunk", "random", "--uncertainty")
    assert found.code == 2
    assert "no local prior" in found.err


@SWIFT
@pytest.mark.parametrize(("known", "words"), [((0.0, 1e-3), "unlike the scans"), ((1e-3, 1e3), "")])
def test_a_scan_unlike_the_training_scans_is_warned_of(medinr, scans, trunks, tmp_path, known, words):
    tiny = load_checkpoint(trunks["MR"])
    path = tmp_path / "known.safetensors"
    save_checkpoint(path, replace(tiny, card=replace(tiny.card, results={"surprise": list(known)})))
    quick = ("--set", "fit.imitation.passes=1", "--set", "fit.guide.iterations=2", "--set", "peer.tv_weight=0")
    out = tmp_path / "out"
    found = medinr(
        "reconstruct", scans["denoise"], "--task", "denoise", "--trunk", path, "--slices", "1", "--out", out, *quick
    )
    assert found.code == 0
    result = _result(out)
    familiar = result["slices"][0]["familiarity"]
    assert familiar["training_scans"] == list(known)
    assert familiar["surprise"] > 0
    assert words in familiar["warning"]
    assert len(result["warnings"]) == (1 if words else 0)
    assert ("Warning: slice 1: This image looks unlike" in found.out.replace("\n", " ")) == bool(words)
