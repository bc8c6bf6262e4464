"""Maps of real numbers as parametric maps: values as they are, unit, place, and the study of their source."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import ParametricMapStorage, generate_uid

from medinr.errors import FileError, IntensityError, OutputExistsError
from medinr.io.dicom.derived.parametric_map import write_parametric_map
from medinr.io.dicom.read import read_dicom_series

pytest.importorskip("highdicom")

WORDS = {"label": "UNCERTAINTY", "explanation": "standard deviation"}


@pytest.mark.parametrize("kind", ["CT", "MR", "enhanced"])
def test_values_unit_and_place_of_a_map(synthetic, tmp_path, kind):
    def study(dataset):
        dataset.StudyInstanceUID = generate_uid()

    modality = "CT" if kind == "CT" else "MR"
    volume = synthetic.phantom(modality=modality, geometry=synthetic.affine(angles=(20.0, -15.0, 30.0)))
    if kind == "enhanced":
        scan = read_dicom_series(synthetic.write_enhanced(tmp_path / "in.dcm", volume, change=study))
    else:
        synthetic.write_dicom_series(tmp_path / "in", volume)
        scan = read_dicom_series(tmp_path / "in")
    spread = scan.with_array(np.abs(scan.array) * np.float32(0.0123))
    written = write_parametric_map(spread, tmp_path / "map.dcm", **WORDS)
    assert written.step == 0
    one = pydicom.dcmread(tmp_path / "map.dcm")
    source = pydicom.dcmread(scan.provenance.files[0])
    assert one.SOPClassUID == ParametricMapStorage
    assert (one.StudyInstanceUID, one.PatientName) == (source.StudyInstanceUID, source.PatientName)
    mapping = one.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    unit = mapping.MeasurementUnitsCodeSequence[0]
    assert (unit.CodeValue, unit.CodingSchemeDesignator) == ("[hnsf'U]" if kind == "CT" else "[arb'U]", "UCUM")
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    # Values are float32 as they are; frames may be in any order, each says where it is.
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ scan.affine
    for frame, picture in zip(one.PerFrameFunctionalGroupsSequence, one.pixel_array, strict=True):
        origin = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        number = (np.linalg.inv(lps) @ [*origin, 1])[:3]
        np.testing.assert_allclose(number, [0, 0, round(number[2])], atol=1e-3)
        np.testing.assert_array_equal(picture, spread.array[round(number[2])])


def test_a_map_that_cannot_be_written_leaves_nothing(synthetic, tmp_path):
    synthetic.write_dicom_series(tmp_path / "in", synthetic.phantom())
    scan = read_dicom_series(tmp_path / "in")
    holed = scan.with_array(np.full_like(scan.array, np.nan))
    with pytest.raises(IntensityError):
        write_parametric_map(holed, tmp_path / "map.dcm", **WORDS)
    with pytest.raises(FileError, match="NIfTI"):
        write_parametric_map(synthetic.phantom(), tmp_path / "map.dcm", **WORDS)
    assert not (tmp_path / "map.dcm").exists()
    write_parametric_map(scan, tmp_path / "map.dcm", **WORDS)
    with pytest.raises(OutputExistsError):
        write_parametric_map(scan, tmp_path / "map.dcm", **WORDS)
