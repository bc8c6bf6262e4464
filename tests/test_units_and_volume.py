import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medinr.errors import GeometryError, IntensityError, ShapeError, UnitError
from medinr.units import HU_VACUUM, MU_WATER, SIGMA_PER_FWHM, attenuation_from_hu, hu_from_attenuation
from medinr.volume import Provenance, Volume


def _world(volume, z, y, x):
    return (volume.affine @ [x, y, z, 1])[:3]


def test_air_and_water_define_the_hounsfield_scale():
    assert attenuation_from_hu(0.0) == MU_WATER
    assert attenuation_from_hu(HU_VACUUM) == 0.0
    assert hu_from_attenuation(2 * MU_WATER) == pytest.approx(1000.0)


def test_hounsfield_units_come_back():
    hu = np.linspace(-1000, 3000, 41)
    np.testing.assert_allclose(hu_from_attenuation(attenuation_from_hu(hu)), hu, atol=1e-9)
    assert attenuation_from_hu(hu.astype(np.float32)).dtype == np.float32


def test_a_gaussian_is_half_as_high_at_half_its_width():
    fwhm = 3.0
    assert math.exp(-0.5 * (fwhm / 2 / (SIGMA_PER_FWHM * fwhm)) ** 2) == pytest.approx(0.5)


def test_spacing_axes_and_plane_of_an_oblique_scan(synthetic):
    volume = synthetic.phantom(geometry=synthetic.affine((0.9, 0.8, 3.0), angles=(10, -5, 20)))
    assert volume.spacing == pytest.approx((0.9, 0.8, 3.0))
    assert volume.shape == (5, 24, 20)
    assert volume.axes == ("L", "P", "S")
    assert volume.plane == "axial"


@pytest.mark.parametrize(
    ("columns", "axes", "plane"),
    [
        ([[1, 0, 0], [0, 0, -1], [0, 1, 0]], ("R", "I", "A"), "coronal"),
        ([[0, 1, 0], [0, 0, 1], [-1, 0, 0]], ("A", "S", "L"), "sagittal"),
        ([[1, 0, 0], [0, 1, 0], [0, 0, -1]], ("R", "A", "I"), "axial"),
    ],
)
def test_plane_is_named_for_the_slice_axis(columns, axes, plane):
    affine = np.eye(4)
    affine[:3, :3] = np.array(columns).T
    volume = Volume(np.zeros((2, 3, 4), np.float32), affine)
    assert (volume.axes, volume.plane) == (axes, plane)


def test_selected_slices_stay_where_they_were(synthetic):
    volume = synthetic.phantom((9, 6, 7), geometry=synthetic.affine(angles=(15, 5, -30)))
    files = tuple(Path(f"{n}.dcm") for n in range(9))
    volume = replace(volume, provenance=Provenance("dicom", files))
    part = volume.select([2, 5, 8])
    assert part.spacing == pytest.approx((0.9, 0.8, 9.0))
    assert [path.name for path in part.provenance.files] == ["2.dcm", "5.dcm", "8.dcm"]
    for new, old in enumerate((2, 5, 8)):
        np.testing.assert_array_equal(part.array[new], volume.array[old])
        np.testing.assert_allclose(_world(part, new, 3, 4), _world(volume, old, 3, 4), atol=1e-12)
    single = volume.select([4])
    assert single.spacing == pytest.approx((0.9, 0.8, 3.0))
    np.testing.assert_allclose(_world(single, 0, 0, 0), _world(volume, 4, 0, 0), atol=1e-12)


def test_one_file_for_all_slices_stays_one_file(synthetic):
    volume = replace(synthetic.phantom(), provenance=Provenance("nifti", (Path("a.nii"),)))
    assert volume.select([1, 2]).provenance.files == (Path("a.nii"),)


@pytest.mark.parametrize("numbers", [[], [5], [-1], [0, 9]])
def test_slices_outside_the_volume(synthetic, numbers):
    with pytest.raises(GeometryError, match="the volume has slices 0 to 4"):
        synthetic.phantom().select(numbers)


@pytest.mark.parametrize("numbers", [[0, 1, 3], [3, 2, 1], [2, 2]])
def test_slices_that_no_affine_describes(synthetic, numbers):
    with pytest.raises(GeometryError, match="not evenly spaced and increasing"):
        synthetic.phantom().select(numbers)


def test_unusable_values_are_named_by_slice(synthetic):
    volume = synthetic.phantom()
    volume.require_usable("a scan")
    volume.array[3, 5, :2] = np.nan
    volume.array[3, 6, 0] = np.inf
    with pytest.raises(IntensityError, match="a scan, slice 3: 3 of 480 voxels are NaN or infinite"):
        volume.require_usable("a scan")
    volume.array[1] = 0
    with pytest.raises(IntensityError, match=r"slice 1: every voxel is zero.*--slices"):
        volume.require_usable()
    volume.select([2]).require_usable()


def test_parts_that_form_no_scan():
    array, affine = np.zeros((2, 3, 4), np.float32), np.eye(4)
    with pytest.raises(ShapeError, match=r"got an array of shape \(3, 4\)"):
        Volume(array[0], affine)
    with pytest.raises(GeometryError, match="4x4"):
        Volume(array, np.eye(3))
    with pytest.raises(GeometryError, match="4x4"):
        Volume(array, np.full((4, 4), np.nan))
    with pytest.raises(GeometryError, match="singular"):
        Volume(array, np.diag([1.0, 0.0, 1.0, 1.0]))
    with pytest.raises(UnitError, match="'PET' is not one of MR, CT, OT"):
        Volume(array, affine, "PET")
    with pytest.raises(UnitError, match="'mm' is not one of"):
        Volume(array, affine, "MR", "mm")
    with pytest.raises(ShapeError, match=r"\(2, 3, 4\); got values of shape \(3, 3, 4\)"):
        Volume(array, affine).with_array(np.zeros((3, 3, 4), np.float32))


def test_repr_tells_a_reader_what_it_is(synthetic):
    assert repr(synthetic.phantom(modality="CT")) == (
        "Volume CT, 20 x 24 pixels x 5 slices, 0.90 x 0.80 x 3.00 mm, axes L P S, HU, from array"
    )


@pytest.mark.parametrize(("spacing", "expected"), [((1, 1, 1.5), True), ((0.9, 1, 1.2), True), ((1, 1, 1.6), False)])
def test_voxels_are_nearly_cubic_up_to_half_as_long_again(spacing, expected):
    volume = Volume(np.zeros((2, 2, 2), np.float32), np.diag([*spacing, 1.0]), "MR")
    assert volume.nearly_cubic is expected
