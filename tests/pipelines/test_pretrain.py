import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from medinr.pipelines.pretrain import pretrain

from medinr.config import load_config
from medinr.config.pretrain import PretrainConfig
from medinr.data.photographs import LICENCE
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.nifti import write_nifti
from medinr.models.checkpoint import load_model, read_card
from medinr.tensors import read_tensors

CONFIG = """\
name: mine
manifest: heads.csv
modality: MR
grid: [16, 16]
spacing: 1.2
slices: 4
training:
  steps: 400
  checkpoint_every: 10
  architecture: {width: 24, depth: 3, omega: 10.0}
prior:
  steps: 12
  magnitude_steps: 7
  auxiliary_steps: 8
  batch: 2
  patch: 12
  checkpoint_every: 5
  architecture: {channels: 4, layers: 3}
prior_slices_per_scan: 2
scan_denoiser:
  steps: 6
  batch: 2
  patch: 12
  checkpoint_every: 2
  architecture: {channels: 4, layers: 3, coarse_channels: 4, coarse_layers: 2}
"""


@pytest.fixture
def config(synthetic, tmp_path):
    rows = []
    for number, split in enumerate(("train", "train", "devtest")):
        volume = synthetic.phantom((4, 20, 18), seed=number)
        path = write_nifti(volume, tmp_path / f"head{number}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), f"s{number}", "", "MR", "T1", split, "CC0"))
    write_manifest(Manifest(tuple(rows), tmp_path), tmp_path / "heads.csv")
    path = tmp_path / "mine.yaml"
    path.write_text(CONFIG)
    return path


def _start(config, out) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "medinr", "pretrain", str(config), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_a_killed_training_ends_like_one_left_alone(medinr, config, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert medinr("pretrain", config, "--out", whole, "--debug").code == 0

    checkpoint = killed / "mine.trunk.checkpoint"
    with _start(config, killed) as process:
        deadline = time.monotonic() + 60
        while not checkpoint.exists():
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    reached = int(read_tensors(checkpoint)[0]["step"])
    assert 10 <= reached < 400
    assert not (killed / "mine.safetensors").exists()

    assert medinr("pretrain", config, "--out", killed, "--debug").code == 0
    assert sorted(path.name for path in killed.iterdir() if not path.name.startswith(".")) == [
        "mine.json",
        "mine.safetensors",
    ]
    one, two = (load_model(folder / "mine.safetensors") for folder in (whole, killed))
    assert two.card.results["psnr"] == pytest.approx(one.card.results["psnr"], abs=1e-4)
    assert min(one.card.results["psnr"]) > 15
    for part in ("denoiser", "magnitude_denoiser", "auxiliary_denoiser", "scan_denoiser"):
        first, second = (getattr(model.prior, part).state_dict() for model in (one, two))
        for name, value in first.items():
            torch.testing.assert_close(second[name], value)


@pytest.mark.parametrize(
    ("last", "part"),
    [(12 + 6, "magnitude_denoiser"), (12 + 7 + 6, "auxiliary_denoiser"), (12 + 7 + 8 + 3, "scan_denoiser")],
)
def test_a_training_stopped_among_the_copies_goes_on_there(config, tmp_path, last, part):
    plan = load_config(PretrainConfig, config, ["training.steps=4"])
    whole, stopped = (tmp_path / name for name in ("whole", "stopped"))
    pretrain(plan, whole, near=tmp_path)

    def stop(step: int, gain: float) -> None:
        if step == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(plan, stopped, near=tmp_path, prior_progress=stop)
    steps: list[int] = []
    pretrain(plan, stopped, near=tmp_path, prior_progress=lambda step, gain: steps.append(step))
    assert steps == list(range(last, plan.denoiser_steps + 1))
    one, two = (getattr(load_model(folder / "mine.safetensors").prior, part) for folder in (whole, stopped))
    for weight, other in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(weight, other)
    assert not list(stopped.glob("*.checkpoint"))


SHORT = ("--set", "training.steps=4", "--set", "prior.steps=2", "--set", "scan_denoiser.steps=2")


def test_the_card_says_what_the_model_has_seen(medinr, config, tmp_path):
    found = medinr("pretrain", config, "--out", tmp_path / "out", *SHORT, "--debug")
    assert found.code == 0
    assert "Model mine: 4 slices of 2 subjects, mean training PSNR" in found.out
    card = read_card(tmp_path / "out" / "mine.safetensors")
    assert (card.name, card.modality, card.subjects, card.licences) == ("mine", "MR", ("s0", "s1"), ("CC0",))
    assert set(card.scan_hashes) == {hash_scan(tmp_path / f"head{number}.nii.gz") for number in (0, 1)}
    assert len(card.scans) == len(card.results["psnr"]) == 4
    assert card.length_scale == pytest.approx(16 * 1.2 / 2)
    assert card.settings["training"]["steps"] == 4
    assert card.prior is not None
    assert card.results["synthetic_follow_ups"] == 2 * 4 * 2
    assert card.results["auxiliary_seconds"] > 0
    assert str(tmp_path) not in (tmp_path / "out" / "mine.json").read_text()
    shown = medinr("models", tmp_path / "out" / "mine.safetensors", "--debug")
    assert shown.code == 0
    assert json.loads(shown.out)["subjects"] == ["s0", "s1"]


NO_DENOISER = ("--set", "prior.steps=0", "--set", "scan_denoiser.steps=0")


def test_a_denoiser_for_acquired_scans_is_added_to_a_model_that_is_kept(medinr, config, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    plain = ("--set", "scan_denoiser.steps=0")
    assert medinr("pretrain", config, "--out", before, *SHORT, *plain, "--debug").code == 0
    old = load_model(before / "mine.safetensors")
    assert old.prior.scan_denoiser is None
    added = medinr("pretrain", config, "--out", after, "--set", f"keep={before / 'mine.safetensors'}", "--debug")
    assert added.code == 0
    new = load_model(after / "mine.safetensors")
    assert new.prior.scan_denoiser is not None
    assert new.card.scan_denoiser.channels == 4
    for name, value in old.prior.denoiser.state_dict().items():
        assert torch.equal(new.prior.denoiser.state_dict()[name], value)
    assert new.card.results["psnr"] == old.card.results["psnr"]
    assert new.card.results["acquired_scans"] == 2
    assert str(tmp_path) not in (after / "mine.json").read_text()


def test_a_model_is_kept_only_to_add_something(medinr, config, tmp_path):
    found = medinr("pretrain", config, "--out", tmp_path, "--set", "keep=brain_mr", "--set", "scan_denoiser.steps=0")
    assert found.code == 2
    assert "scan_denoiser.steps above 0" in found.err
    found = medinr("pretrain", config, "--out", tmp_path, "--set", "prior.steps=0")
    assert found.code == 2
    assert "no denoiser or the small one first" in found.err


def test_a_model_without_a_denoiser(medinr, config, tmp_path):
    assert medinr("pretrain", config, "--out", tmp_path / "out", *SHORT, *NO_DENOISER, "--debug").code == 0
    assert load_model(tmp_path / "out" / "mine.safetensors").prior is None


def test_a_denoiser_without_copies(medinr, config, tmp_path):
    without = ("--set", "prior.magnitude_steps=0", "--set", "prior.auxiliary_steps=0")
    assert medinr("pretrain", config, "--out", tmp_path / "out", *SHORT, *without, "--debug").code == 0
    model = load_model(tmp_path / "out" / "mine.safetensors")
    assert (model.prior.magnitude_denoiser, model.prior.auxiliary_denoiser) == (None, None)
    assert "synthetic_follow_ups" not in model.card.results


def test_single_slices_are_enough(synthetic, config, tmp_path):
    """Of two contrasts in one session."""
    rows = []
    for contrast in ("T1", "T2"):
        path = write_nifti(synthetic.phantom((1, 20, 18)), tmp_path / f"{contrast}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), "s0", "a", "MR", contrast, "train", "CC0"))
    write_manifest(Manifest(tuple(rows), tmp_path), tmp_path / "heads.csv", overwrite=True)
    card = pretrain(load_config(PretrainConfig, config, ["training.steps=4"]), tmp_path / "out", near=tmp_path)
    assert card.results["synthetic_follow_ups"] == 4


def test_a_finished_model_is_refused_and_replaced_when_asked(medinr, config, tmp_path):
    command = ("pretrain", config, "--out", tmp_path / "out", *SHORT)
    assert medinr(*command).code == 0
    before = (tmp_path / "out" / "mine.safetensors").read_bytes()
    again = medinr(*command)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert medinr(*command, "--overwrite", "--set", "training.seed=3").code == 0
    assert (tmp_path / "out" / "mine.safetensors").read_bytes() != before


@pytest.mark.parametrize("change", ["training.seed=3", "grid=[20,16]", "training.optimiser.kind=adam"])
def test_a_checkpoint_of_other_settings_is_refused(medinr, config, monkeypatch, tmp_path, change):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    command = ("pretrain", config, "--out", tmp_path / "out", "--set", "training.steps=14", "--set", "prior.steps=2")
    with monkeypatch.context() as patch:
        patch.setattr("medinr.jobs.pretrain.denoisers.train_prior", interrupt)
        assert medinr(*command).code == 130
    assert (tmp_path / "out" / "mine.trunk.checkpoint").exists()
    refused = medinr(*command, "--set", change)
    assert refused.code == 2
    assert "other settings or other scans" in refused.err
    assert medinr(*command, "--set", change, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("split=test", "No row of the manifest is test MR"),
        ("manifest=nowhere.csv", "No manifest 'nowhere.csv'"),
        ("training.architecture.widht=8", "Did you mean 'width'"),
        ("prior.patch=64", "smaller patch"),
        ("modality=CT", "prior.auxiliary_steps is for MR"),
    ],
)
def test_what_cannot_be_trained(medinr, config, tmp_path, change, words):
    found = medinr("pretrain", config, "--out", tmp_path / "out", *SHORT, "--set", change)
    assert found.code == 2
    assert words in found.err
    assert len(found.err.splitlines()) <= 2


def test_a_scan_that_was_changed_is_not_trained_on(medinr, synthetic, config, tmp_path):
    write_nifti(synthetic.phantom((4, 20, 18), seed=9), tmp_path / "head0.nii.gz", overwrite=True)
    found = medinr("pretrain", config, "--out", tmp_path / "out", *SHORT)
    assert found.code == 2
    assert "SHA-256" in found.err


def test_a_model_for_more_than_one_kind_of_image_trains_on_others_too(medinr, config, tmp_path):
    models = []
    for general in (0.0, 0.7):
        out = tmp_path / f"out{general}"
        assert medinr("pretrain", config, "--out", out, *SHORT, "--set", f"general={general}", "--debug").code == 0
        models.append(load_model(out / "mine.safetensors"))
    assert models[1].card.settings["general"] == 0.7
    assert models[1].card.licences == ("CC0", LICENCE)
    assert models[1].family is None
    for part in ("denoiser", "scan_denoiser"):
        one, other = (next(getattr(model.prior, part).parameters()) for model in models)
        assert not torch.equal(one, other)
    refused = medinr("pretrain", config, "--out", tmp_path / "out", "--set", "general=1.5")
    assert refused.code == 2
    assert "general is 1.5" in refused.err
