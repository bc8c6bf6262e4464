"""What read_dicom_series refuses, and what it then says: the file, the tag, the remedy."""

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from medinr.errors import FileError, GeometryError, LibraryError, MedinrError
from medinr.io.dicom.read import read_dicom_series


def _write(synthetic, folder, change=None, shape=(5, 8, 9), modality="MR"):
    return synthetic.write_dicom_series(folder, synthetic.phantom(shape, modality), change=change)


def test_missing_slice_is_named_with_its_neighbours(synthetic, tmp_path):
    paths = _write(synthetic, tmp_path)
    paths[2].unlink()
    with pytest.raises(GeometryError, match=f"1 slice.s. missing between {paths[1].name} and {paths[3].name}"):
        read_dicom_series(tmp_path)


def test_missing_slice_of_three_is_seen(synthetic, tmp_path):
    _write(synthetic, tmp_path, shape=(4, 8, 9))[2].unlink()
    with pytest.raises(GeometryError, match="missing"):
        read_dicom_series(tmp_path)


def test_uneven_spacing(synthetic, tmp_path):
    def shift(dataset, number):
        if number == 4:
            dataset.ImagePositionPatient[2] = float(dataset.ImagePositionPatient[2]) + 0.9

    _write(synthetic, tmp_path, shift)
    with pytest.raises(GeometryError, match=r"unevenly spaced: 3\.90 mm"):
        read_dicom_series(tmp_path)


def test_rounded_positions_are_no_reason_to_refuse(synthetic, tmp_path):
    volume = synthetic.phantom((9, 8, 9), geometry=synthetic.affine((0.9, 0.8, 0.625)))

    def rounded(dataset, _):
        dataset.ImagePositionPatient = [f"{float(value):.2f}" for value in dataset.ImagePositionPatient]

    synthetic.write_dicom_series(tmp_path, volume, change=rounded)
    assert read_dicom_series(tmp_path).spacing[2] == pytest.approx(0.625, abs=2e-3)


def test_the_same_slice_twice(synthetic, tmp_path):
    paths = _write(synthetic, tmp_path)
    (tmp_path / "copy").write_bytes(paths[1].read_bytes())
    read = read_dicom_series(tmp_path)
    assert read.shape[0] == 5
    assert "left aside: 1 x a second copy of a slice" in read.provenance.notes


def test_two_pictures_at_one_place(synthetic, tmp_path):
    paths = _write(synthetic, tmp_path)
    other = pydicom.dcmread(paths[1])
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(tmp_path / "other")
    with pytest.raises(GeometryError, match="at the same place"):
        read_dicom_series(tmp_path)


def test_gantry_tilt(synthetic, tmp_path):
    def lean(dataset, number):
        dataset.ImagePositionPatient[1] = float(dataset.ImagePositionPatient[1]) + 0.5 * number

    _write(synthetic, tmp_path, lean)
    with pytest.raises(GeometryError, match=r"leans 9\.5 degrees"):
        read_dicom_series(tmp_path)


def test_one_slice_off_the_line(synthetic, tmp_path):
    def off(dataset, number):
        if number == 2:
            dataset.ImagePositionPatient[0] = float(dataset.ImagePositionPatient[0]) + 2

    paths = _write(synthetic, tmp_path, off)
    with pytest.raises(GeometryError, match=f"{paths[2].name}.*2.00 mm off the line"):
        read_dicom_series(tmp_path)


@pytest.mark.parametrize(
    ("keyword", "tag"),
    [
        ("ImagePositionPatient", "0020,0032"),
        ("ImageOrientationPatient", "0020,0037"),
        ("PixelSpacing", "0028,0030"),
        ("RescaleIntercept", "0028,1052"),
    ],
)
def test_missing_tag_is_named(synthetic, tmp_path, keyword, tag):
    _write(synthetic, tmp_path, lambda dataset, _: delattr(dataset, keyword), modality="CT")
    with pytest.raises(MedinrError, match=f"IM000.*{tag}"):
        read_dicom_series(tmp_path)


def test_single_slice_without_thickness(synthetic, tmp_path):
    path = _write(synthetic, tmp_path, lambda dataset, _: delattr(dataset, "SliceThickness"))[0]
    with pytest.raises(GeometryError, match="SliceThickness"):
        read_dicom_series(path)


def test_orientation_that_is_no_rotation(synthetic, tmp_path):
    def skew(dataset, _):
        dataset.ImageOrientationPatient = [1, 0, 0, 0.5, 0.5, 0]

    _write(synthetic, tmp_path, skew)
    with pytest.raises(GeometryError, match="perpendicular"):
        read_dicom_series(tmp_path)


@pytest.mark.parametrize(("keep", "error"), [(0.3, GeometryError), (0.9, FileError)])
def test_truncated_slice(synthetic, tmp_path, keep, error):
    paths = _write(synthetic, tmp_path, shape=(5, 32, 32))
    whole = paths[3].read_bytes()
    paths[3].write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(error, match=paths[3].name):
        read_dicom_series(tmp_path)


def test_colour(synthetic, tmp_path):
    def colour(dataset, _):
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"

    _write(synthetic, tmp_path, colour)
    with pytest.raises(FileError, match="colours"):
        read_dicom_series(tmp_path)


def test_mosaic_without_its_private_header(synthetic, tmp_path):
    def mosaic(dataset, _):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]

    _write(synthetic, tmp_path, mosaic)
    with pytest.raises(FileError, match=r"NumberOfImagesInMosaic.*0029,1010"):
        read_dicom_series(tmp_path)


def test_frames_without_a_place(synthetic, tmp_path):
    path = synthetic.write_enhanced(
        tmp_path / "film", synthetic.phantom(), lambda dataset: delattr(dataset, "PerFrameFunctionalGroupsSequence")
    )
    with pytest.raises(FileError, match="5200,9230"):
        read_dicom_series(path)


def test_compression_beyond_what_is_installed_names_the_library(synthetic, tmp_path, monkeypatch):
    def compress(dataset, _):
        dataset.PixelData = encapsulate([bytes(64)])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEGLSLossless

    def without_decoders(*_, **__):
        raise RuntimeError("Unable to decompress: all plugins are missing dependencies")

    monkeypatch.setattr("medinr.io.dicom.pixels.pixel_array", without_decoders)
    _write(synthetic, tmp_path, compress)
    with pytest.raises(LibraryError, match=r"JPEG-LS.*pip install python-gdcm"):
        read_dicom_series(tmp_path)


def test_empty_folder_foreign_files_and_nothing(tmp_path):
    with pytest.raises(FileError, match="empty"):
        read_dicom_series(tmp_path)
    (tmp_path / "notes.dcm").write_text("not what the name says")
    with pytest.raises(FileError, match="none of 1 file"):
        read_dicom_series(tmp_path)
    with pytest.raises(FileError, match="no such"):
        read_dicom_series(tmp_path / "none")


def test_absurd_matrix_is_refused_before_memory_is_taken(synthetic, tmp_path):
    def huge(dataset, _):
        dataset.Rows = dataset.Columns = 60000

    _write(synthetic, tmp_path, huge)
    with pytest.raises(FileError, match="limit"):
        read_dicom_series(tmp_path)


def test_errors_do_not_name_the_patient(synthetic, tmp_path):
    paths = _write(synthetic, tmp_path)
    paths[2].unlink()
    with pytest.raises(GeometryError) as caught:
        read_dicom_series(tmp_path)
    assert synthetic.PATIENT_ID not in str(caught.value)
    assert "Musterfrau" not in str(caught.value)
