import numpy as np
import pydicom
import pytest

from medinr.data.orient import restore_orientation, standard_orientation
from medinr.errors import FileError, GeometryError, IntensityError, OutputExistsError, UnitError
from medinr.io.dicom.derived.write import write_derived_series
from medinr.io.dicom.read import read_dicom_series
from medinr.io.nifti import read_nifti, write_nifti
from medinr.volume import Volume

WORDS = {"description": "medinr 4x", "settings_summary": "accelerated 4x, trunk brain"}


def _source(synthetic, folder, modality="CT", angles=(20.0, -15.0, 30.0), change=None):
    volume = synthetic.phantom(modality=modality, geometry=synthetic.affine(angles=angles))
    synthetic.write_dicom_series(folder, volume, change=change)
    return read_dicom_series(folder)


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_reading_back_gives_geometry_and_values(synthetic, tmp_path, modality):
    scan = _source(synthetic, tmp_path / "in", modality)
    result = scan.with_array(scan.array + np.float32(0.3))
    written = write_derived_series(result, tmp_path / "out", **WORDS)
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-3)
    assert written.step == 1 if modality == "CT" else written.step < 0.02
    # Half a step, and the rounding of float32 when reading.
    np.testing.assert_allclose(back.array, result.array, atol=written.step / 2 + 1e-4)
    assert back.provenance.files == written.files
    assert back.provenance.frame_of_reference == scan.provenance.frame_of_reference
    assert (back.modality, back.unit) == (scan.modality, scan.unit)


def test_series_is_new_and_points_at_its_source(synthetic, tmp_path):
    scan = _source(synthetic, tmp_path / "in")
    derived = [pydicom.dcmread(path) for path in write_derived_series(scan, tmp_path / "out", **WORDS).files]
    sources = [pydicom.dcmread(path) for path in scan.provenance.files]
    assert len({one.SeriesInstanceUID for one in derived}) == 1
    assert derived[0].SeriesInstanceUID != sources[0].SeriesInstanceUID
    assert len({one.SOPInstanceUID for one in [*derived, *sources]}) == 2 * len(sources)
    for number, (one, source) in enumerate(zip(derived, sources, strict=True), start=1):
        assert one.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert one.SourceImageSequence[0].ReferencedSOPClassUID == source.SOPClassUID
        assert one.ImagePositionPatient == source.ImagePositionPatient
        assert (one.PatientID, one.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
        assert list(one.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
        assert (one.InstanceNumber, one.SeriesDescription) == (number, "medinr 4x")
        assert one.DerivationDescription == WORDS["settings_summary"] + "; stored in steps of 1 HU"
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID


def test_what_described_the_old_pixels_is_gone(synthetic, tmp_path):
    def dress(dataset, _):
        dataset.SmallestImagePixelValue = 1
        dataset.PixelPaddingValue = -2000
        dataset.WindowCenter, dataset.WindowWidth = 40, 400
        dataset.LossyImageCompression = "00"
        dataset.add_new(0x60003000, "OW", b"\0\0")
        dataset.private_block(0x0009, "SCANNER", create=True).add_new(1, "LO", "secret settings")

    scan = _source(synthetic, tmp_path / "in", change=dress)
    derived = pydicom.dcmread(write_derived_series(scan, tmp_path / "out", **WORDS).files[0])
    for gone in ("SmallestImagePixelValue", "PixelPaddingValue", 0x60003000, 0x00090010):
        assert gone not in derived
    assert (derived.WindowCenter, derived.LossyImageCompression) == (40, "00")
    assert (derived.BitsStored, derived.HighBit, derived.PixelRepresentation) == (16, 15, 1)


def test_turned_and_cut_results_find_their_source_pixels(synthetic, tmp_path):
    geometry = synthetic.affine(angles=(180.0, 0.0, 90.0))
    synthetic.write_dicom_series(tmp_path / "in", synthetic.phantom(modality="CT", geometry=geometry))
    scan = read_dicom_series(tmp_path / "in")
    turned = standard_orientation(scan)
    assert turned.array.shape != scan.array.shape
    write_derived_series(turned, tmp_path / "turned", **WORDS)
    np.testing.assert_array_equal(read_dicom_series(tmp_path / "turned").array, scan.array)
    cut = standard_orientation(scan.select([1, 3]))
    write_derived_series(cut, tmp_path / "cut", **WORDS)
    back = read_dicom_series(tmp_path / "cut")
    np.testing.assert_array_equal(back.array, scan.array[[1, 3]])
    np.testing.assert_allclose(back.affine, scan.select([1, 3]).affine, atol=1e-3)
    np.testing.assert_array_equal(restore_orientation(cut, scan.select([1, 3])).array, scan.array[[1, 3]])


@pytest.mark.parametrize("value", [0.0, -3.25])
def test_constant_images_survive(synthetic, tmp_path, value):
    scan = _source(synthetic, tmp_path / "in", "MR")
    write_derived_series(scan.with_array(np.full_like(scan.array, value)), tmp_path / "out", **WORDS)
    np.testing.assert_allclose(read_dicom_series(tmp_path / "out").array, value)


def test_what_cannot_go_out_is_refused_and_leaves_nothing(synthetic, tmp_path):
    scan = _source(synthetic, tmp_path / "in")
    leaning = Volume(scan.array, scan.affine.copy(), "CT", "HU", scan.provenance)
    leaning.affine[:3, 2] += 0.3 * leaning.affine[:3, 1]
    nifti = read_nifti(write_nifti(scan, tmp_path / "scan.nii.gz"))
    holed = scan.with_array(np.where(scan.array > 250, np.nan, scan.array).astype(np.float32))
    for volume, error in (
        (leaning, GeometryError),
        (nifti, FileError),
        (holed, IntensityError),
        (scan.with_array(scan.array * 1000), IntensityError),
        (Volume(scan.array, scan.affine, "CT", "1/mm", scan.provenance), UnitError),
    ):
        with pytest.raises(error):
            write_derived_series(volume, tmp_path / "out", **WORDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "scan.nii.gz"]
    write_derived_series(scan, tmp_path / "out", **WORDS)
    with pytest.raises(OutputExistsError):
        write_derived_series(scan, tmp_path / "out", **WORDS)
