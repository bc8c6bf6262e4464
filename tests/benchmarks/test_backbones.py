import json
from dataclasses import fields

import pytest

from benchmarks.backbones import RECIPES, Scores, benchmark_backbones, split_by_subject
from medinr.errors import ConfigError, OutputExistsError
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, write_manifest
from medinr.io.nifti import write_nifti
from medinr.network.trunk import BACKBONES


@pytest.fixture
def manifest(synthetic, tmp_path):
    """Three training subjects, and one that must not be touched."""
    rows = []
    for number, (subject, split) in enumerate((("s1", "train"), ("s2", "train"), ("s3", "train"), ("s0", "devtest"))):
        path = write_nifti(synthetic.phantom((4, 20, 18), seed=number), tmp_path / f"{subject}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), subject, "v1", "MR", "T1", split, "CC0", "1:4"))
    write_manifest(Manifest(tuple(rows), tmp_path), tmp_path / "heads.csv")
    return str(tmp_path / "heads.csv")


def test_every_backbone_has_a_recipe():
    assert list(RECIPES) == list(BACKBONES)


def test_nobody_is_trained_on_and_scored(manifest):
    for held_out, wanted in (("", {"s3"}), ("s1", {"s1"})):
        training, unseen = split_by_subject(manifest, 16, 5, held_out, 2)
        assert (len(training), len(unseen)) == (4, 2)
        assert set(unseen.subjects) == wanted
        assert set(training.subjects) == {"s1", "s2", "s3"} - wanted


def test_all_scores_of_all_backbones_are_written(manifest, tmp_path):
    lines: list[str] = []
    asked = {"steps": 3, "held_out_slices": 2, "backbones": ("siren", "hash"), "announce": lines.append}
    table = benchmark_backbones(manifest, 16, 2, 1.0, tmp_path / "out", **asked)
    assert table.row_count == len(lines) == 2
    assert [column.header for column in table.columns][1:] == [f.name.replace("_", " ") for f in fields(Scores)]
    found = json.loads((tmp_path / "out" / "backbones.json").read_text())
    assert [len(found["slices"][name]) for name in ("siren", "hash")] == [2, 2]
    for name, mean in found["mean"].items():
        for key, value in mean.items():
            assert value == pytest.approx(sum(one[key] for one in found["slices"][name]) / 2)
        assert mean["fitted"] > mean["untouched"]
        assert mean["seconds_per_pass"] > 0
    assert all(line.startswith("s3") for line in found["scored_on"])
    with pytest.raises(OutputExistsError, match="--overwrite"):
        benchmark_backbones(manifest, 16, 2, 1.0, tmp_path / "out", **asked)
    benchmark_backbones(manifest, 16, 2, 1.0, tmp_path / "out", **asked, overwrite=True)
    again = json.loads((tmp_path / "out" / "backbones.json").read_text())
    for name in ("siren", "hash"):
        assert again["mean"][name]["between"] == found["mean"][name]["between"]


def test_unknown_backbones_and_subjects(manifest, tmp_path):
    with pytest.raises(ConfigError, match="'sine' is not one of siren"):
        benchmark_backbones(manifest, 16, 2, 1.0, tmp_path / "out", backbones=("sine",))
    with pytest.raises(ConfigError, match="'s0' cannot be left out of the training subjects s1, s2, s3"):
        benchmark_backbones(manifest, 16, 2, 1.0, tmp_path / "out", held_out="s0")
