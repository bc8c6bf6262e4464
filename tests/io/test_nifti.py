import gzip
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medinr.errors import FileError, GeometryError, IntensityError, OutputExistsError
from medinr.io.nifti import read_nifti, write_nifti
from medinr.volume import ScanFacts, Volume

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
    affine = np.eye(4) if affine is None else affine
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units(header.get("unit", "mm"))
    for key in ("sform", "qform"):
        if key in header:
            getattr(image, f"set_{key}")(affine if header[key] else None, code=header[key])
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
    path = write_nifti(synthetic.phantom(modality="CT"), tmp_path / "scan.nii.gz")
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
        (b"Dear colleague, the scan is attached.", "letter.nii.gz", "not a NIfTI file but a text"),
        (b"", "empty.nii.gz", r"not a NIfTI file but empty \(0 bytes\)"),
        (gzip.compress(b"x" * 600, mtime=0), "zipped.nii.gz", "not a NIfTI file but a text, compressed by gzip"),
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


def _patched(path: Path, **fields) -> Path:
    """Change fields of a header on disk, which nibabel would correct."""
    raw = bytearray(path.read_bytes())
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path.write_bytes(raw)
    return path


def _notes(volume: Volume) -> str:
    return "; ".join(volume.provenance.notes)


def test_qform_is_used_without_an_sform_and_in_place_of_a_singular_one(tmp_path, synthetic):
    geometry = synthetic.affine((0.9, 0.8, 3.0), (10, 20, 30))
    only = read_nifti(_save(tmp_path / "q.nii", np.ones((4, 3, 2), np.int16), geometry, sform=0, qform=1))
    np.testing.assert_allclose(only.affine, geometry, atol=1e-4)
    both = _save(tmp_path / "both.nii", np.ones((4, 3, 2), np.int16), geometry, sform=1, qform=1)
    volume = read_nifti(_patched(both, srow_z=[0, 0, 0, 0]))
    np.testing.assert_allclose(volume.affine, geometry, atol=1e-4)
    assert "sform of the header is singular; the qform was used" in _notes(volume)


def test_sform_goes_before_a_qform_that_differs(tmp_path):
    path = _save(tmp_path / "a.nii", np.ones((4, 3, 2), np.int16), np.diag([1.0, 1, 2, 1]), sform=1, qform=1)
    volume = read_nifti(_patched(path, qoffset_x=7.0))
    assert volume.affine[0, 3] == 0
    assert "differ by up to 7.0 mm; the sform was used" in _notes(volume)


def test_template_space_is_noted_and_kept_on_writing(tmp_path):
    path = _save(tmp_path / "a.nii", np.ones((4, 3, 2), np.int16), sform=4, qform=0)
    volume = read_nifti(path)
    assert "aligned to the MNI template" in _notes(volume)
    assert int(nib.load(write_nifti(volume, tmp_path / "b.nii")).header["sform_code"]) == 4


@pytest.mark.parametrize("spacing", [0.0, np.nan, np.inf])
def test_spacing_that_is_none_is_refused_when_nothing_replaces_it(tmp_path, spacing):
    path = _save(tmp_path / "a.nii", np.ones((4, 3, 2), np.int16), sform=0, qform=1)
    with pytest.raises(GeometryError, match=r"spacing of .* along y and no sform"):
        read_nifti(_patched(path, pixdim=[1, 1, spacing, 1, 0, 0, 0, 0]))


def test_odd_spacings_are_noted(tmp_path):
    path = _save(tmp_path / "a.nii", np.ones((4, 3, 2), np.int16), sform=0, qform=1)
    volume = read_nifti(_patched(path, pixdim=[1, 2, -3, 4, 0, 0, 0, 0]))
    assert volume.spacing == (2, 3, 4)
    assert "negative voxel spacing along y" in _notes(volume)
    single = _save(tmp_path / "b.nii", np.ones((4, 3, 1), np.int16), sform=0, qform=1)
    assert "no thickness of its single slice" in _notes(read_nifti(_patched(single, pixdim=[1, 2, 3, 0, 0, 0, 0, 0])))


def test_impossible_rotation_is_refused(tmp_path):
    path = _save(tmp_path / "a.nii", np.ones((4, 3, 2), np.int16), sform=0, qform=1)
    with pytest.raises(GeometryError, match="rotation is impossible"):
        read_nifti(_patched(path, quatern_b=0.9, quatern_c=0.9))


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "float64", "complex128"])
def test_values_are_scaled_and_kept(tmp_path, kind):
    stored = np.arange(24).reshape(4, 3, 2).astype(kind)
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(stored, np.eye(4)), path)
    volume = read_nifti(_patched(path, scl_slope=0.5, scl_inter=-3))
    np.testing.assert_allclose(volume.array, (stored.T * 0.5 - 3).astype(volume.array.dtype), rtol=1e-7)
    assert volume.array.dtype == (np.complex64 if kind == "complex128" else np.float32)


def test_whole_numbers_that_float32_cannot_hold_are_noted(tmp_path):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.full((2, 2, 2), 2**24 + 1, np.int32), np.eye(4)), path)
    assert "rounded to float32" in _notes(read_nifti(path))


def test_nifti_2_is_read(tmp_path, synthetic):
    volume = synthetic.phantom((2, 5, 4))
    nib.save(nib.Nifti2Image(volume.array.T, volume.affine), tmp_path / "a.nii.gz")
    back = read_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine)


def test_one_volume_of_many_is_read_without_the_others(tmp_path, monkeypatch):
    array = np.stack([np.full((16, 16, 8), value, np.int16) for value in range(50)], axis=-1)
    path = _save(tmp_path / "a.nii", array)
    taken = []
    original = np.empty
    monkeypatch.setattr(
        np, "empty", lambda shape, *args, **kw: taken.append(np.prod(shape)) or original(shape, *args, **kw)
    )
    volume = read_nifti(path, index=7, modality="MR")
    assert (volume.array == 7).all()
    assert max(taken) == 16 * 16 * 8


def test_labels_statistics_and_other_intents_are_noted(tmp_path):
    path = _save(tmp_path / "a.nii", np.ones((4, 3, 2), np.int16))
    for intent, words in ((1002, "labels"), (5, "a statistic"), (1007, "no intensities")):
        assert words in _notes(read_nifti(_patched(path, intent_code=intent)))


def test_gzip_that_was_changed_is_found_by_its_checksum(tmp_path):
    path = _save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 999, (40, 40, 9)).astype(np.int16))
    raw = bytearray(path.read_bytes())
    raw[-8] ^= 1  # the checksum itself: no voxel can tell
    path.write_bytes(raw)
    with pytest.raises(FileError, match="damaged"):
        read_nifti(path)


def test_description_extensions_and_time_of_the_source_are_kept(tmp_path, synthetic):
    geometry = synthetic.affine()
    image = nib.Nifti1Image(np.ones((4, 3, 2, 5), np.int16), geometry)
    image.header["descrip"] = b"TE=30;Time=1"
    image.header.set_intent("estimate", name="map")
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4] = 2500
    content = b"<AFNI_attributes/>"
    image.header.extensions.append(nib.nifti1.Nifti1Extension(4, content))
    nib.save(image, tmp_path / "source.nii.gz")
    volume = read_nifti(tmp_path / "source.nii.gz", index=2)
    assert volume.provenance.facts.repetition_time == 2500
    assert volume.provenance.facts.echo_time == 30
    header = nib.load(write_nifti(volume.select([1]), tmp_path / "kept.nii")).header
    assert header["descrip"].item() == b"TE=30;Time=1"
    assert header.get_intent()[::2] == ("estimate", "map")
    assert header.get_xyzt_units() == ("mm", "msec")
    assert header["pixdim"][4] == 2500
    assert [(extension.get_code(), extension.get_content()) for extension in header.extensions] == [(4, content)]
    plain = nib.load(write_nifti(volume, tmp_path / "plain.nii", source_header=False)).header
    assert not plain["descrip"].item()
    assert not plain.extensions
    assert plain.get_intent()[0] == "none"
    assert plain["pixdim"][4] == 2500
    # A source that changed since says nothing about the volume any more.
    _save(tmp_path / "source.nii.gz", np.zeros((4, 3, 2), np.int16))
    assert not nib.load(write_nifti(volume, tmp_path / "later.nii")).header["descrip"].item()


def test_repetition_time_of_other_sources_is_written(tmp_path, synthetic):
    volume = synthetic.phantom()
    facts = ScanFacts(repetition_time=600.0)
    scan = replace(volume, provenance=replace(volume.provenance, facts=facts))
    header = nib.load(write_nifti(scan, tmp_path / "a.nii")).header
    assert header.get_xyzt_units() == ("mm", "sec")
    assert header["pixdim"][4] == np.float32(0.6)


def test_a_view_is_written_without_a_copy_and_modes_follow_the_umask(tmp_path, synthetic):
    volume = synthetic.phantom()
    path = write_nifti(replace(volume, array=volume.array[:, ::-1, ::2]), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_nifti(path).array, volume.array[:, ::-1, ::2])
    probe = tmp_path / "probe"
    probe.touch()
    assert path.stat().st_mode == probe.stat().st_mode


def test_what_cannot_be_written_is_said_in_words(tmp_path, synthetic):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be written"):
        write_nifti(synthetic.phantom(), tmp_path / "file" / "a.nii")
    with pytest.raises(IntensityError, match="no kind of number"):
        write_nifti(synthetic.phantom(), tmp_path / "a.nii", dtype="tiny")
