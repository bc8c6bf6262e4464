"""De-identified derived objects: nothing planted comes through, references stay consistent, what stays is said."""

import builtins

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from medinr.errors import LibraryError
from medinr.io.dicom.derived.deidentify import require_deidentifier
from medinr.io.dicom.derived.parametric_map import write_parametric_map
from medinr.io.dicom.derived.write import write_derived_series
from medinr.io.dicom.read import read_dicom_series

pytest.importorskip("dicomanonymizer")

WORDS = {"description": "medinr", "settings_summary": "settings"}

PLANTED = {
    "AccessionNumber": "ACCESSIONQ",
    "InstitutionName": "HOSPITALQ",
    "ReferringPhysicianName": "DOCTORQ",
    "OperatorsName": "OPERATORQ",
    "StationName": "STATIONQ",
    "StudyID": "STUDYQ",
    "PatientComments": "COMMENTQ",
    "StudyDescription": "DESCRIPTIONQ",
    "DeviceSerialNumber": "SERIALQ",
    "StudyDate": "20190307",
    "AcquisitionDateTime": "20190307101112",
}


def plant(dataset, _):
    for keyword, value in PLANTED.items():
        setattr(dataset, keyword, value)
    dataset.PatientSex, dataset.BurnedInAnnotation = "F", "YES"
    nested, person, image = Dataset(), Dataset(), Dataset()
    person.PersonName = "NESTEDQ"
    nested.RequestingPhysician, nested.ScheduledProcedureStepStartDate = "PHYSICIANQ", "20190307"
    nested.VerifyingObserverSequence = [person]
    dataset.RequestAttributesSequence = [nested]
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = dataset.SOPClassUID, "1.2.3.4.5.6"
    dataset.ReferencedImageSequence = [image]
    dataset.private_block(0x0009, "SCANNER", create=True).add_new(1, "LO", "PRIVATEQ")


@pytest.fixture
def scan(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "in", synthetic.phantom(), change=plant)
    return read_dicom_series(tmp_path / "in")


def secrets(synthetic):
    words = [synthetic.PATIENT_NAME, synthetic.PATIENT_ID, synthetic.BIRTH_DATE, "Musterfrau", "NESTEDQ", "PHYSICIANQ"]
    return [word.encode() for word in (*words, "PRIVATEQ", *PLANTED.values())]


def test_no_identifier_and_no_uid_of_the_source_comes_through(synthetic, scan, tmp_path):
    written = write_derived_series(scan, tmp_path / "out", deidentify=True, **WORDS)
    sources = [pydicom.dcmread(path) for path in scan.provenance.files]
    uids = {str(element.value) for one in sources for element in one.iterall() if element.VR == "UI"}
    uids = {uid for uid in uids if not uid.startswith("1.2.840.10008")}
    for path in written.files:
        content = path.read_bytes()
        assert [word for word in secrets(synthetic) if word in content] == []
        assert [uid for uid in uids if uid.encode() in content] == []
    one = pydicom.dcmread(written.files[0])
    assert one.PatientIdentityRemoved == "YES"
    assert one.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert "Basic Application" in one.DeidentificationMethod
    assert one.SeriesDescription == "medinr"


def test_references_stay_consistent_across_the_series_and_its_maps(scan, tmp_path):
    pytest.importorskip("highdicom")
    slices = [
        pydicom.dcmread(path) for path in write_derived_series(scan, tmp_path / "out", deidentify=True, **WORDS).files
    ]
    assert len({one.StudyInstanceUID for one in slices}) == 1
    assert len({one.FrameOfReferenceUID for one in slices}) == 1
    assert len({one.SeriesInstanceUID for one in slices}) == 1
    referred = [one.SourceImageSequence[0].ReferencedSOPInstanceUID for one in slices]
    assert len(set(referred)) == len(slices)
    again = write_derived_series(scan, tmp_path / "again", deidentify=True, **WORDS).files
    assert [pydicom.dcmread(path).SourceImageSequence[0].ReferencedSOPInstanceUID for path in again] == referred
    path = tmp_path / "map.dcm"
    write_parametric_map(scan, path, label="MAP", explanation="a map", deidentify=True)
    assert pydicom.dcmread(path).StudyInstanceUID == slices[0].StudyInstanceUID
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_array_equal(back.array, scan.array)
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-3)


def test_frames_of_an_enhanced_object_are_cleaned_too(synthetic, tmp_path):
    def change(dataset):
        plant(dataset, 0)
        dataset.StudyInstanceUID = generate_uid()
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            content = Dataset()
            content.FrameAcquisitionDateTime, content.FrameComments = "20190307101112", "COMMENTQ"
            frame.FrameContentSequence = [content]

    scan = read_dicom_series(synthetic.write_enhanced(tmp_path / "in.dcm", synthetic.phantom(), change=change))
    (path,) = write_derived_series(scan, tmp_path / "out", deidentify=True, **WORDS).files
    content = path.read_bytes()
    assert [word for word in secrets(synthetic) if word in content] == []
    np.testing.assert_array_equal(read_dicom_series(path).array, scan.array)


def test_what_stays_is_said(scan, tmp_path):
    notes = write_derived_series(scan, tmp_path / "out", deidentify=True, **WORDS).notes
    assert notes[0] == "burned-in text and faces are not removed"
    assert "BurnedInAnnotation" in notes[1]
    assert write_derived_series(scan, tmp_path / "named", **WORDS).notes == ()


def test_a_missing_library_is_named_before_anything_is_written(scan, tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest):
        if name.startswith(("dicomanonymizer", "highdicom")):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(LibraryError, match=r"pip install dicom-anonymizer"):
        require_deidentifier()
    with pytest.raises(LibraryError, match="dicom-anonymizer"):
        write_derived_series(scan, tmp_path / "out", deidentify=True, **WORDS)
    with pytest.raises(LibraryError, match="highdicom"):
        write_parametric_map(scan, tmp_path / "map.dcm", label="MAP", explanation="a map")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "map.dcm").exists()
