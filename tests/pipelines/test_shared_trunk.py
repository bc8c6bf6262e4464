"""Slices that share a trunk: when, how it is said, and that a killed run ends as one that was not."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from medinr.io.nifti import read_nifti
from medinr.jobs.reconstruct import network
from medinr.jobs.reconstruct.unfinished import load_target, save_target
from medinr.network.joint_fit import Target

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture
def reconstruct(reconstruct):
    """With a network."""
    return partial(reconstruct, method="inr")


def joint_slices(out: Path) -> list[bool]:
    return [facts["joint"] for facts in json.loads((out / "result.json").read_text())["slices"]]


def interrupt(patch, name: str, at: int) -> list[int]:
    """Interrupt the call numbered `at` of a step of the joint fit; count the calls."""
    calls: list[int] = []
    real = getattr(network, name)

    def counted(*arguments, **options):
        calls.append(len(calls))
        if len(calls) - 1 == at:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    patch.setattr(network, name, counted)
    return calls


def names(folder: Path) -> set[str]:
    return {path.name.split("_")[0] + path.stem[-1] for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("slices", "setting", "expected"),
    [
        ("1:3", "auto", [True, True]),
        ("1:3", "never", [False, False]),
        ("1", "auto", [False]),
        ("1", "always", [True]),
    ],
)
def test_slices_are_fitted_together_when_there_are_several_or_when_told_to(
    reconstruct, tmp_path, slices, setting, expected
):
    assert reconstruct("kspace", tmp_path, "--set", f"network.shared_trunk={setting}", slices=slices).code == 0
    assert joint_slices(tmp_path) == expected
    assert names(tmp_path / "work") == {f"slice{k}" for k in range(len(expected))}


@pytest.mark.parametrize("task", ["denoise", "superres", "kspace", "ct"])
def test_every_task_can_be_fitted_jointly(reconstruct, tmp_path, task):
    assert reconstruct(task, tmp_path / "shared", "--set", "network.shared_trunk=always", slices="0:3").code == 0
    assert reconstruct(task, tmp_path / "alone", "--set", "network.shared_trunk=never", slices="0:3").code == 0
    shared, alone = (
        read_nifti(tmp_path / name / "reconstruction.nii.gz", modality="MR").array for name in ("shared", "alone")
    )
    # The tiny trunk and denoiser have learned nothing; what is the same is the scan.
    assert np.corrcoef(shared.ravel(), alone.ravel())[0, 1] > 0.85


def test_one_slice_is_the_same_joint_or_alone(reconstruct, tmp_path):
    for setting in ("always", "never"):
        assert reconstruct("denoise", tmp_path / setting, "--set", f"network.shared_trunk={setting}").code == 0
    one, other = (read_nifti(tmp_path / s / "reconstruction.nii.gz", modality="MR").array for s in ("always", "never"))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.max()))


@pytest.mark.parametrize(
    ("step", "at", "left"),
    [
        ("make_target", 2, {"unfinished0", "unfinished1"}),
        ("fit_shared_trunk", 0, {"unfinished0", "unfinished1", "unfinished2", "unfinished3"}),
        ("refine_slice", 1, {"unfinished0", "unfinished1", "unfinished2", "unfinished3", "slice0"}),
    ],
)
def test_a_killed_run_continues_and_ends_the_same(reconstruct, monkeypatch, tmp_path, step, at, left):
    assert reconstruct("kspace", tmp_path / "straight", slices="0:4").code == 0
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupt(patch, step, at)
        assert reconstruct("kspace", out, slices="0:4").code == 130
    assert names(out / "work") == left
    before = {path: path.stat().st_mtime_ns for path in (out / "work").iterdir()}
    with monkeypatch.context() as patch:
        made = interrupt(patch, "make_target", -1)
        refined = interrupt(patch, "refine_slice", -1)
        assert reconstruct("kspace", out, slices="0:4").code == 0
    assert len(made) == 4 - sum(name.startswith("unfinished") for name in left)
    assert len(refined) == 4 - sum(name.startswith("slice") for name in left)
    assert names(out / "work") == {"slice0", "slice1", "slice2", "slice3"}
    kept = [path for path in before if path.name.startswith("slice")]
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)
    one, other = (read_nifti(folder / "reconstruction.nii.gz").array for folder in (out, tmp_path / "straight"))
    np.testing.assert_array_equal(one, other)


def test_targets_of_other_settings_or_damaged_ones_are_made_anew(reconstruct, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        interrupt(patch, "fit_shared_trunk", 0)
        assert reconstruct("kspace", tmp_path, slices="0:2").code == 130
    damaged = tmp_path / "work" / "unfinished_0000.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-5])
    with monkeypatch.context() as patch:
        made = interrupt(patch, "make_target", -1)
        interrupt(patch, "fit_shared_trunk", 0)
        assert reconstruct("kspace", tmp_path, slices="0:2").code == 130
        assert len(made) == 1
        assert reconstruct("kspace", tmp_path, "--set", "seed=1", slices="0:2").code == 0
        assert len(made) == 3


def test_large_volumes_are_fitted_in_groups(reconstruct, monkeypatch, tmp_path):
    monkeypatch.setattr(network, "GROUP", 2)
    learned = interrupt(monkeypatch, "fit_shared_trunk", -1)
    assert reconstruct("kspace", tmp_path, slices="0:4").code == 0
    assert len(learned) == 2
    assert joint_slices(tmp_path) == [True] * 4


def test_always_says_what_is_in_the_way(reconstruct, tmp_path):
    from medinr.errors import ConfigError

    with pytest.raises(ConfigError, match=r"network\.steps is 3"):
        reconstruct(
            "kspace", tmp_path, "--set", "network.shared_trunk=always", "--set", "network.steps=3", slices="0:2"
        )
    assert reconstruct("kspace", tmp_path, "--set", "network.steps=3", slices="0:2").code == 0
    assert joint_slices(tmp_path) == [False, False]


def test_groups_are_few_and_even():
    sizes = {n: [len(group) for group in network.groups_of(n)] for n in (1, 44, 64, 65, 200)}
    assert sizes == {1: [1], 44: [44], 64: [64], 65: [32, 33], 200: [50, 50, 50, 50]}
    assert [k for group in network.groups_of(130) for k in group] == list(range(130))


def test_a_target_comes_back_as_it_was(tmp_path):
    import torch

    image = torch.randn(3, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    save_target(tmp_path / "g.safetensors", Target(image, 0.1, 1.5), "print")
    found = load_target(tmp_path / "g.safetensors", "print")
    assert found is not None
    assert torch.equal(found.image, image)
    assert (found.seconds, found.residual) == (0.1, 1.5)
    assert load_target(tmp_path / "g.safetensors", "another") is None
    assert load_target(tmp_path / "none.safetensors", "print") is None
