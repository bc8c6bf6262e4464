"""Results go back as the scan was stored: kind of number, scaling, both forms of the affine, times, padding."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from medinr.errors import OutputExistsError, ShapeError
from medinr.io.images.beside import write_beside
from medinr.io.nifti import read_nifti, read_nifti_volumes
from medinr.io.nifti.padding import with_stored_padding
from medinr.io.nifti.stored import FLOATS, stored_as
from medinr.io.nifti.write_series import nifti_series


@pytest.fixture
def fmri(tmp_path):
    """Four volumes of int16 with slope and intercept, another qform than sform, and a repetition time."""
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 900, (7, 6, 5, 4)).astype(np.int16)
    affine = np.array([[-0.9, 0, 0, 20], [0, 0.8, 0, -30], [0, 0, 3.0, 5], [0, 0, 0, 1.0]])
    image = nib.Nifti1Image(stored, affine)
    image.set_sform(affine, code=2)
    image.set_qform(np.diag([-0.9, 0.8, 3.0, 1.0]), code=1)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 1.5
    image.header["slice_code"], image.header["slice_end"] = 3, 4
    image.header["descrip"] = b"Doe^Jane"
    image.header.set_slope_inter(0.5, -10)
    path = tmp_path / "sub-01_bold.nii.gz"
    nib.save(image, path)
    raw = nib.load(path)
    return path, raw


def test_a_series_comes_back_as_it_was(fmri, tmp_path):
    path, source = fmri
    first = read_nifti(path, 0)
    form = stored_as(first)
    assert form.whole
    assert form.step == pytest.approx(abs(source.dataobj.slope))
    with nifti_series(tmp_path / "out.nii.gz", first, 4, form) as add:
        for volume in read_nifti_volumes(path):
            add(volume.array)
    again = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(again.dataobj.get_unscaled(), source.dataobj.get_unscaled())
    assert (again.dataobj.slope, again.dataobj.inter) == (source.dataobj.slope, source.dataobj.inter)
    for name in ("sform_code", "qform_code", "slice_code", "slice_end", "xyzt_units"):
        assert again.header[name] == source.header[name]
    np.testing.assert_array_equal(again.header.get_sform(), source.header.get_sform())
    np.testing.assert_array_equal(again.header.get_qform(), source.header.get_qform())
    assert again.header["pixdim"][4] == 1.5
    content = gzip.decompress((tmp_path / "out.nii.gz").read_bytes())
    assert b"Doe" not in content
    assert (tmp_path / "out.nii.gz").read_bytes()[4:8] == bytes(4)  # no hour of writing


def test_values_are_rounded_and_cut_to_what_can_be_stored(fmri):
    first = read_nifti(fmri[0], 0)
    form = stored_as(first)
    low, high = (form.slope * limit + form.intercept for limit in (-32768, 32767))
    found = form.stored(np.array([[0.24 * form.slope + form.intercept, 1e9, -1e9]], np.float32))
    np.testing.assert_array_equal(found, [[0, 32767, -32768]])
    assert low < -100 < high


def test_whole_numbers_of_other_formats_stay_whole(synthetic):
    scan = synthetic.phantom()
    assert stored_as(scan).dtype == np.int16
    assert stored_as(scan.with_array(scan.array + 0.5)) == FLOATS
    assert stored_as(scan.with_array(scan.array + 40000)).dtype == np.uint16
    assert stored_as(scan.with_array(scan.array.astype(np.complex64))).dtype == np.complex64


def test_another_grid_keeps_the_codes(fmri, tmp_path):
    first = read_nifti(fmri[0], 0).select([1, 2])
    with nifti_series(tmp_path / "out.nii", first, 1, FLOATS) as add:
        add(first.array)
    again = nib.load(tmp_path / "out.nii")
    assert again.shape == (7, 6, 2)
    assert (int(again.header["sform_code"]), int(again.header["qform_code"])) == (2, 1)
    np.testing.assert_allclose(again.affine, first.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(again.dataobj).T, first.array)


def test_complex_values_are_written_as_such(tmp_path, synthetic):
    scan = synthetic.phantom()
    scan = scan.with_array((scan.array * np.exp(0.3j)).astype(np.complex64))
    with nifti_series(tmp_path / "c.nii.gz", scan, 1, stored_as(scan)) as add:
        add(scan.array)
    np.testing.assert_array_equal(read_nifti(tmp_path / "c.nii.gz").array, scan.array)


def test_an_unfinished_series_leaves_nothing(fmri, tmp_path):
    first = read_nifti(fmri[0], 0)
    with (
        pytest.raises(ShapeError, match="2 volumes; 1 came"),
        nifti_series(tmp_path / "o.nii", first, 2, FLOATS) as add,
    ):
        add(first.array)
    with pytest.raises(ShapeError), nifti_series(tmp_path / "o.nii", first, 1, FLOATS) as add:
        add(first.array[:2])
    assert not list(tmp_path.glob("*o.nii"))
    (tmp_path / "o.nii").touch()
    with pytest.raises(OutputExistsError), nifti_series(tmp_path / "o.nii", first, 1, FLOATS) as add:
        add(first.array)


def test_padding_of_a_ct_comes_back_as_its_file_has_it(tmp_path, synthetic):
    scan = synthetic.phantom(modality="CT")
    stored = scan.array.copy()
    stored[:, :4] = -2000
    nib.save(nib.Nifti1Image(stored.astype(np.int16).T, scan.affine), tmp_path / "chest_ct.nii.gz")
    found = read_nifti(tmp_path / "chest_ct.nii.gz", modality="CT")
    assert found.array.min() == -1024
    restored = with_stored_padding(found.array, found)
    np.testing.assert_array_equal(restored[:, :4], -2000)
    np.testing.assert_array_equal(restored[:, 4:], found.array[:, 4:])
    chosen = found.select([1, 3])
    np.testing.assert_array_equal(with_stored_padding(chosen.array, chosen, 0, (1, 3)), restored[[1, 3]])


def test_what_stands_beside_a_scan_comes_along_without_texts(fmri, tmp_path):
    source, result = fmri[0], tmp_path / "denoised.nii.gz"
    sidecar = {"RepetitionTime": 1.5, "SliceThickness": 3.0, "SliceTiming": [0.0, 0.5], "Modality": "MR"}
    sidecar |= {"ImageType": ["ORIGINAL", "Doe, Jane"], "PatientName": "Doe"}
    source.with_name("sub-01_bold.json").write_text(json.dumps(sidecar))
    source.with_name("sub-01_bold.bval").write_text("0 1000 1000 2000\n")
    source.with_name("sub-01_bold.bvec").write_text("0 1 0 0\n0 0 1 0\n0 0 0 Doe\n")
    names = write_beside(source, result, same_grid=True, same_axes=True, overwrite=False)
    assert names == ["denoised.json", "denoised.bval"]
    kept = json.loads((tmp_path / "denoised.json").read_text())
    assert kept == {"RepetitionTime": 1.5, "SliceThickness": 3.0, "SliceTiming": [0.0, 0.5], "Modality": "MR"}
    assert (tmp_path / "denoised.bval").read_text() == "0 1000 1000 2000\n"
    source.with_name("sub-01_bold.bvec").write_text("0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    assert "denoised.bvec" in write_beside(source, result, same_grid=False, same_axes=True, overwrite=True)
    assert "SliceTiming" not in json.loads((tmp_path / "denoised.json").read_text())
    assert "denoised.bvec" not in write_beside(source, result, same_grid=False, same_axes=False, overwrite=True)
