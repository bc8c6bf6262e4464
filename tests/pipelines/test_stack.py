"""Neighbouring slices solved together: when, how it is said, and that a killed run ends as one that was not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from medinr.pipelines import stack as pipeline
from medinr.pipelines.measure import measure_slices
from medinr.pipelines.slices import open_trunk
from medinr.pipelines.stack import FILE, wants_stack

from medinr.config import ReconstructConfig, load_config
from medinr.config.protocol import load_task
from medinr.data.orient import across_slices
from medinr.evaluate.results import Results
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.measurement import read_measurement
from medinr.io.nifti import read_nifti, write_nifti

#: Guides of two looks at the residual, and no network.
TURNS = ("--set", "fit.imitation.passes=0", "--set", "fit.guide.iterations=14")
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
        ("kspace", ["stack=always"], 3.0, range(6), True),
        ("kspace", ["stack=never", "simulation.own_lines=true"], 1.0, range(6), False),
        ("kspace", ["simulation.own_lines=true"], 1.0, range(3), False),
        ("kspace", ["simulation.own_lines=true"], 1.0, (0, 2, 4, 6), False),
        ("kspace", ["simulation.own_lines=true", "fit.imitation.passes=1"], 1.0, range(6), False),
        ("kspace", ["simulation.own_lines=true", "trunk=random"], 1.0, range(6), False),
        ("denoise", [], 1.0, range(6), True),
        ("denoise", [], 3.0, range(6), False),
        ("superres", [], 1.0, range(6), False),
        ("superres", ["simulation.direction=through-plane"], 1.0, range(8, 14), True),
    ],
)
def test_slices_are_a_stack_where_it_helps_or_when_told_to(
    synthetic, trunks, task, changes, thickness, numbers, expected
):
    config = load_config(ReconstructConfig, task, [f"trunk={trunks['MR']}", *changes])
    scan = synthetic.phantom((8, 24, 20), geometry=synthetic.affine((1.0, 1.0, thickness)))
    if config.simulation.direction == "through-plane":
        scan = across_slices(scan)
    measurement, _ = measure_slices(scan, config, list(numbers))
    assert wants_stack(measurement, open_trunk(config.trunk, "MR"), config) is expected


def test_voxels_that_nobody_knows_are_not_cubic(synthetic, trunks):
    config = load_config(ReconstructConfig, "kspace", [f"trunk={trunks['MR']}"])
    measurement, _ = measure_slices(synthetic.phantom(geometry=synthetic.affine((1.0, 1.0, 1.0))), config, [0, 1, 2, 3])
    begin = open_trunk(config.trunk, "MR")
    for known in (True, False):
        told = replace(measurement, parameters={**measurement.parameters, "voxels_known": known})
        assert wants_stack(told, begin, config) is known


def test_always_says_what_is_missing(medinr, trunks, head, tmp_path):
    command = ("reconstruct", head, "--task", "kspace", "--trunk", trunks["MR"], "--slices", "0:3", "--out", tmp_path)
    refused = medinr(*command, *TURNS, "--set", "stack=always")
    assert refused.code == 2
    assert "a stack has 4 slices or more and there are 3. Solve slice by slice (stack: auto)." in " ".join(
        refused.err.split()
    )


@pytest.mark.usefixtures("without_figures")
def test_a_killed_run_goes_on_and_ends_the_same(reconstruct, monkeypatch, head, tmp_path):
    options = (*TURNS, *OWN_LINES)
    assert reconstruct("kspace", tmp_path / "straight", *options, source=head, slices="0:6").code == 0
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        real, saved = pipeline.save_turn, []

        def once(*arguments):
            real(*arguments)
            saved.append(arguments)
            raise KeyboardInterrupt

        patch.setattr(pipeline, "save_turn", once)
        assert reconstruct("kspace", out, *options, source=head, slices="0:6").code == 130
    assert [path.name for path in (out / "work").iterdir()] == [FILE]
    with monkeypatch.context() as patch:
        turns = []
        real_turns = pipeline.Stack.turns

        def counted(self, begun=None):
            for done in real_turns(self, begun):
                turns.append(done.turn)
                yield done

        patch.setattr(pipeline.Stack, "turns", counted)
        assert reconstruct("kspace", out, *options, source=head, slices="0:6").code == 0
    assert turns == [11, 12, 13, 14]
    assert not (out / "work" / FILE).exists()
    one, other = (read_nifti(folder / "reconstruction.nii.gz").array for folder in (out, tmp_path / "straight"))
    np.testing.assert_array_equal(one, other)
    facts = json.loads((out / "result.json").read_text())
    assert [found["joint"] for found in facts["slices"]] == [True] * 6
    assert all("6 neighbouring slices together" in found["reason"] for found in facts["slices"])
    rows = (out / "convergence.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:3] for row in rows[:2]] == [["0", "guide", "10"], ["0", "guide", "14"]]


def test_an_evaluation_measures_the_neighbours_and_judges_the_slice(
    medinr, synthetic, tiny_trunk, monkeypatch, tmp_path
):
    volume = synthetic.phantom((12, 32, 28), geometry=synthetic.affine((1.0, 1.0, 3.0)))
    path = write_nifti(volume, tmp_path / "scan.nii.gz")
    row = ManifestRow(path.name, hash_scan(path), "a", "", "MR", "T1", "devtest", "CC0", "5:7")
    write_manifest(Manifest((row,), tmp_path), tmp_path / "heads.csv")
    command = ("evaluate", tmp_path / "heads.csv", "--tasks", "kspace_mr_stack_8x,kspace_mr_single_8x")
    methods = ("--methods", "zero-filled,plug-and-play,medinr", "--set", "slices=1", "--out", tmp_path / "out")
    assert medinr(*command, *methods, "--debug").code == 0
    results = Results.read(tmp_path / "out")
    stack, single = (
        next(c for c in results.cells() if c.task == f"kspace_mr_{name}_8x") for name in ("stack", "single")
    )
    measured = read_measurement(tmp_path / "out" / "measurements" / f"{stack.cell}.safetensors")
    assert measured.slices == 12
    assert measured.slice_numbers[measured.slice_numbers.index(stack.slice)] == 5 == single.slice
    masks = [tuple(mask["lines"]) for mask in measured.parameters["mask"]]
    assert len(set(masks)) > 6
    assert {len(lines) for lines in masks} == {4}
    assert stack.sampling["lines"] == list(masks[measured.slice_numbers.index(5)])
    reasons = {method: curve["reason"] for method, curve in stack.curves.items()}
    assert "12 neighbouring slices together" in reasons["medinr"]
    assert "neighbouring" not in reasons["plug-and-play"]
    assert load_task("kspace_mr_stack_8x").neighbours == 8
