import pytest

from medinr.errors import FileError, UnitError
from medinr.io.nifti import write_nifti
from medinr.io.scan import read_scan


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
