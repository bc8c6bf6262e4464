import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medinr.errors import FileError, GeometryError, IntensityError, OutputExistsError
from medinr.io.nifti import read_nifti, write_nifti
from medinr.volume import Volume

angle = st.floats(-180, 180)
spacing = st.floats(0.2, 8)
place = st.floats(-500, 500)


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(angle, angle, angle), st.tuples(spacing, spacing, spacing), st.tuples(place, place, place), st.booleans()
)
def test_round_trip_keeps_every_voxel_in_place(synthetic, tmp_path_factory, angles, spacings, origin, mirrored):
    geometry = synthetic.affine(spacings, angles, origin)
    if mirrored:
        geometry = geometry @ np.diag([-1.0, 1, 1, 1])
    volume = synthetic.phantom((2, 5, 4), geometry=geometry)
    path = tmp_path_factory.mktemp("nifti") / "scan.nii.gz"
    back = read_nifti(write_nifti(volume, path))
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-3)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.array.dtype == np.float32


def _save(path: Path, array, affine=None, **header) -> Path:
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    image.header.set_xyzt_units(header.get("unit", "mm"))
    for key in ("sform", "qform"):
        if key in header:
            getattr(image, f"set_{key}")(image.affine if header[key] else None, code=header[key])
    nib.save(image, path)
    return path


def test_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4))
    image.header.set_slope_inter(2.0, -5.0)
    nib.save(image, tmp_path / "a.nii")
    # nibabel rescales on saving, so the header is patched on disk.
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[112:120] = np.array([2.0, -5.0], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    assert read_nifti(tmp_path / "a.nii").array[1, 1, 1] == 7 * 2 - 5


def test_two_dimensional_file_is_one_slice(tmp_path):
    assert read_nifti(_save(tmp_path / "a.nii", np.ones((4, 3), np.float32))).shape == (1, 3, 4)


def test_four_dimensional_file_needs_an_index(tmp_path):
    array = np.stack([np.full((4, 3, 2), value, np.int16) for value in range(5)], axis=-1)
    path = _save(tmp_path / "a.nii.gz", array)
    with pytest.raises(FileError, match="5 volumes"):
        read_nifti(path)
    with pytest.raises(FileError, match="numbered 0 to 4"):
        read_nifti(path, index=5)
    assert (read_nifti(path, index=3).array == 3).all()


def test_units_of_length_become_mm(tmp_path):
    metres = read_nifti(
        _save(tmp_path / "a.nii", np.ones((2, 2, 2), np.int16), np.diag([1e-3, 1e-3, 2e-3, 1]), unit="meter")
    )
    np.testing.assert_allclose(metres.spacing, (1, 1, 2), rtol=1e-5)
    assert any("metres" in note for note in metres.provenance.notes)


def test_header_without_orientation_is_noted(tmp_path):
    array = np.ones((2, 2, 2), np.int16)
    volume = read_nifti(_save(tmp_path / "a.nii", array, np.diag([2.0, 3, 4, 1]), sform=0, qform=0))
    assert volume.spacing == (2, 3, 4)
    assert any("neither sform nor qform" in note for note in volume.provenance.notes)


def test_whole_numbers_down_to_air_are_taken_as_ct(tmp_path, synthetic):
    path = write_nifti(synthetic.phantom(modality="CT"), tmp_path / "ct.nii.gz")
    volume = read_nifti(path)
    assert (volume.modality, volume.unit) == ("CT", "HU")
    assert any("Hounsfield" in note for note in volume.provenance.notes)
    assert read_nifti(path, modality="MR").unit == "a.u."


def test_ct_padding_becomes_the_floor(tmp_path, synthetic):
    volume = synthetic.phantom(modality="CT")
    volume.array[:, 0, :2] = -3024
    read = read_nifti(write_nifti(volume, tmp_path / "ct.nii"))
    assert (read.array[:, 0, :2] == -1024).all()
    np.testing.assert_array_equal(read.array[:, 1:], volume.array[:, 1:])
    assert any("10 pixels of padding" in note for note in read.provenance.notes)


def test_nan_is_read_and_left_to_the_gate(tmp_path):
    array = np.ones((3, 3, 2), np.float32)
    array[0, 0, 1] = np.nan
    volume = read_nifti(_save(tmp_path / "a.nii", array))
    with pytest.raises(IntensityError, match="slice 1"):
        volume.require_usable()


def test_complex_values_survive(tmp_path, synthetic):
    volume = synthetic.phantom((2, 4, 3))
    turned = Volume((volume.array * np.exp(1j)).astype(np.complex64), volume.affine)
    back = read_nifti(write_nifti(turned, tmp_path / "a.nii"))
    np.testing.assert_array_equal(back.array, turned.array)


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"Dear colleague, the scan is attached.", "letter.nii.gz", "not a NIfTI"),
        (b"", "empty.nii.gz", "not a NIfTI|ends early"),
        (gzip.compress(b"x" * 600, mtime=0), "zipped.nii.gz", "not a NIfTI"),
    ],
)
def test_what_is_not_nifti_is_refused(tmp_path, content, name, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=words):
        read_nifti(tmp_path / name)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_file_is_refused(tmp_path, synthetic, suffix):
    path = write_nifti(synthetic.phantom(), tmp_path / f"a{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FileError, match="ends early"):
        read_nifti(path)


def test_missing_file_folder_and_absurd_size_are_refused(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        read_nifti(tmp_path / "none.nii")
    with pytest.raises(FileError, match="folder"):
        read_nifti(tmp_path)
    path = _save(tmp_path / "big.nii", np.ones((2, 2, 2), np.int16))
    raw = bytearray(path.read_bytes())
    raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(raw)
    with pytest.raises(FileError, match="limit"):
        read_nifti(path)


def test_singular_affine_names_the_file(tmp_path):
    path = _save(tmp_path / "flat.nii", np.ones((2, 2, 2), np.int16))
    raw = bytearray(path.read_bytes())
    raw[280:296] = np.zeros(4, "<f4").tobytes()
    path.write_bytes(raw)
    with pytest.raises(GeometryError, match=r"flat\.nii"):
        read_nifti(path)


def test_writing_refuses_to_overwrite_lose_values_or_misname(tmp_path, synthetic):
    volume = synthetic.phantom()
    path = write_nifti(volume, tmp_path / "a.nii.gz", dtype="uint16")
    assert nib.load(path).get_data_dtype() == np.uint16
    with pytest.raises(OutputExistsError):
        write_nifti(volume, path)
    write_nifti(volume, path, overwrite=True)
    with pytest.raises(IntensityError, match="uint8"):
        write_nifti(volume, tmp_path / "b.nii", dtype="uint8")
    with pytest.raises(FileError, match="ends in"):
        write_nifti(volume, tmp_path / "b.img")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.nii.gz"]
