"""A table over every real DICOM case: verdict, position of a marked voxel, pixels against an independent reader.

The marked voxel is the brightest. Its position is compared with what the file's own tags say for that pixel of that
frame, and all voxels with SimpleITK (GDCM) or dcm2niix. The table is printed when all rows are done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest

from medinr.io.dicom.read import read_dicom_series
from medinr.io.nifti import read_nifti

pytestmark = pytest.mark.shared

Table = list[tuple[str, ...]]


@dataclass(frozen=True)
class Case:
    """One file or series; read when `refused` is empty, else refused in words that fit it."""

    path: str
    refused: str = ""
    by: str = "SimpleITK"
    read: dict[str, Any] = field(default_factory=dict)
    #: Of a four-dimensional reference.
    volume: int = 0


CASES = [
    Case("dicom2nifti/anatomical/001"),
    Case("dicom2nifti/failing/gantrytilting/001", r"leans 14\.0 degrees"),
    Case("dicom2nifti/failing/gantrytilting/001", by="resampled", read={"straighten": True}),
    Case("dicom2nifti/failing/slicecount/001"),
    Case("dicom2nifti/ge/anatomical/001"),
    Case("dicom2nifti/ge/anatomical/001_single_slice", r"SliceThickness \(0018,0050\)"),
    Case("dicom2nifti/generic/anatomical/001"),
    Case("dicom2nifti/generic/anatomical/001_implicit"),
    *(Case(f"dicom2nifti/generic/compressed{kind}/001") for kind in ("", "_j2k", "_jpeg", "_jpegls", "_rle")),
    Case("dicom2nifti/generic/rgb/001", "colours"),
    Case("dicom2nifti/philips_enhanced/anatomical/001", by="dcm2niix"),
    Case("dicom2nifti/philips_enhanced/fmri/001", r"(?s)4 series.*time point 4"),
    *(
        Case("dicom2nifti/philips_enhanced/fmri/001", by="dcm2niix", read={"series": number + 1}, volume=number)
        for number in range(4)
    ),
    Case("dicom2nifti/siemens/anatomical/001"),
    Case("dicom2nifti/siemens/fmri_classic/001", r"(?s)2 series.*acquisition 2"),
    *(
        Case("dicom2nifti/siemens/fmri_classic/001", by="dcm2niix", read={"series": number + 1}, volume=number)
        for number in range(2)
    ),
    *(Case(f"dcm_qa_ts/In/{number}.dcm", by="dcm2niix") for number in range(1, 10)),
    *(Case(f"pydicom-data/{name}.dcm", "secondary capture") for name in ("JLSL_08_07_0_1F", "JLSL_16_15_1_1F")),
    *(Case(f"pydicom-data/{name}.dcm", "secondary capture") for name in ("JPEG-LL", "mlut_18", "vlut_04")),
    Case("pydicom-data/JPGLosslessP14SV1_1s_1f_8b.dcm", "ultrasound"),
    Case("pydicom-data/bad_sequence.dcm"),
    *(
        Case(f"pydicom-data/emri_small{kind}.dcm", "10 frames without functional groups")
        for kind in ("", "_RLE", "_big_endian", "_jpeg_2k_lossless", "_jpeg_2k_lossless_too_short", "_jpeg_ls_lossless")
    ),
    *(Case(f"pydicom-data/liver{kind}.dcm", "segmentation") for kind in ("", "_deflate", "_expb", "_j2k", "_rle")),
    *(
        Case(f"pydicom-data/liver_nonbyte_aligned{kind}.dcm", "segmentation")
        for kind in ("", "_deflate", "_j2k", "_rle")
    ),
    Case("pydicom-data/parametric_map_float.dcm", by="pydicom"),
]


def _name(case: Case) -> str:
    return case.path + "".join(f", {key} {value}" for key, value in case.read.items())


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_real_case(shared_data: Path, case: Case, cases: ModuleType, table: Table, tmp_path: Path) -> None:
    path = shared_data / "dicom_cases" / case.path
    if case.refused:
        table.append(cases.refused_row(_name(case), path, case.refused))
        return
    scan = read_dicom_series(path, **case.read)
    if case.by == "resampled":
        # Interpolated values stand on the grid of dcm2niix's own straightened image.
        off, _ = cases.compare(scan, cases.read_dcm2niix(path, tmp_path, "*Tilt*.nii"))
        difference = 0.0
    else:
        off, difference = cases.compare(scan, _reference(cases, case, path, tmp_path), case.volume)
        if "MOSAIC" not in scan.provenance.facts.image_type:
            off = cases.off_tags(scan, path)
    table.append(cases.read_row(_name(case), scan, off, difference, case.by))
    assert off <= cases.NEAR_MM
    assert difference <= cases.SAME_VALUE


def _reference(cases: ModuleType, case: Case, path: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    if case.by == "dcm2niix":
        return cases.read_dcm2niix(path, folder, "*.nii")
    if case.by == "pydicom":
        values = pydicom.dcmread(path).pixel_array.astype(float)
        return np.atleast_3d(values.T), read_dicom_series(path).affine
    return cases.read_simpleitk(path)


def test_the_table_is_of_every_file(shared_data: Path) -> None:
    root = shared_data / "dicom_cases"
    listed: set[Path] = set()
    for case in CASES:
        path = root / case.path
        listed |= {path} if path.is_file() else set(path.rglob("*.dcm"))
    assert listed == set(root.rglob("*.dcm"))


def test_nine_encodings_of_a_mosaic_are_one_scan(shared_data: Path, cases: ModuleType) -> None:
    folder = shared_data / "dicom_cases" / "dcm_qa_ts"
    reference = read_nifti(folder / "Ref" / "1.nii")
    for number in range(1, 10):
        scan = read_dicom_series(folder / "In" / f"{number}.dcm")
        off, difference = cases.compare(scan, (reference.array.T.astype(float), reference.affine))
        assert (off < cases.NEAR_MM, difference) == (True, 0)
