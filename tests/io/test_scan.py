import zipfile

import nibabel as nib
import numpy as np
import pytest
from medinr.pipelines.inspect import inspect

from medinr.errors import FileError, UnitError
from medinr.io.nifti import write_nifti
from medinr.io.scan import count_volumes, read_scan, read_volumes


def test_content_decides_not_the_name(synthetic, tmp_path):
    volume = synthetic.phantom()
    paths = synthetic.write_dicom_series(tmp_path / "dicom", volume)
    assert read_scan(tmp_path / "dicom").provenance.format == "dicom"
    assert read_scan(paths[0].rename(tmp_path / "slice.nii.gz")).provenance.format == "dicom"
    assert read_scan(write_nifti(volume, tmp_path / "a.nii")).provenance.format == "nifti"


def test_choices_that_do_not_apply_are_refused(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "dicom", synthetic.phantom())
    nifti = write_nifti(synthetic.phantom(), tmp_path / "a.nii")
    with pytest.raises(FileError, match="--series"):
        read_scan(tmp_path / "dicom", index=0)
    with pytest.raises(FileError, match="--series"):
        read_scan(nifti, series=1)
    with pytest.raises(UnitError, match="has MR"):
        read_scan(tmp_path / "dicom", modality="CT")
    with pytest.raises(FileError, match="no such"):
        read_scan(tmp_path / "none")


def test_a_zip_of_one_nifti_file(synthetic, tmp_path):
    volume = synthetic.phantom()
    path = write_nifti(volume, tmp_path / "scan.nii.gz")
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.write(path, "a/scan.nii.gz")
        archive.writestr("a/README.txt", "about it")
    np.testing.assert_array_equal(read_scan(tmp_path / "scan.zip").array, volume.array)
    assert "5 slices" in inspect(tmp_path / "scan.zip").text()
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(path, "one.nii.gz")
        archive.write(path, "two.nii.gz")
    with pytest.raises(FileError, match="2 scans"):
        read_scan(tmp_path / "two.zip")
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("README.txt", "about nothing")
    with pytest.raises(FileError, match="no scan among them"):
        read_scan(tmp_path / "none.zip")


@pytest.mark.parametrize("name", ["four.nii", "four.nii.gz"])
def test_every_volume_of_a_file_in_turn(tmp_path, name):
    values = np.random.default_rng(0).integers(0, 900, (9, 8, 5, 4)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1, 2, 1])), tmp_path / name)
    volumes = list(read_volumes(tmp_path / name))
    assert len(volumes) == count_volumes(tmp_path / name) == 4
    for index, volume in enumerate(volumes):
        one = read_scan(tmp_path / name, index=index)
        np.testing.assert_array_equal(volume.array, one.array)
        np.testing.assert_array_equal(volume.affine, one.affine)
        assert volume.provenance == one.provenance


def test_every_stack_of_a_dicom_series_in_turn(synthetic, tmp_path):
    for point in range(3):

        def change(dataset, _, point=point):
            dataset.FrameOfReferenceUID, dataset.TemporalPositionIdentifier = "1.2.4", point + 1

        volume = synthetic.phantom((3, 8, 9), seed=point)
        synthetic.write_dicom_series(tmp_path / "s" / str(point), volume, series_uid="1.2.3", change=change)
    volumes = list(read_volumes(tmp_path / "s"))
    assert len(volumes) == 3
    # Each stack of DICOM is a scan that can be chosen.
    assert count_volumes(tmp_path / "s") == 1
    for point, volume in enumerate(volumes):
        np.testing.assert_array_equal(volume.array, synthetic.phantom((3, 8, 9), seed=point).array)
    synthetic.write_dicom_series(tmp_path / "s" / "other", synthetic.phantom((4, 8, 9)), description="other")
    with pytest.raises(FileError, match="4 series"):
        list(read_volumes(tmp_path / "s"))
    assert len(list(read_volumes(tmp_path / "s", series="time point 2"))) == 3
    assert len(list(read_volumes(tmp_path / "s", series="other"))) == 1
