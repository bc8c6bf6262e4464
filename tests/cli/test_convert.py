"""`medinr convert`: any scan to NIfTI or derived DICOM, on its own grid or another."""

import subprocess
import sys
import zipfile

import nibabel as nib
import numpy as np
import pydicom
import pytest

from medinr.io.dicom.read import read_dicom_series
from medinr.io.nifti import read_nifti
from medinr.io.scan import read_scan


@pytest.fixture
def series(synthetic, tmp_path):
    volume = synthetic.phantom(modality="CT", geometry=synthetic.affine(angles=(20.0, -15.0, 30.0)))
    synthetic.write_dicom_series(tmp_path / "series", volume)
    return tmp_path / "series"


def test_there_and_back(medinr, series, tmp_path):
    scan = read_dicom_series(series)
    found = medinr("convert", series, "--out", tmp_path / "scan.nii.gz", "--debug")
    assert found.code == 0, found.err
    image = nib.load(tmp_path / "scan.nii.gz")
    assert image.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, scan.array)
    back = ("convert", tmp_path / "scan.nii.gz", "--of", series, "--out", tmp_path / "back")
    found = medinr(*back)
    assert found.code == 0, found.err
    assert "stored in steps of 1 HU" in found.out
    result = read_dicom_series(tmp_path / "back")
    np.testing.assert_array_equal(result.array, scan.array)
    np.testing.assert_allclose(result.affine, scan.affine, atol=1e-3)
    refused = medinr(*back)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert medinr(*back, "--overwrite").code == 0


def test_other_grids(medinr, synthetic, series, tmp_path):
    found = medinr("convert", series, "--grid", "isotropic", "--spacing", "1.5", "--out", tmp_path / "iso", "--debug")
    assert found.code == 0, found.err
    iso = read_dicom_series(tmp_path / "iso")
    np.testing.assert_allclose(iso.spacing, 1.5, atol=1e-6)
    other = synthetic.phantom((4, 16, 16), geometry=synthetic.affine((1.0, 1.0, 4.0)))
    synthetic.write_dicom_series(tmp_path / "other", other)
    grid = ("convert", series, "--grid", tmp_path / "other", "--out", tmp_path / "on_other.nii.gz", "--debug")
    assert medinr(*grid).code == 0
    on_other = read_nifti(tmp_path / "on_other.nii.gz")
    np.testing.assert_allclose(on_other.affine, other.affine, atol=1e-5)
    assert on_other.shape == other.shape


def test_a_series_of_a_zip_and_a_deidentified_one(medinr, synthetic, series, tmp_path):
    pytest.importorskip("dicomanonymizer")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in series.iterdir():
            archive.write(path, f"study/{path.name}")
    command = ("convert", tmp_path / "study.zip", "--slices", "1,3", "--deidentify", "--out", tmp_path / "out")
    found = medinr(*command, "--debug")
    assert found.code == 0, found.err
    assert "burned-in text and faces" in found.out
    np.testing.assert_array_equal(read_scan(tmp_path / "out").array, read_scan(series, slices=[1, 3]).array)
    for path in (tmp_path / "out").iterdir():
        header = pydicom.dcmread(path)
        assert header.PatientIdentityRemoved == "YES"
        assert synthetic.PATIENT_ID.encode() not in path.read_bytes()


def test_what_cannot_be_written_is_said_before(medinr, synthetic, series, tmp_path):
    nifti = tmp_path / "scan.nii.gz"
    assert medinr("convert", series, "--out", nifti).code == 0
    for arguments, words in (
        ((nifti, "--out", tmp_path / "dicom"), "name the DICOM series with --of"),
        ((series, "--out", tmp_path / "scan.png"), ".nii or .nii.gz"),
        ((series, "--out", tmp_path / "b.nii.gz", "--deidentify"), "--deidentify is for DICOM"),
        ((series, "--out", tmp_path / "b.nii.gz", "--spacing", "1"), "--grid isotropic"),
        ((series, "--out", tmp_path / "b.nii.gz", "--grid", "2mm"), "2mm"),
        ((tmp_path / "none", "--out", tmp_path / "b.nii.gz"), "no such"),
    ):
        found = medinr("convert", *arguments)
        assert found.code == 2, found.err
        assert words in found.err
        assert not (tmp_path / "b.nii.gz").exists()


def test_scans_are_inspected_and_converted_without_pytorch(series, tmp_path):
    code = (
        "import sys; from medinr.cli import main\n"
        "assert main(['inspect', sys.argv[1]]) == 0\n"
        "assert main(['convert', sys.argv[1], '--out', sys.argv[2]]) == 0\n"
        "heavy = {'torch', 'monai', 'pandas', 'matplotlib', 'h5py', 'SimpleITK'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    command = [sys.executable, "-c", code, str(series), str(tmp_path / "scan.nii.gz")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
