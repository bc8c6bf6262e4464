import numpy as np
from medinr.pipelines.inspect import inspect
from safetensors.numpy import save_file

from medinr.io.nifti import write_nifti


def test_scan_in_words(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path, synthetic.phantom(geometry=synthetic.affine(angles=(12, 0, 0))))
    text = inspect(tmp_path)
    for words in ("MR, from dicom", "20 x 24 pixels, 5 slices", "0.900 x 0.800 mm", "3.000 mm from", "oblique by 12"):
        assert words in text
    for secret in (synthetic.PATIENT_NAME, synthetic.PATIENT_ID, synthetic.BIRTH_DATE):
        assert secret not in text


def test_unusable_series_is_described_with_the_reason(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path, synthetic.phantom())[2].unlink()
    text = inspect(tmp_path)
    assert "4 slices" in text
    assert "unusable    1 slice(s) missing" in text


def test_several_series_are_listed(synthetic, tmp_path):
    for name in ("a", "b"):
        synthetic.write_dicom_series(tmp_path / name, synthetic.phantom(), description=name)
    assert "  2: MR, 'b', 5 slices" in inspect(tmp_path)
    assert "matrix" in inspect(tmp_path, series=2)


def test_nifti_with_holes(synthetic, tmp_path):
    volume = synthetic.phantom()
    volume.array[1, 2, 3] = np.nan
    volume.array[[0, 4]] = 0
    text = inspect(write_nifti(volume, tmp_path / "a.nii.gz"))
    assert "caution     1 of 5 slices hold NaN or infinity (number 1)" in text
    assert "caution     2 of 5 slices are zero throughout (number 0 to 4)" in text


def test_safetensors_and_manifest(tmp_path, excerpts):
    path = tmp_path / "m.safetensors"
    save_file({"data": np.zeros((2, 3))}, path, metadata={"medinr": '{"task": "mri", "provenance": {"files": ["x"]}}'})
    text = inspect(path)
    assert "task        mri" in text
    assert "data 2 x 3" in text
    assert "files" not in text
    assert "12 of 12 are on this machine" in inspect(excerpts / "excerpts.csv")
