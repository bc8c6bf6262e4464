"""Neighbouring slices reconstructed jointly: when, how it is said, and that a killed run ends as one that was not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medinr.acquisition.ways import acquisition_of
from medinr.config import load_task_config
from medinr.config.protocol import load_task
from medinr.data.orient import across_slices
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.measurement import read_measurement
from medinr.io.nifti import read_nifti, write_nifti
from medinr.jobs.evaluate.results import Results
from medinr.jobs.reconstruct import multi_slice
from medinr.jobs.reconstruct.multi_slice import FILE, wants_multi_slice
from medinr.jobs.reconstruct.unfinished import load_state, save_state
from medinr.jobs.simulated import measure_slices
from medinr.solve.multi_slice import MultiSliceState

#: Iterations in which the residual is computed twice.
ITERATIONS = ("--set", "plug_and_play.iterations=14")
OWN_LINES = ("--set", "simulation.own_lines=true")


@pytest.fixture(scope="module")
def head(synthetic, tmp_path_factory) -> Path:
    """Cubic voxels, six slices."""
    geometry = synthetic.affine((1.0, 1.0, 1.0))
    return write_nifti(synthetic.phantom((6, 24, 20), geometry=geometry), tmp_path_factory.mktemp("head") / "h.nii.gz")


@pytest.mark.parametrize(
    ("task", "changes", "thickness", "numbers", "expected"),
    [
        ("kspace", ["simulation.own_lines=true"], 3.0, range(6), True),
        ("kspace", [], 3.0, range(6), False),
        ("kspace", [], 1.0, range(6), True),
        ("kspace", ["multi_slice=always"], 3.0, range(6), True),
        ("kspace", ["multi_slice=never", "simulation.own_lines=true"], 1.0, range(6), False),
        ("kspace", ["simulation.own_lines=true"], 1.0, range(3), False),
        ("kspace", ["simulation.own_lines=true"], 1.0, (0, 2, 4, 6), False),
        ("denoise", [], 1.0, range(6), True),
        ("denoise", [], 3.0, range(6), False),
        ("superres", [], 1.0, range(6), False),
        ("superres", ["simulation.direction=through-plane"], 1.0, range(8, 14), True),
    ],
)
def test_slices_are_reconstructed_jointly_where_it_helps_or_when_told_to(
    synthetic, task, changes, thickness, numbers, expected
):
    config = load_task_config(task, changes)
    scan = synthetic.phantom((8, 24, 20), geometry=synthetic.affine((1.0, 1.0, thickness)))
    if "simulation.direction=through-plane" in changes:
        scan = across_slices(scan)
    measurement, _ = measure_slices(scan, config, list(numbers))
    assert wants_multi_slice(acquisition_of(measurement), config) is expected


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(("method", "joint"), [("plug-and-play", True), ("inr", False)])
def test_a_network_is_fitted_to_single_slices(reconstruct, head, tmp_path, method, joint):
    more = (*OWN_LINES, "--set", "network.shared_trunk=never") if method == "inr" else OWN_LINES
    assert reconstruct("kspace", tmp_path, *more, source=head, slices="0:6", method=method).code == 0
    facts = json.loads((tmp_path / "result.json").read_text())["slices"]
    assert [found["joint"] for found in facts] == [joint] * 6
    assert all(("neighbouring slices jointly" in found["reason"]) is joint for found in facts)


@pytest.mark.usefixtures("without_figures")
def test_without_a_denoiser_there_is_no_joint_reconstruction(medinr, head, tmp_path):
    command = ("reconstruct-simulated", head, "--task", "kspace", "--model", "random", "--slices", "0:6", *OWN_LINES)
    refused = medinr(*command, "--out", tmp_path / "refused")
    assert refused.code == 2
    assert "The model 'random' has no denoiser, and plug-and-play needs one" in refused.err
    network = ("--set", "network.image_domain.passes=0", "--set", "network.steps=1", "--set", "network.tv_weight=3")
    network = (*network, "--set", "total_variation.weight=0")
    assert medinr(*command, "--method", "inr", *network, "--out", tmp_path / "out", "--debug").code == 0
    facts = json.loads((tmp_path / "out" / "result.json").read_text())["slices"]
    assert [found["joint"] for found in facts] == [False] * 6


def test_voxels_that_nobody_knows_are_not_cubic(synthetic):
    config = load_task_config("kspace")
    measurement, _ = measure_slices(synthetic.phantom(geometry=synthetic.affine((1.0, 1.0, 1.0))), config, [0, 1, 2, 3])
    for known in (True, False):
        told = replace(measurement, parameters={**measurement.parameters, "voxels_known": known})
        assert wants_multi_slice(acquisition_of(told), config) is known


def test_always_says_what_is_missing(medinr, models, head, tmp_path):
    command = (
        "reconstruct-simulated",
        head,
        "--task",
        "kspace",
        "--model",
        models["MR"],
        "--slices",
        "0:3",
        "--out",
        tmp_path,
    )
    refused = medinr(*command, *ITERATIONS, "--set", "multi_slice=always")
    assert refused.code == 2
    said = "it takes 4 slices or more and there are 3. Solve slice by slice (multi_slice: auto)."
    assert said in " ".join(refused.err.split())


@pytest.mark.parametrize("method", ["inr", "tv"])
def test_always_wants_plug_and_play(medinr, models, head, tmp_path, method):
    command = ("reconstruct-simulated", head, "--task", "kspace", "--model", models["MR"], "--out", tmp_path / "out")
    refused = medinr(*command, "--method", method, "--set", "multi_slice=always")
    assert refused.code == 2
    assert "multi_slice: always" in refused.err
    assert method in refused.err


@pytest.mark.usefixtures("without_figures")
def test_a_killed_run_goes_on_and_ends_the_same(reconstruct, monkeypatch, head, tmp_path):
    # The last eight are done once more for the last step, and are not left before their end.
    options = (*ITERATIONS, "--set", "plug_and_play.iterations=20", *OWN_LINES)
    assert reconstruct("kspace", tmp_path / "straight", *options, source=head, slices="0:6").code == 0
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        real, saved = multi_slice.save_state, []

        def once(*arguments):
            real(*arguments)
            saved.append(arguments)
            raise KeyboardInterrupt

        patch.setattr(multi_slice, "save_state", once)
        assert reconstruct("kspace", out, *options, source=head, slices="0:6").code == 130
    assert [path.name for path in (out / "work").iterdir()] == [FILE]
    with monkeypatch.context() as patch:
        iterations = []
        real_iterations = multi_slice.MultiSlice.iterations

        def counted(self, resumed=None):
            for done in real_iterations(self, resumed):
                iterations.append(done.iteration)
                yield done

        patch.setattr(multi_slice.MultiSlice, "iterations", counted)
        assert reconstruct("kspace", out, *options, source=head, slices="0:6").code == 0
    assert iterations == list(range(11, 21))
    assert not (out / "work" / FILE).exists()
    one, other = (read_nifti(folder / "reconstruction.nii.gz").array for folder in (out, tmp_path / "straight"))
    np.testing.assert_array_equal(one, other)
    facts = json.loads((out / "result.json").read_text())
    assert [found["joint"] for found in facts["slices"]] == [True] * 6
    assert all("6 neighbouring slices jointly" in found["reason"] for found in facts["slices"])
    rows = (out / "convergence.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:3] for row in rows[:2]] == [["0", "plug_and_play", "10"], ["0", "plug_and_play", "20"]]


def test_an_evaluation_measures_the_neighbours_and_judges_the_slice(medinr, synthetic, tmp_path):
    volume = synthetic.phantom((12, 32, 28), geometry=synthetic.affine((1.0, 1.0, 3.0)))
    path = write_nifti(volume, tmp_path / "scan.nii.gz")
    row = ManifestRow(path.name, hash_scan(path), "a", "", "MR", "T1", "devtest", "CC0", "5:7")
    write_manifest(Manifest((row,), tmp_path), tmp_path / "heads.csv")
    command = ("evaluate", tmp_path / "heads.csv", "--tasks", "kspace_mr_slices_8x,kspace_mr_single_8x")
    methods = ("--methods", "zero-filled,plug-and-play,medinr", "--set", "slices=1", "--out", tmp_path / "out")
    assert medinr(*command, *methods, "--debug").code == 0
    results = Results.read(tmp_path / "out")
    joint, single = (
        next(c for c in results.cases() if c.task == f"kspace_mr_{name}_8x") for name in ("slices", "single")
    )
    measured = read_measurement(tmp_path / "out" / "measurements" / f"{joint.case}.safetensors")
    assert measured.slices == 12
    assert measured.slice_numbers[measured.slice_numbers.index(joint.slice)] == 5 == single.slice
    masks = [tuple(mask["lines"]) for mask in measured.parameters["mask"]]
    assert len(set(masks)) > 6
    assert {len(lines) for lines in masks} == {4}
    assert joint.sampling["lines"] == list(masks[measured.slice_numbers.index(5)])
    reasons = {method: curve["reason"] for method, curve in joint.curves.items()}
    assert "12 neighbouring slices jointly" in reasons["medinr"]
    assert "neighbouring" not in reasons["plug-and-play"]
    assert load_task("kspace_mr_slices_8x").neighbours == 8


@pytest.mark.parametrize("previous", [None, torch.full((2, 3, 3), 0.5)])
def test_a_state_comes_back_as_it_was_left(previous, tmp_path):
    state = MultiSliceState(10, torch.rand(2, 3, 3), 1.25, ((), ()), previous)
    save_state(tmp_path / "state.safetensors", state, "same settings")
    found = load_state(tmp_path / "state.safetensors", "same settings")
    assert (found.iteration, found.seconds, found.rows) == (10, 1.25, ((), ()))
    assert torch.equal(found.images, state.images)
    assert found.previous is None if previous is None else torch.equal(found.previous, previous)
    assert load_state(tmp_path / "state.safetensors", "other settings") is None
