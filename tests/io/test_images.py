"""MGH, NRRD and MetaImage against the libraries that wrote them."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from medinr.errors import FileError, IntensityError
from medinr.io.hashes import hash_file, hash_scan
from medinr.io.images.itk import read_image
from medinr.io.images.mgh import read_mgh
from medinr.io.nifti import read_nifti
from medinr.io.scan import read_scan
from medinr.volume import Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _itk(volume: Volume) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(volume.array)
    lps = LPS @ volume.affine
    image.SetSpacing(volume.spacing)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / volume.spacing).ravel().tolist())
    return image


def _notes(volume: Volume) -> str:
    return "; ".join(volume.provenance.notes)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(-180, 180)] * 3), st.tuples(*[st.floats(0.2, 8)] * 3), st.booleans())
def test_every_format_puts_every_voxel_where_it_was(synthetic, tmp_path_factory, angles, spacings, compress):
    folder = tmp_path_factory.mktemp("images")
    volume = synthetic.phantom((3, 5, 4), geometry=synthetic.affine(spacings, angles, (12.5, -7, 90)))
    for name, kind in (("a.nrrd", "nrrd"), ("a.nhdr", "nrrd"), ("a.mha", "metaimage"), ("a.mhd", "metaimage")):
        SimpleITK.WriteImage(_itk(volume), str(folder / name), compress)
        back = read_scan(folder / name)
        np.testing.assert_array_equal(back.array, volume.array)
        np.testing.assert_allclose(back.affine, volume.affine, atol=1e-4)
        assert back.provenance.format == kind
        assert back.provenance.sha256 == hash_scan(folder / name)
    for name in ("a.mgh", "a.mgz"):
        nib.save(nib.MGHImage(volume.array.T, volume.affine), folder / name)
        back = read_scan(folder / name)
        np.testing.assert_array_equal(back.array, volume.array)
        np.testing.assert_allclose(back.affine, volume.affine, atol=1e-3)
        assert back.provenance.format == "mgh"


def test_facts_of_an_mgh_file_come_from_its_footer(tmp_path):
    image = nib.MGHImage(np.ones((4, 3, 2), np.uint8), np.eye(4))
    image.header["tr"], image.header["flip_angle"], image.header["te"] = 2300, np.radians(9), 2.98
    nib.save(image, tmp_path / "T1.mgz")
    facts = read_mgh(tmp_path / "T1.mgz").provenance.facts
    assert facts.repetition_time == 2300
    assert facts.flip_angle == pytest.approx(9)
    assert facts.echo_time == pytest.approx(2.98)
    assert facts.inversion_time is None


def test_four_dimensional_files_and_vectors_need_an_index(tmp_path):
    array = np.stack([np.full((2, 3, 4), value, np.int16) for value in range(3)])
    nib.save(nib.MGHImage(array.T, np.eye(4)), tmp_path / "a.mgz")
    for name in ("a.nrrd", "a.mha"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=False), str(tmp_path / name))
    vector = SimpleITK.GetImageFromArray(np.moveaxis(array, 0, -1), isVector=True)
    for name in ("v.nrrd", "v.mha"):
        SimpleITK.WriteImage(vector, str(tmp_path / name))
    for name in ("a.mgz", "a.nrrd", "a.mha", "v.nrrd", "v.mha"):
        with pytest.raises(FileError, match="3 volumes"):
            read_scan(tmp_path / name)
        assert (read_scan(tmp_path / name, index=2).array == 2).all()


def test_complex_and_two_dimensional_images(tmp_path):
    values = (np.arange(12).reshape(3, 4) * (1 + 2j)).astype(np.complex64)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values.real), str(tmp_path / "a.nrrd"))
    assert read_image(tmp_path / "a.nrrd").shape == (1, 3, 4)
    assert read_image(tmp_path / "a.nrrd").spacing == (1, 1, 1)


def test_colours_are_refused(tmp_path):
    image = SimpleITK.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True)
    for name in ("a.nrrd", "a.mha"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        with pytest.raises(FileError, match="colours"):
            read_scan(tmp_path / name)


def test_ct_by_its_values_and_its_header(tmp_path, synthetic):
    volume = synthetic.phantom(modality="CT")
    volume.array[:, 0] = -2000
    SimpleITK.WriteImage(_itk(volume), str(tmp_path / "a.nrrd"))
    back = read_scan(tmp_path / "a.nrrd")
    assert (back.modality, back.unit, back.array.min()) == ("CT", "HU", -1024)
    SimpleITK.WriteImage(_itk(synthetic.phantom()), str(tmp_path / "a.mha"))
    raw = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(raw.replace(b"ElementType", b"Modality = MET_MOD_MR\nElementType", 1))
    assert "because the header's description says so" in _notes(read_scan(tmp_path / "a.mha"))


def test_voxels_in_another_file_come_from_the_same_folder_only(tmp_path, synthetic):
    folder = tmp_path / "scan"
    folder.mkdir()
    SimpleITK.WriteImage(_itk(synthetic.phantom()), str(folder / "a.mhd"))
    SimpleITK.WriteImage(_itk(synthetic.phantom()), str(folder / "b.nhdr"))
    assert read_scan(folder / "a.mhd").provenance.files == (folder / "a.mhd", folder / "a.raw")
    assert hash_scan(folder / "a.mhd") != hash_file(folder / "a.mhd")
    (tmp_path / "a.raw").write_bytes((folder / "a.raw").read_bytes())
    text = (folder / "a.mhd").read_text()
    nrrd = (folder / "b.nhdr").read_text()
    for name in ("../a.raw", str(tmp_path / "a.raw"), "LIST", "sub/a.raw", "..", "a%20.raw"):
        (folder / "a.mhd").write_text(text.replace("a.raw", name))
        (folder / "b.nhdr").write_text(nrrd.replace("b.raw", name))
        for header in ("a.mhd", "b.nhdr"):
            with pytest.raises(FileError, match="only a file of the same folder is read"):
                read_scan(folder / header)
    (folder / "a.mhd").write_text(text.replace("a.raw", "link.raw"))
    (folder / "link.raw").symlink_to(tmp_path / "a.raw")
    with pytest.raises(FileError, match="a link out of the folder"):
        read_scan(folder / "a.mhd")
    (folder / "a.mhd").write_text(text.replace("a.raw", "gone.raw"))
    with pytest.raises(FileError, match=r"gone\.raw: no such file"):
        read_scan(folder / "a.mhd")


def test_slices_in_numbered_files(tmp_path):
    for number in range(1, 4):
        (tmp_path / f"slice_{number:03d}.raw").write_bytes(np.full((4, 5), number, "<i2").tobytes())
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 5 4 3\nElementType = MET_SHORT\n"
        "ElementByteOrderMSB = False\nElementSpacing = 1 1 2\nElementDataFile = slice_%03d.raw 1 3 1"
    )
    (tmp_path / "a.mhd").write_text(header)
    volume = read_scan(tmp_path / "a.mhd")
    np.testing.assert_array_equal(volume.array[:, 0, 0], [1, 2, 3])
    assert len(volume.provenance.files) == 4
    assert "no orientation" in _notes(volume)
    for numbers in ("1 999999999 1", "3 1 1", "1 3 0"):
        (tmp_path / "a.mhd").write_text(header.replace("1 3 1", numbers))
        with pytest.raises(FileError, match="numbers its files"):
            read_scan(tmp_path / "a.mhd")


def _nrrd(path: Path, extra: str = "", sizes: str = "4 3 2", encoding: str = "raw", voxels: bytes = bytes(48)) -> Path:
    head = f"NRRD0004\ntype: int16\ndimension: 3\nsizes: {sizes}\nendian: little\nencoding: {encoding}\n{extra}\n"
    path.write_bytes(head.encode() + voxels)
    return path


def test_units_and_missing_orientation_of_nrrd(tmp_path):
    space = "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,2)\nspace origin: (0,0,0)\n"
    plain = read_image(_nrrd(tmp_path / "a.nrrd", space))
    metres = read_image(_nrrd(tmp_path / "b.nrrd", space + 'space units: "cm" "cm" "cm"\n'))
    np.testing.assert_allclose(metres.affine[:3], 10 * plain.affine[:3])
    assert "converted to mm" in _notes(metres)
    assert "no orientation" in _notes(read_image(_nrrd(tmp_path / "c.nrrd")))
    with pytest.raises(FileError, match="lengths in lightyears"):
        read_image(_nrrd(tmp_path / "d.nrrd", space + 'space units: "lightyears" "" ""\n'))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sizes": "4 3 20"}, "ends early"),
        ({"sizes": "4 3 999999999"}, "limit"),
        ({"sizes": "4 -3 2"}, "not understood"),
        ({"encoding": "ascii"}, "raw or gzip was expected"),
        ({"extra": "sizes: 4 3 2\n"}, "twice"),
        ({"extra": "type: block\n"}, "twice"),
        ({"extra": "nonsense\n"}, "neither a field nor a key"),
        (
            {"sizes": "1024 1024 900", "encoding": "gzip", "voxels": gzip.compress(bytes(1000), mtime=0)},
            "compressed voxels",
        ),
    ],
)
def test_odd_nrrd_headers_are_refused_before_the_voxels_are_read(tmp_path, change, words):
    with pytest.raises(FileError, match=words):
        read_scan(_nrrd(tmp_path / "a.nrrd", **change))


def test_truncated_files_are_refused(tmp_path, synthetic):
    volume = synthetic.phantom()
    nib.save(nib.MGHImage(volume.array.T, volume.affine), tmp_path / "a.mgh")
    nib.save(nib.MGHImage(volume.array.T, volume.affine), tmp_path / "a.mgz")
    for name in ("a.nrrd", "a.mha"):
        SimpleITK.WriteImage(_itk(volume), str(tmp_path / name), name == "a.nrrd")
    for name in ("a.mgh", "a.mgz", "a.nrrd", "a.mha"):
        raw = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(raw[: len(raw) // 2])
        with pytest.raises(FileError, match="ends early"):
            read_scan(tmp_path / name)


def test_a_reader_given_another_format_says_what_it_is(tmp_path, synthetic):
    volume = synthetic.phantom()
    nib.save(nib.MGHImage(volume.array.T, volume.affine), tmp_path / "a.mgz")
    with pytest.raises(FileError, match=r"not a NIfTI file but a FreeSurfer image .*medinr\.load_scan reads it"):
        read_nifti(tmp_path / "a.mgz")
    with pytest.raises(FileError, match="not an NRRD or MetaImage file but a FreeSurfer image"):
        read_image(tmp_path / "a.mgz")


def test_nan_is_left_to_the_gate(tmp_path, synthetic):
    volume = synthetic.phantom()
    volume.array[1, 2, 3] = np.nan
    SimpleITK.WriteImage(_itk(volume), str(tmp_path / "a.nrrd"))
    with pytest.raises(IntensityError, match="slice 1"):
        read_scan(tmp_path / "a.nrrd").require_usable()
