"""Values and labels of DICOM pictures: padding, inverted grey levels, deflated files, frames, stacks at one place."""

import resource
import subprocess
import sys
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from medinr.errors import FileError, GeometryError
from medinr.io.dicom.read import iterate_slices, list_series, read_dicom_series


@pytest.mark.parametrize(
    ("kind", "value"), [("US", 63536), ("SS", -2000), ("US", [63536, 63536]), ("SS", [-2000, -2000])]
)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("stored_bits", [16, 12])
def test_padding_is_found_by_its_bits(synthetic, tmp_path, kind, value, signed, stored_bits):
    volume = synthetic.phantom(modality="CT")

    def pad(dataset, _):
        pixels = np.frombuffer(dataset.PixelData, "<i2").reshape(dataset.Rows, dataset.Columns).astype("<u2")
        pixels[0, :3] = 63536
        dataset.PixelData = pixels.tobytes()
        dataset.PixelRepresentation = int(signed)
        dataset.BitsStored, dataset.HighBit = stored_bits, stored_bits - 1
        dataset.add_new(0x00280120, kind, value)

    synthetic.write_dicom_series(tmp_path, volume, change=pad)
    read = read_dicom_series(tmp_path)
    assert (read.array[:, 0, :3] == -1024).all()
    np.testing.assert_array_equal(read.array[:, 1:], volume.array[:, 1:])
    assert f"{15} pixels of padding" in " ".join(read.provenance.notes)


def test_padding_that_could_be_tissue_is_kept(synthetic, tmp_path):
    volume = synthetic.phantom(modality="CT")
    synthetic.write_dicom_series(
        tmp_path,
        volume,
        change=lambda dataset, _: dataset.add_new(0x00280120, "SS", int(volume.array[0, 12, 10]) + 1024),
    )
    np.testing.assert_array_equal(read_dicom_series(tmp_path).array, volume.array)


def test_inverted_grey_levels_are_noted_and_values_kept(synthetic, tmp_path):
    volume = synthetic.phantom()
    synthetic.write_dicom_series(
        tmp_path, volume, change=lambda dataset, _: setattr(dataset, "PhotometricInterpretation", "MONOCHROME1")
    )
    read = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.provenance.facts.inverted
    assert any("MONOCHROME1" in note for note in read.provenance.notes)


@pytest.mark.parametrize("more", [-1, 1])
def test_frames_and_their_groups_have_to_be_as_many(synthetic, tmp_path, more):
    def miscount(dataset):
        dataset.NumberOfFrames = int(dataset.NumberOfFrames) + more

    path = synthetic.write_enhanced(tmp_path / "enhanced", synthetic.phantom(), miscount)
    with pytest.raises(FileError, match=rf"NumberOfFrames \(0028,0008\) is {5 + more}.*describe 5"):
        read_dicom_series(path)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
@pytest.mark.parametrize("enhanced", [False, True])
def test_every_encoding_gives_the_same_values(synthetic, tmp_path, syntax, enhanced):
    volume = synthetic.phantom()
    volume = volume.with_array(np.rint(volume.array / 2) * 2)
    if enhanced:
        paths = [synthetic.write_enhanced(tmp_path / "enhanced", volume)]
    else:
        paths = synthetic.write_dicom_series(tmp_path, volume)
    for path in paths:
        dataset = pydicom.dcmread(path)
        if syntax == RLELossless:
            dataset.compress(syntax, generate_instance_uid=False)
            dataset.save_as(path)
        elif syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False, enforce_file_format=True)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    read = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read.array, volume.array)
    np.testing.assert_array_equal(read_dicom_series(tmp_path, slices=[2]).array, volume.array[2:3])
    planes = list(iterate_slices(list_series(tmp_path).series[0]))
    np.testing.assert_array_equal(np.stack(planes), volume.array)


def test_chosen_slices_lie_where_they_were(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path, synthetic.phantom(geometry=synthetic.affine(angles=(20, -15, 30))))
    whole = read_dicom_series(tmp_path)
    part = read_dicom_series(tmp_path, slices=[1, 3])
    np.testing.assert_array_equal(part.array, whole.array[[1, 3]])
    np.testing.assert_allclose(part.affine, whole.select([1, 3]).affine, atol=1e-9)
    assert part.provenance.files == whole.select([1, 3]).provenance.files
    assert part.provenance.sha256 == whole.provenance.sha256
    with pytest.raises(GeometryError, match="slices 0 to 4"):
        read_dicom_series(tmp_path, slices=[5])


def _deflated(synthetic, path, extra):
    synthetic.write_dicom_series(path.parent / "plain", synthetic.phantom((1, 8, 9)))
    dataset = pydicom.dcmread(next((path.parent / "plain").iterdir()))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    whole = path.read_bytes()
    start = whole.index(DeflatedExplicitVRLittleEndian.encode()) + len(DeflatedExplicitVRLittleEndian)
    meta = pydicom.filereader.read_file_meta_info(path)
    start = 132 + 12 + meta.FileMetaInformationGroupLength
    inflated = zlib.decompress(whole[start:], -zlib.MAX_WBITS)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(whole[:start] + deflate.compress(extra(inflated)) + deflate.flush())
    return path


def test_a_deflated_file_inflates_no_further_than_it_declares(synthetic, tmp_path):
    path = _deflated(synthetic, tmp_path / "bomb.dcm", lambda data: data + bytes(128 * 2**20))
    assert path.stat().st_size < 200_000
    code = (
        "import resource, sys; from medinr.io.dicom.read import read_dicom_series as read\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read(sys.argv[1])\nexcept Exception as error: print(type(error).__name__, error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    found = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    said, grown = found.stdout.rsplit("\n", 2)[:2]
    assert "FileError" in said
    assert "inflate to more than" in said
    assert int(grown) < 60_000  # kB
    assert resource.RUSAGE_SELF == 0


def test_a_deflated_header_that_never_ends(synthetic, tmp_path):
    def private(data):
        return (
            b"\x09\x00\x10\x00LO\x02\x00AB"
            + b"\x09\x00\x01\x10OB\0\0"
            + (128 * 2**20).to_bytes(4, "little")
            + bytes(128 * 2**20)
            + data
        )

    with pytest.raises(FileError, match="header of more than"):
        read_dicom_series(_deflated(synthetic, tmp_path / "bomb.dcm", private))


def _gradient(dataset, b_value, direction):
    diffusion, gradient = Dataset(), Dataset()
    gradient.DiffusionGradientOrientation = direction
    diffusion.DiffusionGradientDirectionSequence = [gradient]
    dataset.DiffusionBValue, dataset.DiffusionGradientOrientation = b_value, direction
    del diffusion


def test_diffusion_is_split_by_b_value_and_direction(synthetic, tmp_path):
    shots = [(0, [0, 0, 0]), (1000, [1, 0, 0]), (1000, [0, 1, 0]), (2000, [0, 0, 1])]
    for number, (b_value, direction) in enumerate(shots):

        def change(dataset, _, b_value=b_value, direction=direction, number=number):
            dataset.FrameOfReferenceUID = "1.2.4"
            dataset.AcquisitionTime = f"10{number:02d}00"
            _gradient(dataset, b_value, direction)

        volume = synthetic.phantom((3, 8, 9), seed=number)
        synthetic.write_dicom_series(tmp_path / str(number), volume, series_uid="1.2.3", change=change)
    listing = list_series(tmp_path)
    assert [series.variant.split(",")[0] for series in listing.series] == [
        "b-value 0.0", "b-value 1000.0", "b-value 1000.0", "b-value 2000.0",
    ]  # fmt: skip
    np.testing.assert_array_equal(
        read_dicom_series(tmp_path, "b-value 2000").array, synthetic.phantom((3, 8, 9), seed=3).array
    )
    read = read_dicom_series(tmp_path, "direction 0.0/1.0/0.0")
    np.testing.assert_array_equal(read.array, synthetic.phantom((3, 8, 9), seed=2).array)
    assert read.provenance.facts.b_value == 1000


def test_repeats_are_split_by_time_though_every_slice_has_its_own(synthetic, tmp_path):
    for point in range(3):

        def change(dataset, number, point=point):
            dataset.FrameOfReferenceUID = "1.2.4"
            dataset.AcquisitionTime = f"10{point:02d}{number:02d}"
            dataset.TriggerTime = 100.0 * number + point

        volume = synthetic.phantom((4, 8, 9), seed=point)
        synthetic.write_dicom_series(tmp_path / str(point), volume, series_uid="1.2.3", change=change)
    listing = list_series(tmp_path)
    assert [series.variant for series in listing.series] == [
        f"time point {point} of 3 (by acquisition time)" for point in (1, 2, 3)
    ]
    np.testing.assert_array_equal(
        read_dicom_series(tmp_path, "time point 2").array, synthetic.phantom((4, 8, 9), seed=1).array
    )


def test_components_of_the_signal_are_told_apart(synthetic, tmp_path):
    for component in ("MAGNITUDE", "PHASE"):

        def change(dataset, _, component=component):
            dataset.FrameOfReferenceUID, dataset.ComplexImageComponent = "1.2.4", component

        volume = synthetic.phantom((3, 8, 9), seed=len(component))
        synthetic.write_dicom_series(tmp_path / component, volume, series_uid="1.2.3", change=change)
    read = read_dicom_series(tmp_path, "phase")
    assert read.provenance.facts.component == "phase"
    np.testing.assert_array_equal(read.array, synthetic.phantom((3, 8, 9), seed=5).array)


def test_a_tilted_stack_is_resampled_on_request(synthetic, tmp_path):
    # Each slice lies 3 pixels further along y: whole pixels, so that no value changes.
    volume = synthetic.phantom((4, 24, 20), "CT")

    def lean(dataset, number):
        dataset.ImagePositionPatient[1] = float(dataset.ImagePositionPatient[1]) + 3 * 0.8 * number

    synthetic.write_dicom_series(tmp_path, volume, change=lean)
    with pytest.raises(GeometryError, match="--straighten"):
        read_dicom_series(tmp_path)
    read = read_dicom_series(tmp_path, straighten=True)
    assert read.shape == (4, 24 + 9, 20)
    for number in range(4):
        np.testing.assert_allclose(read.array[number, 3 * number : 3 * number + 24], volume.array[number], atol=1e-3)
    assert read.array[0, -1, 0] == -1024
    marked = volume.affine @ [5, 17, 2, 1] + [0, -3 * 0.8 * 2, 0, 0]
    np.testing.assert_allclose(read.affine @ [5, 17 + 6, 2, 1], marked, atol=1e-6)
    assert any("leant by 38.7 degrees" in note for note in read.provenance.notes)


def test_the_private_scale_of_philips_is_said_and_not_applied(synthetic, tmp_path):
    def scaled(dataset, _):
        dataset.Manufacturer = "Philips Medical Systems"
        dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.0025)

    volume = synthetic.phantom()
    synthetic.write_dicom_series(tmp_path, volume, change=scaled)
    read = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(read.array, volume.array)
    assert any("Philips private scale (2005,100E) 0.0025" in note for note in read.provenance.notes)
