"""dciodvfy (dicom3tools) finds no error in a derived object that it does not find in its source."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from medinr.io.dicom.derived.parametric_map import write_parametric_map
from medinr.io.dicom.derived.write import write_derived_series
from medinr.io.dicom.read import read_dicom_series
from medinr.io.nifti import read_nifti, write_nifti
from medinr.volume import Volume

pytestmark = pytest.mark.shared

WORDS = {"description": "medinr", "settings_summary": "settings"}

SOURCES = {
    "CT": "ct_dicom/LIDC-IDRI-0001",
    "MR": "dicom_cases/dicom2nifti/siemens/anatomical/001",
    "MR, implicit": "dicom_cases/dicom2nifti/generic/anatomical/001_implicit",
    "MR, JPEG-LS": "dicom_cases/dicom2nifti/generic/compressed_jpegls/001",
    "enhanced MR": "dicom_cases/dicom2nifti/philips_enhanced/anatomical/001",
}


@pytest.fixture(autouse=True)
def dciodvfy(request):
    if shutil.which("dciodvfy") is None:
        pytest.skip(f"{request.node.name} needs dciodvfy (dicom3tools)")


def errors(path):
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return {re.sub(r"frame \d+", "frame N", line) for line in lines if line.startswith("Error")}


def added(written, source):
    known = set().union(*(errors(path) for path in source.provenance.files))
    return set().union(*(errors(path) for path in written.files)) - known


@pytest.fixture(params=SOURCES)
def scan(request, shared_data):
    return read_dicom_series(shared_data / SOURCES[request.param])


def through_nifti(scan, folder):
    """The scan, a little changed, written as NIfTI and read again."""
    changed = scan.with_array(scan.array + np.float32(0.3))
    back = read_nifti(write_nifti(changed, folder / "scan.nii.gz"), modality=scan.modality)
    return replace(back, unit=scan.unit), changed


@pytest.mark.parametrize("deidentify", [False, True], ids=["named", "de-identified"])
def test_there_and_back_through_nifti_adds_no_error(scan, tmp_path, deidentify):
    nifti, changed = through_nifti(scan, tmp_path)
    written = write_derived_series(nifti, tmp_path / "out", source=scan, deidentify=deidentify, **WORDS)
    assert added(written, scan) == set()
    back = read_dicom_series(tmp_path / "out")
    ends = np.array(np.meshgrid(*[(0, size - 1) for size in reversed(scan.shape)], [1])).reshape(4, -1)
    np.testing.assert_allclose(back.affine @ ends, scan.affine @ ends, atol=1e-3)
    np.testing.assert_allclose(back.array, changed.array, atol=written.step / 2 + 1e-3)


def test_another_grid_adds_no_error(scan, tmp_path):
    affine = scan.affine.copy()
    affine[:3, 2] /= 2
    finer = Volume(np.repeat(scan.array + np.float32(0.3), 2, 0), affine, scan.modality, scan.unit, scan.provenance)
    assert added(write_derived_series(finer, tmp_path / "out", **WORDS), scan) == set()


def test_parametric_maps_have_the_errors_of_their_source_at_most(scan, tmp_path):
    pytest.importorskip("highdicom")
    written = write_parametric_map(
        scan.with_array(np.abs(scan.array)), tmp_path / "map.dcm", label="MAP", explanation="a map"
    )
    assert added(written, scan) == set()


def test_a_conformant_enhanced_object_gives_one(shared_data, tmp_path):
    """The real enhanced files lack much: the groups of one and the modules of the other make a nearly faultless one."""
    cases = shared_data / "dicom_cases"
    dataset = pydicom.dcmread(cases / "pydicom-data" / "emri_small.dcm")
    groups = pydicom.dcmread(next((cases / "dicom2nifti" / "philips_enhanced" / "anatomical" / "001").iterdir()))
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        dataset[keyword] = groups[keyword]
    count = len(groups.PerFrameFunctionalGroupsSequence)
    dataset.NumberOfFrames, dataset.PixelData = count, dataset.PixelData[: count * 64 * 64 * 2]
    organisation, indices = Dataset(), []
    organisation.DimensionOrganizationUID = generate_uid()
    for keyword in ("StackID", "InStackPositionNumber"):
        index = Dataset()
        index.DimensionOrganizationUID = organisation.DimensionOrganizationUID
        index.DimensionIndexPointer = tag_for_keyword(keyword)
        index.FunctionalGroupPointer = tag_for_keyword("FrameContentSequence")
        indices.append(index)
    dataset.DimensionOrganizationSequence, dataset.DimensionIndexSequence = [organisation], indices
    dataset.AcquisitionContextSequence, dataset.ApplicableSafetyStandardAgency = [], "IEC"
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.DeviceSerialNumber = "Philips", "Achieva", "1"
    del dataset.SharedFunctionalGroupsSequence[0].ReferencedImageSequence
    for keyword in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning", "InstanceCreatorUID", "SpacingBetweenSlices"):
        del dataset[keyword]
    dataset.save_as(tmp_path / "in.dcm", enforce_file_format=True)
    assert len(errors(tmp_path / "in.dcm")) < 3
    scan = read_dicom_series(tmp_path / "in.dcm")
    for number, volume in enumerate((scan.with_array(scan.array * np.float32(1.01)), scan.select([2, 4, 6]))):
        assert added(write_derived_series(volume, tmp_path / str(number), **WORDS), scan) == set()
