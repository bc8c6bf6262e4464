import numpy as np
import pytest
import torch

from medinr.data.dataset import load_training_slices, read_slices, slice_dataset
from medinr.data.transforms import ScaleToWaterd
from medinr.errors import ConfigError, IntensityError, ManifestError, UnitError
from medinr.io.hashes import hash_scan
from medinr.io.manifest import Manifest, ManifestRow, read_manifest
from medinr.io.nifti import write_nifti


@pytest.fixture
def manifest(synthetic, tmp_path):
    rows = []
    for subject, contrast in (("s1", "T1"), ("s1", "T2"), ("s2", "T1"), ("s3", "T1")):
        volume = synthetic.phantom((6, 30, 28), seed=len(rows))
        path = write_nifti(volume, tmp_path / f"{subject}{contrast}.nii.gz")
        rows.append(ManifestRow(path.name, hash_scan(path), subject, "v1", "MR", contrast, "train", "CC0", "1:5"))
    return Manifest(tuple(rows), tmp_path)


def test_slices_arrive_on_one_grid_near_one(manifest):
    slices = load_training_slices(manifest, modality="MR", shape=(20, 24), spacing_mm=1.3)
    assert slices.images.shape == (8, 20, 24)
    assert slices.images.dtype == torch.float32
    assert type(slices.images) is torch.Tensor
    assert 0.9 < float(slices.images.amax()) < 1.2
    assert len(slices) == len(set(slices.labels)) == 8
    assert set(slices.scan_hashes) == {row.sha256 for row in manifest}
    assert set(slices.licences) == {"CC0"}
    assert "8 slices of 3 subjects" in repr(slices)


def test_subjects_alternate(manifest):
    for limit in (1, 2, 3):
        slices = load_training_slices(manifest, modality="MR", limit=limit, shape=(8, 8))
        assert len(set(slices.subjects)) == len(slices) == limit
    # The fourth and fifth slice: other scans before second slices of the same scan.
    slices = load_training_slices(manifest, modality="MR", limit=6, shape=(8, 8))
    assert (
        len({hash_ for hash_, subject in zip(slices.scan_hashes, slices.subjects, strict=True) if subject == "s1"}) == 2
    )


def test_same_seed_same_slices(manifest):
    first, again = (load_training_slices(manifest, modality="MR", seed=3, shape=(8, 8)) for _ in range(2))
    assert first.labels == again.labels
    assert torch.equal(first.images, again.images)
    orders = {load_training_slices(manifest, modality="MR", seed=seed, shape=(8, 8)).labels for seed in range(5)}
    assert len(orders) > 1


def test_chosen_slices_are_spread_over_those_the_row_names(manifest):
    items = read_slices(manifest, split="train", modality="MR", contrasts=["T2"], per_scan=2)
    assert [item["label"] for item in items] == ["s1 v1 T2 slice 2", "s1 v1 T2 slice 4"]
    assert len(read_slices(manifest, split="train", modality="MR", contrasts=["T2"], per_scan=99)) == 4


def test_dataset_hands_out_single_slices(manifest):
    dataset = slice_dataset(read_slices(manifest, split="train", modality="MR", limit=3))
    assert len(dataset) == 3
    assert dataset[0]["image"].shape == (1, 28, 30, 1)


def test_nothing_matching_and_nonsense(manifest):
    with pytest.raises(ManifestError, match=r"No row of the manifest is test CT.*train MR T1"):
        load_training_slices(manifest, split="test", modality="CT")
    with pytest.raises(ConfigError, match="per_scan is 0"):
        load_training_slices(manifest, modality="MR", per_scan=0)


def test_changed_or_unusable_scan_is_refused(manifest, synthetic):
    path = manifest.resolve(manifest.rows[2])
    volume = synthetic.phantom((6, 30, 28))
    volume.array[2:] = 0
    write_nifti(volume, path, overwrite=True)
    with pytest.raises(ManifestError, match="SHA-256"):
        load_training_slices(manifest, modality="MR")
    row = manifest.rows[2]
    changed = ManifestRow(row.path, hash_scan(path), "s2", "", "MR", "T1", "train", "CC0", "")
    with pytest.raises(IntensityError, match="s2 T1 slice"):
        load_training_slices(Manifest((changed,), manifest.root), modality="MR")


def test_error_inside_the_pipeline_comes_out_as_it_is(synthetic, tmp_path):
    path = write_nifti(synthetic.phantom((2, 8, 8)), tmp_path / "a.nii")
    row = ManifestRow(path.name, hash_scan(path), "s", "", "MR", "T1", "train", "CC0")
    slices = read_slices(Manifest((row,), tmp_path), split="train", modality="MR")
    with pytest.raises(UnitError, match="Hounsfield units are needed"):
        slice_dataset(slices, [ScaleToWaterd("image")])


def test_shipped_excerpts_make_a_training_set(excerpts):
    manifest = read_manifest(excerpts / "excerpts.csv")
    slices = load_training_slices(manifest, modality="MR", limit=12, spacing_mm=3.6, shape=(64, 64))
    assert len(set(slices.subjects)) == 6
    assert 0.02 < float(slices.images.mean()) < 0.6
    chest = load_training_slices(manifest, modality="CT", spacing_mm=5.6, shape=(64, 64))
    assert 0.9 < float(chest.images[:, 32, 8:56].amax()) < 3
    # Spine below, sternum above: the posterior half of a supine chest holds more bone and table.
    assert float(chest.images[:, 32:].mean()) > float(chest.images[:, :32].mean())
    assert np.isfinite(chest.images.numpy()).all()
