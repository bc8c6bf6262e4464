"""Derived series on other grids than their source's, and derived enhanced objects."""

import warnings
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage, generate_uid

from medinr.data.orient import standard_orientation
from medinr.io.dicom.derived.sources import why_not_dicom
from medinr.io.dicom.derived.write import write_derived_series
from medinr.io.dicom.read import read_dicom_series
from medinr.io.nifti import read_nifti, write_nifti
from medinr.volume import Volume

WORDS = {"description": "medinr", "settings_summary": "settings"}
ANGLES = (20.0, -15.0, 30.0)


@pytest.fixture
def classic(synthetic, tmp_path):
    volume = synthetic.phantom(modality="CT", geometry=synthetic.affine(angles=ANGLES))
    synthetic.write_dicom_series(tmp_path / "in", volume)
    return read_dicom_series(tmp_path / "in")


@pytest.fixture
def wrappers():
    with warnings.catch_warnings():
        # It says that it is experimental.
        warnings.simplefilter("ignore")
        from nibabel.nicom import dicomwrappers
    return dicomwrappers


def complete(dataset):
    """What derived objects need of an enhanced source, and frames whose indices say which they are."""
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = generate_uid(), generate_uid()
    organisation, index = Dataset(), Dataset()
    organisation.DimensionOrganizationUID = index.DimensionOrganizationUID = generate_uid()
    index.DimensionIndexPointer, index.FunctionalGroupPointer = 0x00209057, 0x00209111
    dataset.DimensionOrganizationSequence, dataset.DimensionIndexSequence = [organisation], [index]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    dataset.EchoPulseSequence, dataset.Spoiling, dataset.EffectiveEchoTime = "GRADIENT", "RF", 3.5
    places = [
        float(np.array(frame.PlanePositionSequence[0].ImagePositionPatient) @ [0.3, 0.2, 1])
        for frame in dataset.PerFrameFunctionalGroupsSequence
    ]
    for frame, rank in zip(dataset.PerFrameFunctionalGroupsSequence, np.argsort(np.argsort(places)), strict=True):
        content, kind, window = Dataset(), Dataset(), Dataset()
        content.DimensionIndexValues, content.InStackPositionNumber, content.StackID = int(rank) + 1, int(rank) + 1, "1"
        kind.FrameType, kind.ComplexImageComponent = ["ORIGINAL", "PRIMARY", "T1", "NONE"], "MAGNITUDE"
        window.WindowCenter, window.WindowWidth = 400, 800
        frame.FrameContentSequence, frame.MRImageFrameTypeSequence = [content], [kind]
        frame.FrameVOILUTSequence = [window]


@pytest.fixture
def enhanced(synthetic, tmp_path):
    volume = synthetic.phantom(geometry=synthetic.affine(angles=ANGLES))
    return read_dicom_series(synthetic.write_enhanced(tmp_path / "enhanced.dcm", volume, change=complete))


def positions(volume):
    """World positions of the eight corner voxels, mm."""
    ends = np.meshgrid(*[(0, size - 1) for size in reversed(volume.shape)], [1])
    return volume.affine @ np.array(ends).reshape(4, -1)


def finer(scan, factor=2):
    """The scan with every slice cut in `factor` thinner ones."""
    affine = scan.affine.copy()
    affine[:3, 2] /= factor
    affine[:3, 3] += 0.5 * (affine[:3, 2] - scan.affine[:3, 2])
    return Volume(np.repeat(scan.array, factor, 0), affine, scan.modality, scan.unit, scan.provenance)


def test_thinner_slices_become_a_series_of_their_own_geometry(classic, tmp_path):
    result = finer(classic)
    written = write_derived_series(result, tmp_path / "out", derivation="resolution", **WORDS)
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_allclose(positions(back), positions(result), atol=1e-3)
    np.testing.assert_array_equal(back.array, result.array)
    one = pydicom.dcmread(written.files[4])
    assert (float(one.SliceThickness), float(one.SpacingBetweenSlices)) == pytest.approx((1.5, 1.5))
    assert one.InstanceNumber == 5
    sources = {pydicom.dcmread(path).SOPInstanceUID for path in classic.provenance.files}
    used = [item.ReferencedSOPInstanceUID for item in one.SourceImageSequence]
    assert set(used) < sources
    assert len(used) <= 3
    assert {item.SpatialLocationsPreserved for item in one.SourceImageSequence} == {"NO"}
    assert one.FrameOfReferenceUID == classic.provenance.frame_of_reference


def test_slices_across_the_source_use_all_of_it(classic, tmp_path):
    """Reformatted: what was a row is a slice; the axes are left-handed and slices are written the other way."""
    affine = classic.affine[:, [0, 2, 1, 3]]
    across = replace(classic, array=np.ascontiguousarray(classic.array.transpose(1, 0, 2)), affine=affine)
    written = write_derived_series(across, tmp_path / "out", **WORDS)
    assert len(written.files) == across.shape[0]
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_allclose(positions(back)[:, ::-1].min(axis=1), positions(across).min(axis=1), atol=1e-3)
    again = back.array[::-1] if np.linalg.det(back.affine) * np.linalg.det(across.affine) < 0 else back.array
    np.testing.assert_array_equal(again, across.array)
    one = pydicom.dcmread(written.files[0])
    assert len(one.SourceImageSequence) == len(classic.provenance.files)
    assert "113085" in [item.CodeValue for item in one.DerivationCodeSequence]


def test_a_shifted_or_cropped_grid_is_not_taken_for_the_source(classic, tmp_path):
    shifted = replace(classic, affine=classic.affine.copy())
    shifted.affine[0, 3] += 0.3
    cropped = replace(classic, array=classic.array[:, 2:-2, 3:], affine=classic.affine.copy())
    cropped.affine[:3, 3] = (classic.affine @ [3, 2, 0, 1])[:3]
    for number, volume in enumerate((shifted, cropped)):
        written = write_derived_series(volume, tmp_path / str(number), **WORDS)
        back = read_dicom_series(tmp_path / str(number))
        np.testing.assert_allclose(positions(back), positions(volume), atol=1e-3)
        np.testing.assert_array_equal(back.array, volume.array)
        assert pydicom.dcmread(written.files[0]).SourceImageSequence[0].SpatialLocationsPreserved == "NO"


def test_enhanced_source_gives_an_enhanced_object(enhanced, tmp_path):
    assert why_not_dicom(enhanced) == ""
    result = standard_orientation(enhanced.with_array(enhanced.array * np.float32(1.07)))
    written = write_derived_series(result, tmp_path / "out", **WORDS)
    (path,) = written.files
    derived, source = pydicom.dcmread(path), pydicom.dcmread(enhanced.provenance.files[0])
    assert derived.SOPClassUID == EnhancedMRImageStorage
    assert (derived.NumberOfFrames, list(derived.ImageType)) == (5, ["DERIVED", "PRIMARY", "T1", "NONE"])
    assert derived.SourceImageEvidenceSequence[0].StudyInstanceUID == source.StudyInstanceUID
    by_place = {
        tuple(frame.PlanePositionSequence[0].ImagePositionPatient): number
        for number, frame in enumerate(source.PerFrameFunctionalGroupsSequence, start=1)
    }
    for frame in derived.PerFrameFunctionalGroupsSequence:
        assert frame.MRImageFrameTypeSequence[0].FrameType[0] == "DERIVED"
        reference = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference.ReferencedFrameNumber == by_place[tuple(frame.PlanePositionSequence[0].ImagePositionPatient)]
        assert frame.FrameVOILUTSequence[0].WindowCenter == 400
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_allclose(positions(back), positions(enhanced), atol=1e-3)
    np.testing.assert_allclose(back.array, enhanced.array * np.float32(1.07), atol=written.step / 2 + 1e-4)


def test_part_of_an_enhanced_object_counts_its_frames_anew(enhanced, tmp_path):
    part = enhanced.select([1, 3])
    derived = pydicom.dcmread(write_derived_series(part, tmp_path / "out", **WORDS).files[0])
    contents = [frame.FrameContentSequence[0] for frame in derived.PerFrameFunctionalGroupsSequence]
    assert sorted(content.DimensionIndexValues for content in contents) == [1, 2]
    assert sorted(content.InStackPositionNumber for content in contents) == [1, 2]
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_allclose(positions(back), positions(part), atol=1e-3)
    np.testing.assert_array_equal(back.array, part.array)


def test_another_grid_of_an_enhanced_source_gives_single_slices(enhanced, tmp_path):
    result = finer(enhanced)
    written = write_derived_series(result, tmp_path / "out", **WORDS)
    one = pydicom.dcmread(written.files[0])
    assert one.SOPClassUID == MRImageStorage
    assert (one.ScanningSequence, one.SequenceVariant, one.EchoTime) == ("GR", "SP", 3.5)
    assert "PerFrameFunctionalGroupsSequence" not in one
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_allclose(positions(back), positions(result), atol=1e-3)
    np.testing.assert_array_equal(back.array, result.array)


def test_frames_at_one_place_are_told_apart_by_their_number(synthetic, tmp_path):
    def twice(dataset):
        complete(dataset)
        frames = list(dataset.PerFrameFunctionalGroupsSequence)
        frames.sort(key=lambda frame: frame.FrameContentSequence[0].InStackPositionNumber)
        places = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames[:3]]
        for number, frame in enumerate(frames):
            frame.FrameContentSequence[0].TemporalPositionIndex = 1 + number % 2
            frame.PlanePositionSequence[0].ImagePositionPatient = list(places[number // 2])

    volume = synthetic.phantom(shape=(6, 24, 20))
    path = synthetic.write_enhanced(tmp_path / "enhanced.dcm", volume, change=twice)
    original = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    for point in (1, 2):
        scan = read_dicom_series(path, f"time point {point}")
        written = write_derived_series(scan, tmp_path / str(point), **WORDS)
        np.testing.assert_array_equal(read_dicom_series(tmp_path / str(point)).array, scan.array)
        groups = pydicom.dcmread(written.files[0]).PerFrameFunctionalGroupsSequence
        derivations = [group.DerivationImageSequence[0].SourceImageSequence[0] for group in groups]
        sources = [original[int(one.ReferencedFrameNumber) - 1].FrameContentSequence[0] for one in derivations]
        assert [content.TemporalPositionIndex for content in sources] == [point] * 3
    unknown = replace(scan, provenance=replace(scan.provenance, frames=()))
    assert "at one place" in why_not_dicom(unknown)


def test_there_and_back_through_nifti(classic, enhanced, tmp_path):
    """DICOM -> volume -> NIfTI -> volume -> DICOM: positions to 1e-3 mm, values to half a step."""
    for name, scan in (("classic", classic), ("enhanced", enhanced)):
        changed = scan.with_array(scan.array * np.float32(0.713))
        nifti = read_nifti(write_nifti(changed, tmp_path / f"{name}.nii.gz"), modality=scan.modality)
        nifti = replace(nifti, unit=scan.unit)
        written = write_derived_series(nifti, tmp_path / name, source=scan, **WORDS)
        back = read_dicom_series(tmp_path / name)
        np.testing.assert_allclose(positions(back), positions(scan), atol=1e-3)
        np.testing.assert_allclose(back.array, changed.array, atol=written.step / 2 + 1e-4)


def test_independent_readers_agree_on_a_derived_series(classic, wrappers, tmp_path):
    result = classic.with_array(classic.array + np.float32(7.4))
    written = write_derived_series(result, tmp_path / "out", **WORDS)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in written.files])
    image = reader.Execute()
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), back.array)
    z, y, x = back.shape
    for voxel in ((0, 0, 0), (x - 1, 0, 0), (0, y - 1, 0), (3, 5, z - 1)):
        ours = (back.affine @ [*voxel, 1])[:3] * [-1, -1, 1]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(voxel), ours, atol=1e-3)
    for number, path in enumerate(written.files):
        wrapper = wrappers.wrapper_from_file(str(path))
        np.testing.assert_array_equal(wrapper.get_data(), back.array[number])
        corner = wrapper.affine @ [5, 3, 0, 1]
        np.testing.assert_allclose(corner[:3] * [-1, -1, 1], (back.affine @ [3, 5, number, 1])[:3], atol=1e-3)


def test_independent_readers_agree_on_an_enhanced_object(enhanced, wrappers, tmp_path):
    result = enhanced.with_array(enhanced.array * np.float32(1.07))
    (path,) = write_derived_series(result, tmp_path / "out", **WORDS).files
    back = read_dicom_series(path)
    image = SimpleITK.ReadImage(str(path))
    np.testing.assert_allclose(SimpleITK.GetArrayFromImage(image), back.array, atol=1e-3)
    z, y, x = back.shape
    for voxel in ((0, 0, 0), (x - 1, y - 1, 0), (3, 5, z - 1)):
        ours = (back.affine @ [*voxel, 1])[:3] * [-1, -1, 1]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(voxel), ours, atol=1e-3)
    wrapper = wrappers.wrapper_from_file(str(path))
    data = wrapper.get_data()
    first = (np.linalg.inv(back.affine) @ ((wrapper.affine @ [5, 3, 1, 1]) * [-1, -1, 1, 1]))[:3]
    column, row, number = np.rint(first).astype(int)
    np.testing.assert_allclose(first, (column, row, number), atol=1e-3)
    assert data[5, 3, 1] == pytest.approx(back.array[number, row, column], abs=1e-3)
