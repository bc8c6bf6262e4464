import numpy as np
import pytest

from medinr.errors import FileError
from medinr.io.dicom.read import list_series, read_dicom_series
from medinr.io.hashes import hash_scan

OBLIQUE = (20.0, -15.0, 30.0)


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), OBLIQUE, (90.0, 0.0, 0.0), (180.0, 5.0, 90.0)])
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_marked_voxel_is_found_where_it_was_put(synthetic, tmp_path, angles, modality):
    volume = synthetic.phantom(modality=modality, geometry=synthetic.affine(angles=angles))
    volume.array[3, 17, 5] = 2500
    synthetic.write_dicom_series(tmp_path, volume)
    read = read_dicom_series(tmp_path)
    z, y, x = np.unravel_index(read.array.argmax(), read.shape)
    np.testing.assert_allclose(read.affine @ [x, y, z, 1], volume.affine @ [5, 17, 3, 1], atol=1e-3)
    np.testing.assert_array_equal(read.array, volume.array)
    assert (read.modality, read.unit) == (modality, "HU" if modality == "CT" else "a.u.")


def test_world_position_by_hand(synthetic, tmp_path):
    # First pixel at LPS (-40, -35, 12), 0.9 mm columns, 0.8 mm rows, 3 mm slices: voxel (x 5, y 17, z 3) in RAS.
    synthetic.write_dicom_series(tmp_path, synthetic.phantom())
    position = read_dicom_series(tmp_path).affine @ [5, 17, 3, 1]
    np.testing.assert_allclose(position[:3], [40 - 5 * 0.9, 35 - 17 * 0.8, 12 + 3 * 3.0], atol=1e-6)


def test_order_and_hash_ignore_names(synthetic, tmp_path):
    volume = synthetic.phantom()
    paths = synthetic.write_dicom_series(tmp_path, volume, seed=5)
    read = read_dicom_series(tmp_path)
    assert list(read.provenance.files) == paths
    assert read.provenance.sha256 == hash_scan(tmp_path)
    assert read.provenance.format == "dicom"
    assert read.provenance.frame_of_reference
    for number, path in enumerate(paths):
        path.rename(tmp_path / f"renamed{number}.dcm")
    assert hash_scan(tmp_path) == read.provenance.sha256


def test_stack_against_the_normal_comes_out_along_it(synthetic, tmp_path):
    volume = synthetic.phantom()
    downwards = volume.affine @ np.diag([1.0, 1, -1, 1])
    synthetic.write_dicom_series(tmp_path, synthetic.phantom(geometry=downwards))
    read = read_dicom_series(tmp_path)
    assert read.axes == ("L", "P", "S")
    assert np.linalg.det(read.affine) > 0


def test_one_file_of_a_series_is_one_slice(synthetic, tmp_path):
    volume = synthetic.phantom()
    path = synthetic.write_dicom_series(tmp_path, volume)[2]
    read = read_dicom_series(path)
    np.testing.assert_array_equal(read.array[0], volume.array[2])
    np.testing.assert_allclose(read.affine @ [0, 0, 0, 1], volume.affine @ [0, 0, 2, 1], atol=1e-3)
    assert read.spacing[2] == pytest.approx(3.0)
    assert any("SliceThickness" in note for note in read.provenance.notes)


def test_two_series_are_listed_and_chosen(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "a", synthetic.phantom((4, 8, 9)), description="FLAIR")
    ct = synthetic.phantom((3, 8, 9), "CT")
    synthetic.write_dicom_series(tmp_path / "b", ct, description="chest")
    with pytest.raises(FileError, match=r"(?s)2 series.*--series N.*MR, 'FLAIR', 4 slices.*CT, 'chest', 3 slices"):
        read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read_dicom_series(tmp_path, 2).array, ct.array)
    with pytest.raises(FileError, match="series 3 was asked for"):
        read_dicom_series(tmp_path, 3)


def test_echoes_of_one_series_are_told_apart(synthetic, tmp_path):
    def echo_of(time):
        def change(dataset, _):
            dataset.EchoTime, dataset.FrameOfReferenceUID = time, "1.2.4"

        return change

    for echo in (10, 80):
        volume = synthetic.phantom((3, 8, 9), seed=echo)
        synthetic.write_dicom_series(tmp_path / str(echo), volume, series_uid="1.2.3", change=echo_of(echo))
    listing = list_series(tmp_path)
    assert [series.variant for series in listing.series] == ["echo time 10.0", "echo time 80.0"]
    np.testing.assert_array_equal(read_dicom_series(tmp_path, 2).array, synthetic.phantom((3, 8, 9), seed=80).array)
    np.testing.assert_array_equal(
        read_dicom_series(tmp_path, "echo time 10").array, synthetic.phantom((3, 8, 9), seed=10).array
    )


def test_other_files_in_the_folder_are_noted(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path, synthetic.phantom())
    (tmp_path / "README.txt").write_text("about this scan")
    (tmp_path / ".hidden").write_text("x")
    read = read_dicom_series(tmp_path)
    assert read.shape[0] == 5
    assert "left aside: 1 x not DICOM" in read.provenance.notes


@pytest.mark.parametrize(("tag", "stored"), [(-2000, -2000), (63536, -2000), (0, 0)])
def test_ct_padding_becomes_the_floor(synthetic, tmp_path, tag, stored):
    volume = synthetic.phantom(modality="CT")

    def pad(dataset, _):
        pixels = np.frombuffer(dataset.PixelData, "<i2").reshape(dataset.Rows, dataset.Columns).copy()
        pixels[0, :3] = stored
        dataset.PixelData = pixels.tobytes()
        dataset.add_new(0x00280120, "US" if tag > 32767 else "SS", tag)

    synthetic.write_dicom_series(tmp_path, volume, change=pad)
    read = read_dicom_series(tmp_path)
    assert (read.array[:, 0, :3] == -1024).all()
    np.testing.assert_array_equal(read.array[:, 1:], volume.array[:, 1:])
    assert any("padding" in note for note in read.provenance.notes)


def test_slope_may_differ_from_slice_to_slice(synthetic, tmp_path):
    volume = synthetic.phantom()

    def rescale(dataset, number):
        dataset.RescaleSlope, dataset.RescaleIntercept = number + 1, -number

    synthetic.write_dicom_series(tmp_path, volume, change=rescale)
    wanted = np.stack([plane * (number + 1) - number for number, plane in enumerate(volume.array)])
    np.testing.assert_allclose(read_dicom_series(tmp_path).array, wanted)


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), OBLIQUE])
def test_enhanced_file_is_read_frame_by_frame(synthetic, tmp_path, angles):
    volume = synthetic.phantom(geometry=synthetic.affine(angles=angles))
    even = volume.with_array(np.rint(volume.array / 2) * 2)
    read = read_dicom_series(synthetic.write_enhanced(tmp_path / "enhanced", even))
    np.testing.assert_allclose(read.affine, even.affine, atol=1e-5)
    np.testing.assert_array_equal(read.array, even.array)
    assert len(read.provenance.files) == 1


def test_nothing_names_the_patient(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path, synthetic.phantom())
    told = (
        repr(read_dicom_series(tmp_path)) + repr(read_dicom_series(tmp_path).provenance) + repr(list_series(tmp_path))
    )
    for secret in (synthetic.PATIENT_NAME, synthetic.PATIENT_ID, synthetic.BIRTH_DATE, "Musterfrau"):
        assert secret not in told


def test_wide_gaps_are_noted(synthetic, tmp_path):
    def thin(dataset, _):
        dataset.SliceThickness = 1.5

    synthetic.write_dicom_series(tmp_path, synthetic.phantom(), change=thin)
    assert any("3 mm apart but 1.5 mm thick" in note for note in read_dicom_series(tmp_path).provenance.notes)
