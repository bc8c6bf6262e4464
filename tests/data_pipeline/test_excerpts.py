import nibabel as nib
import numpy as np
import pytest

from medinr.io.manifest import read_manifest
from medinr.io.nifti import read_nifti
from medinr.io.scan import read_scan


@pytest.fixture(scope="module")
def manifest(excerpts):
    return read_manifest(excerpts / "excerpts.csv")


def test_every_excerpt_is_the_one_described_and_usable(manifest):
    for row in manifest:
        volume = read_scan(manifest.verify(row), modality=row.modality)
        volume.require_usable(row.path)
        assert volume.axes[2] == "S"
        assert volume.shape[0] in (2, 4)
        assert (volume.unit == "HU") == (row.modality == "CT")


def test_every_file_is_in_the_manifest_and_small(manifest, excerpts):
    listed = [manifest.resolve(row) for row in manifest]
    files = [path for path in excerpts.rglob("*") if path.is_file()]
    scans = [path for path in files if path.suffix in (".gz", ".dcm")]
    assert all(path in listed or path.parent in listed for path in scans)
    assert sum(path.stat().st_size for path in files) < 6e6


def test_head_excerpts_keep_the_stored_kind_of_number(manifest):
    for row in manifest.select(modality="MR"):
        kind = nib.load(manifest.resolve(row)).get_data_dtype()
        assert kind == (np.float32 if row.subject.endswith("MNI") else np.uint16)


def test_the_development_manifest_splits_by_subject(manifests):
    manifest = read_manifest(manifests / "development.csv")
    train, devtest = ({row.subject for row in manifest.select(split=split)} for split in ("train", "devtest"))
    assert train
    assert devtest
    assert not train & devtest


@pytest.mark.shared
def test_excerpts_are_where_they_were_in_the_whole_scan(manifest, shared_data):
    for name, first, step in (("devtest/patient20_study2_FLAIR", 20, 4), ("train/patient26_T1_MNI", 78, 22)):
        whole = read_nifti(shared_data / "brain_mri" / f"{name}.nii.gz")
        part = read_nifti(manifest.root / "brain_mr" / f"{name.split('/')[1]}.nii.gz")
        numbers = range(first, first + part.shape[0] * step, step)
        np.testing.assert_array_equal(part.array, whole.array[list(numbers)])
        np.testing.assert_allclose(part.affine, whole.select(numbers).affine, atol=1e-4)
