"""What a derived object's header says: how it was made, of what, by which program, and how it is shown."""

import os
import stat

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medinr.errors import FileError
from medinr.io.dicom.derived.header import IMPLEMENTATION_CLASS_UID
from medinr.io.dicom.derived.sources import why_not_dicom
from medinr.io.dicom.derived.write import write_derived_series
from medinr.io.dicom.read import read_dicom_series
from medinr.io.nifti import read_nifti, write_nifti

WORDS = {"description": "medinr 4x", "settings_summary": "accelerated 4x"}


def _source(synthetic, folder, modality="MR", change=None):
    synthetic.write_dicom_series(folder, synthetic.phantom(modality=modality), change=change)
    return read_dicom_series(folder)


def _derived(scan, folder, **more):
    return [pydicom.dcmread(path) for path in write_derived_series(scan, folder, **WORDS, **more).files]


@pytest.mark.parametrize(
    ("kind", "codes"),
    [("reconstruction", ["113963"]), ("denoising", ["113087"]), ("resolution", ["113085"]), ("", [])],
)
def test_derivation_is_coded(synthetic, tmp_path, kind, codes):
    derived = _derived(_source(synthetic, tmp_path / "in"), tmp_path / "out", derivation=kind)[0]
    assert [item.CodeValue for item in derived.get("DerivationCodeSequence", [])] == codes
    reference = derived.SourceImageSequence[0]
    assert reference.SpatialLocationsPreserved == "YES"
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"


def test_the_program_names_itself_beside_the_scanner(synthetic, tmp_path):
    def other_program(dataset, _):
        dataset.Manufacturer = "SCANNER"
        item = Dataset()
        item.Manufacturer = "earlier program"
        dataset.ContributingEquipmentSequence = [item]

    derived = _derived(_source(synthetic, tmp_path / "in", change=other_program), tmp_path / "out")[0]
    first, ours = derived.ContributingEquipmentSequence
    assert (derived.Manufacturer, first.Manufacturer) == ("SCANNER", "earlier program")
    assert (ours.Manufacturer, ours.ManufacturerModelName) == ("medinr", "medinr")
    assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    meta = derived.file_meta
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName.startswith("MEDINR_")
    assert len(meta.ImplementationVersionName) <= 16


def test_monochrome1_is_shown_as_it_was(synthetic, tmp_path):
    def inverted(dataset, _):
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.WindowCenter, dataset.WindowWidth = 300, 700

    scan = _source(synthetic, tmp_path / "in", change=inverted)
    assert scan.provenance.facts.inverted
    derived = _derived(scan, tmp_path / "out")[0]
    assert derived.PhotometricInterpretation == "MONOCHROME1"
    assert (derived.WindowCenter, derived.WindowWidth) == (300, 700)
    back = read_dicom_series(tmp_path / "out")
    assert back.provenance.facts.inverted
    np.testing.assert_array_equal(back.array, scan.array)


@pytest.mark.parametrize(("centre", "width", "kept"), [(300, 700, True), (30000, 65535, False), (5000, 10, False)])
def test_a_window_that_does_not_show_the_values_is_replaced(synthetic, tmp_path, centre, width, kept):
    def window(dataset, _):
        dataset.WindowCenter, dataset.WindowWidth, dataset.WindowCenterWidthExplanation = centre, width, "wide"

    derived = _derived(_source(synthetic, tmp_path / "in", change=window), tmp_path / "out")[0]
    assert (derived.WindowCenter == centre) == kept
    assert ("WindowCenterWidthExplanation" in derived) == kept
    assert 0 < derived.WindowCenter < 1000


def test_whole_numbers_stay_and_background_stays_zero(synthetic, tmp_path):
    scan = _source(synthetic, tmp_path / "in")
    derived = _derived(scan, tmp_path / "whole")[0]
    assert "RescaleSlope" not in derived
    np.testing.assert_array_equal(read_dicom_series(tmp_path / "whole").array, scan.array)
    result = scan.with_array(scan.array * np.float32(0.377))
    written = write_derived_series(result, tmp_path / "scaled", **WORDS)
    back = read_dicom_series(tmp_path / "scaled").array
    assert (back[result.array == 0] == 0).all()
    np.testing.assert_allclose(back, result.array, atol=written.step / 2 + 1e-4)
    mapping = pydicom.dcmread(written.files[0]).RealWorldValueMappingSequence[0]
    assert mapping.RealWorldValueSlope == pytest.approx(written.step)
    # Values far from zero still have all 16 bits.
    far = scan.with_array(scan.array * np.float32(0.001) + 500)
    assert write_derived_series(far, tmp_path / "far", **WORDS).step < 2e-5
    np.testing.assert_allclose(read_dicom_series(tmp_path / "far").array, far.array, atol=1e-4)
    # Negative values too.
    phase = scan.with_array(scan.array * np.float32(0.01) - 3)
    step = write_derived_series(phase, tmp_path / "phase", **WORDS).step
    np.testing.assert_allclose(read_dicom_series(tmp_path / "phase").array, phase.array, atol=step / 2 + 1e-6)


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_sources_of_any_byte_order_give_little_endian(synthetic, tmp_path, syntax):
    """Numbers at the top, in sequences, and in byte strings whose words have an order."""

    def dress(dataset, _):
        item = Dataset()
        item.ReferencedFrameNumber = 7
        item.add_new(0x00189073, "FD", 12.5)
        item.add_new(0x00281201, "OW", np.array([1, 2, 700], "<u2").tobytes())
        dataset.ReferencedStudySequence = [item]
        dataset.add_new(0x00189087, "FD", 1000.0)

    folder = tmp_path / "in"
    synthetic.write_dicom_series(folder, synthetic.phantom(), change=dress)
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
            word = dataset.ReferencedStudySequence[0][0x00281201]
            word.value = np.frombuffer(word.value, "<u2").astype(">u2").tobytes()
        fresh = Dataset()
        for element in dataset:
            fresh.add(element)
        fresh.file_meta = dataset.file_meta
        big = syntax == ExplicitVRBigEndian
        pydicom.dcmwrite(path, fresh, implicit_vr=not big, little_endian=not big, enforce_file_format=True)
    scan = read_dicom_series(folder)
    np.testing.assert_array_equal(scan.array, synthetic.phantom().array)
    assert why_not_dicom(scan) == ""
    derived = _derived(scan, tmp_path / "out")[0]
    assert derived.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    item = derived.ReferencedStudySequence[0]
    assert (int(item.ReferencedFrameNumber), item[0x00189073].value, derived[0x00189087].value) == (7, 12.5, 1000.0)
    np.testing.assert_array_equal(np.frombuffer(item[0x00281201].value, "<u2"), [1, 2, 700])
    np.testing.assert_array_equal(read_dicom_series(tmp_path / "out").array, scan.array)


def test_lossy_compression_is_not_forgotten(synthetic, tmp_path):
    def lossy(dataset, _):
        dataset.LossyImageCompression, dataset.LossyImageCompressionRatio = "01", "12.5"
        dataset.LossyImageCompressionMethod = "ISO_10918_1"

    derived = _derived(_source(synthetic, tmp_path / "in", change=lossy), tmp_path / "out")[0]
    assert (derived.LossyImageCompression, derived.LossyImageCompressionRatio) == ("01", 12.5)


def test_what_cannot_be_written_is_said_from_the_headers_alone(synthetic, tmp_path):
    def without_class(dataset, number):
        if number == 2:
            del dataset.SOPClassUID

    def secondary(dataset, _):
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"

    scan = _source(synthetic, tmp_path / "good")
    assert why_not_dicom(scan) == ""
    assert why_not_dicom(scan.select([1, 3])) == ""
    reasons = {
        "nifti": why_not_dicom(read_nifti(write_nifti(scan, tmp_path / "scan.nii.gz"))),
        "SOPClassUID (0008,0016)": why_not_dicom(_source(synthetic, tmp_path / "classless", change=without_class)),
    }
    for path in (tmp_path / "good").iterdir():
        path.rename(tmp_path / f"moved{path.name}")
    reasons["not there any more"] = why_not_dicom(scan)
    for words, reason in reasons.items():
        assert words in reason
        assert "NIfTI" in reason
        assert synthetic.PATIENT_ID not in reason
        assert "IM00" not in reason
    with pytest.raises(FileError, match="not there any more"):
        write_derived_series(scan, tmp_path / "out", **WORDS)


def test_values_that_break_their_type_are_copied_as_they_are(synthetic, tmp_path):
    def numbers(dataset, _):
        dataset.PatientWeight, dataset.FlipAngle = "70.5", "25.5"

    folder = tmp_path / "in"
    synthetic.write_dicom_series(folder, synthetic.phantom(), change=numbers)
    for path in folder.iterdir():
        content = path.read_bytes().replace(synthetic.BIRTH_DATE.encode(), b"1964-8-1").replace(b"25.5", b"abcd")
        path.write_bytes(content)
    derived = _derived(read_dicom_series(folder), tmp_path / "out")[0]
    assert derived.PatientWeight == 70.5
    content = (tmp_path / "out" / "0001.dcm").read_bytes()
    assert b"1964-8-1" in content
    assert b"abcd" in content


def test_file_modes_follow_the_umask(synthetic, tmp_path):
    scan = _source(synthetic, tmp_path / "in")
    before = os.umask(0o027)
    try:
        written = write_derived_series(scan, tmp_path / "out", **WORDS)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in written.files} == {0o640}
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750
