"""Real and deliberately odd files beside the checkout."""

import numpy as np
import pytest
from medinr.pipelines.inspect import inspect

from medinr.errors import FileError, GeometryError, MedinrError
from medinr.io.dicom.derived.write import write_derived_series
from medinr.io.dicom.read import list_series, read_dicom_series
from medinr.io.grid import onto_grid
from medinr.io.manifest import read_manifest
from medinr.io.nifti import read_nifti

pytestmark = pytest.mark.shared

GEOMETRY_ORACLES = [
    "anatomical/001",
    "failing/slicecount/001",
    "ge/anatomical/001",
    "generic/anatomical/001",
    "generic/anatomical/001_implicit",
    "generic/compressed/001",
    "generic/compressed_j2k/001",
    "generic/compressed_rle/001",
    "philips_enhanced/anatomical/001",
    "siemens/anatomical/001",
]


@pytest.mark.parametrize("case", GEOMETRY_ORACLES)
def test_geometry_agrees_with_dicom2nifti(shared_data, case):
    folder = shared_data / "dicom_cases" / "dicom2nifti" / case
    reference = read_nifti(folder.with_name(folder.name + "_ground_truth.nii.gz"))
    scan = read_dicom_series(folder)
    # Their slice axis may lie first: compare the points that the two grids hold, not their order.
    wanted, found = (_corners(volume) for volume in (reference, scan))
    np.testing.assert_allclose(found, wanted, atol=0.02)
    # The same point holds the same value, whichever way round either grid is stored.
    points = np.random.default_rng(0).integers(0, scan.shape, (50, 3))
    homogeneous = np.column_stack([points[:, ::-1], np.ones(50)]).T
    x, y, z = np.rint(np.linalg.solve(reference.affine, scan.affine @ homogeneous))[:3].astype(int)
    np.testing.assert_allclose(scan.array[tuple(points.T)], reference.array[z, y, x], atol=1e-3)


def _corners(volume):
    z, y, x = volume.shape
    ends = np.array(np.meshgrid((0, x - 1), (0, y - 1), (0, z - 1), (1,))).reshape(4, -1)
    points = (volume.affine @ ends)[:3].T.round(1)
    return points[np.lexsort(points.T)]


@pytest.mark.parametrize(
    ("case", "error", "words"),
    [
        ("dicom2nifti/failing/gantrytilting/001", GeometryError, "leans 14.0 degrees"),
        ("dicom2nifti/generic/rgb/001", FileError, "colours"),
        ("dicom2nifti/philips_enhanced/fmri/001", FileError, "(?s)4 series.*time point 4"),
        ("dicom2nifti/ge/anatomical/001_single_slice", GeometryError, "0018,0050"),
        ("pydicom-data/emri_small.dcm", FileError, "10 frames"),
        ("pydicom-data/mlut_18.dcm", FileError, "secondary capture"),
    ],
)
def test_odd_cases_are_refused_in_words(shared_data, case, error, words):
    with pytest.raises(error, match=words):
        read_dicom_series(shared_data / "dicom_cases" / case)


def test_every_odd_file_gives_a_volume_or_a_sentence(shared_data):
    for path in sorted((shared_data / "dicom_cases").rglob("*.dcm")):
        sentence = None
        try:
            scan = read_dicom_series(path)
        except MedinrError as error:
            sentence = str(error)
        assert np.isfinite(scan.array).all() if sentence is None else path.name in sentence


@pytest.mark.parametrize(
    ("case", "low", "high"),
    [("LIDC-IDRI-0001", -1024, 3071), ("covid_A046441/axial/19010101-23.dcm", -1024, 5622)],
)
def test_real_ct_is_in_hounsfield_units(shared_data, case, low, high):
    scan = read_dicom_series(shared_data / "ct_dicom" / case)
    assert (scan.unit, scan.array.min(), scan.array.max()) == ("HU", low, high)
    soft_tissue = ((scan.array > -150) & (scan.array < 150)).mean()
    assert 0.1 < soft_tissue < 0.6


def test_real_ct_goes_out_and_comes_back(shared_data, tmp_path):
    scan = read_dicom_series(shared_data / "ct_dicom" / "LIDC-IDRI-0002")
    write_derived_series(scan, tmp_path / "out", description="d", settings_summary="s")
    back = read_dicom_series(tmp_path / "out")
    np.testing.assert_array_equal(back.array, scan.array)
    assert onto_grid(back, scan.affine, scan.shape, "the scan").shape == scan.shape


def test_folder_of_several_people_is_listed(shared_data):
    assert len(list_series(shared_data / "ct_dicom").series) >= 14
    assert "choose one with --series" in inspect(shared_data / "ct_dicom").text()


def test_the_development_manifest_names_the_files_that_are_there(shared_data, manifests):
    manifest = read_manifest(manifests / "development.csv")
    for row in manifest:
        manifest.verify(row)
