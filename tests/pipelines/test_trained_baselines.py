"""Baselines that learn something first: control trunks, a meta-learned one, and a U-Net."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from medinr.config import ReconstructConfig, load_task_config
from medinr.errors import ConfigError, LeakageError
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, read_manifest, write_manifest
from medinr.io.nifti import write_nifti
from medinr.jobs.evaluate.leakage import refuse_trained
from medinr.jobs.evaluate.results import Results
from medinr.jobs.methods.trained_baselines import control_model, task_unet, training_pairs

TASK = """\
task: denoise
model: {folder}/mine.safetensors
simulation: {{noise_level: 0.1}}
baselines: {{training: {folder}/heads.csv, meta_iterations: 3, unet_steps: 2}}
"""
CONTROLS = ("noise", "one", "meta")


@pytest.fixture
def folder(synthetic, tiny_model, tmp_path, monkeypatch):
    """Two heads to learn from, one to be judged on, a model that has seen nobody, and a task."""
    rows = []
    for number, (subject, split) in enumerate((("a", "train"), ("b", "train"), ("c", "devtest"))):
        path = write_nifti(synthetic.phantom((4, 20, 18), seed=number), tmp_path / f"{subject}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), subject, "v1", "MR", "T1", split, "CC0", "1:3"))
    write_manifest(Manifest(tuple(rows), tmp_path), tmp_path / "heads.csv")
    tiny_model(tmp_path / "mine.safetensors", "MR")
    monkeypatch.setattr("medinr.jobs.methods.trained_baselines.TRUNK_STEPS", 3)
    (tmp_path / "task.yaml").write_text(TASK.format(folder=tmp_path))
    (tmp_path / "evaluate.yaml").write_text("tasks: [task.yaml]\nslices: 1\n")
    return tmp_path


@pytest.fixture
def config(folder) -> ReconstructConfig:
    return load_task_config(folder / "task.yaml")


def _weights(model) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.trunk.parameters()])


def test_controls_differ_repeat_and_are_kept(config, tmp_path) -> None:
    made = {kind: control_model(kind, config, tmp_path / "one") for kind in CONTROLS}
    for kind, model in made.items():
        assert model.prior is None
        assert model.length_scale == 12.0
        for other in CONTROLS:
            assert torch.equal(_weights(model), _weights(made[other])) == (kind == other)
        # Another folder, the same trunk; and what is kept is read, not made again.
        torch.testing.assert_close(_weights(control_model(kind, config, tmp_path / "two")), _weights(model))
    files = sorted((tmp_path / "one").iterdir())
    assert len(files) == len(CONTROLS)
    before = [path.stat().st_mtime_ns for path in files]
    for kind in CONTROLS:
        control_model(kind, config, tmp_path / "one")
    assert [path.stat().st_mtime_ns for path in files] == before


def test_the_other_anatomy_is_a_shipped_model_of_the_other_modality(config, tmp_path) -> None:
    model = control_model("other", config, tmp_path / "kept")
    assert model.card is not None
    assert model.card.modality == "CT"
    assert not (tmp_path / "kept").exists()


def test_pairs_are_of_order_one_and_of_the_training_split_alone(config) -> None:
    pairs = training_pairs(config)
    assert len(pairs) == 2 * 2 * 3
    for direct, reference in pairs:
        assert direct.shape == reference.shape == (20, 18)
        assert 0.5 < float(reference.max()) < 3
        assert 0 < float((direct - reference).abs().mean()) < 0.3
    # Three draws of one slice: the same reference in other noise.
    assert torch.equal((pairs[0][1] * 1e3).round() > 0, (pairs[1][1] * 1e3).round() > 0)
    assert not torch.equal(pairs[0][0], pairs[1][0])


def test_thick_slices_are_learned_from_scans_of_cubic_voxels_cut_across(folder, synthetic) -> None:
    text = (folder / "task.yaml").read_text().replace("task: denoise", "task: superres")
    text = text.replace("noise_level: 0.1", "direction: through-plane, factor: 3")
    (folder / "thick.yaml").write_text(text)
    config = load_task_config(folder / "thick.yaml")
    with pytest.raises(ConfigError, match=r"heads.csv can be measured.*baselines.training"):
        training_pairs(config)
    cubic = synthetic.phantom((18, 20, 22), geometry=synthetic.affine(spacing=(1.0, 1.0, 1.0)))
    path = write_nifti(cubic, folder / "cubic.nii.gz")
    row = ManifestRow(path.name, hash_scan(path), "d", "v1", "MR", "T1", "train", "CC0", "3:4")
    write_manifest(Manifest((row, *read_manifest(folder / "heads.csv").rows), folder), folder / "four.csv")
    pairs = training_pairs(replace(config, baselines=replace(config.baselines, training=str(folder / "four.csv"))))
    # The middle ten of 20 coronal slices, three draws each.
    assert [reference.shape for _, reference in pairs] == [(18, 22)] * 30


def test_a_u_net_is_kept_and_the_global_random_state_is_not_touched(config, tmp_path) -> None:
    state = torch.get_rng_state()
    first, again = (task_unet(config, tmp_path / "kept") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_they_run_when_named_and_only_then(medinr, folder) -> None:
    # Two steps of the published recipe instead of two thousand.
    (folder / "task.yaml").write_text(TASK.format(folder=folder) + "method: strainer\nnetwork: {steps: 2}\n")
    command = ("evaluate", folder / "heads.csv", folder / "evaluate.yaml", "--out", folder / "out", "--debug")
    named = "noisy,STRAINER-noise,STRAINER-other,SIREN-one,Reptile,U-Net"
    assert medinr(*command, "--methods", named).code == 0
    table = Results.read(folder / "out").table
    assert set(table["method"]) == set(named.split(","))
    assert np.isfinite(table.loc[table["metric"] == "psnr", "value"]).all()
    facts = json.loads((folder / "out" / "evaluation.json").read_text())
    assert facts["methods"]["U-Net"]["settings"]["task"]["training"] == "heads.csv"
    assert facts["methods"]["Reptile"]["settings"]["task"]["fit"]["steps"] == 2
    assert len(list((folder / "out" / "work" / "trained").glob("*.safetensors"))) == 4
    unnamed = medinr("evaluate", folder / "heads.csv", folder / "evaluate.yaml", "--out", folder / "default")
    assert unnamed.code == 0
    assert not set(Results.read(folder / "default").table["method"]) & set(named.split(",")[1:])


def test_whom_they_learn_from_they_are_not_judged_on(medinr, folder) -> None:
    command = ("evaluate", folder / "heads.csv", folder / "evaluate.yaml", "--set", "split=train")
    refused = medinr(*command, "--out", folder / "out", "--methods", "U-Net")
    assert refused.code == 2
    assert "a.nii.gz cannot be evaluated with baselines trained on manifest" in refused.err
    assert not (folder / "out").exists()
    # Those that learn of no person may see anybody.
    assert medinr(*command, "--out", folder / "out", "--methods", "noisy").code == 0
    manifest = read_manifest(folder / "heads.csv")
    learned = manifest.select(split="train")
    refuse_trained(learned, "heads", manifest.select(split="devtest").rows[0])
    with pytest.raises(LeakageError, match="subject b is among"):
        refuse_trained(learned, "heads", ManifestRow("x", "1" * 64, "b", "", "MR", "", "test", "CC0"))
