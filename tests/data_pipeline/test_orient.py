import itertools

import numpy as np
import pytest

from medinr.data.orient import STANDARD_AXES, across_slices, restore_orientation, standard_orientation
from medinr.errors import GeometryError
from medinr.io.grid import onto_grid, reorder

ANGLES = [(0, 0, 0), (180, 0, 90), (90, 0, 0), (0, 90, 0), (90, 90, 10), (20, -15, 30), (-80, 10, 170)]


@pytest.mark.parametrize("angles", ANGLES)
@pytest.mark.parametrize("mirrored", [False, True])
def test_pictures_hang_the_usual_way_and_voxels_stay_put(synthetic, angles, mirrored):
    geometry = synthetic.affine(angles=angles) @ np.diag([-1.0 if mirrored else 1, 1, 1, 1])
    volume = synthetic.phantom((3, 7, 5), geometry=geometry)
    volume.array[2, 6, 1] = 5000
    turned = standard_orientation(volume)
    assert "".join(turned.axes) == STANDARD_AXES[volume.plane]
    assert turned.plane == volume.plane
    z, y, x = np.unravel_index(turned.array.argmax(), turned.shape)
    np.testing.assert_allclose(turned.affine @ [x, y, z, 1], volume.affine @ [1, 6, 2, 1], atol=1e-9)
    back = restore_orientation(turned, volume)
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_array_equal(back.affine, volume.affine)


def test_every_reordering_is_undone(synthetic):
    volume = synthetic.phantom((3, 7, 5), geometry=synthetic.affine(angles=(20, -15, 30)))
    for swap, *signs in itertools.product((False, True), (1, -1), (1, -1), (1, -1)):
        moves = np.diag(signs)
        if swap:
            moves[:, [0, 1]] = moves[:, [1, 0]]
        moved = reorder(volume, moves)
        np.testing.assert_array_equal(onto_grid(moved, volume.affine, volume.shape, "it").array, volume.array)


def test_source_files_follow_the_slices(synthetic, tmp_path):
    from medinr.io.dicom.read import read_dicom_series

    synthetic.write_dicom_series(tmp_path, synthetic.phantom())
    scan = read_dicom_series(tmp_path)
    flipped = reorder(scan, np.diag([1, 1, -1]))
    assert flipped.provenance.files == scan.provenance.files[::-1]
    assert restore_orientation(flipped, scan).provenance.files == scan.provenance.files


def test_grids_that_differ_are_refused(synthetic):
    volume = synthetic.phantom((3, 7, 5))
    with pytest.raises(GeometryError, match="does not lie on the voxels"):
        restore_orientation(volume.select([0, 1]), volume)
    with pytest.raises(GeometryError, match="does not lie on the voxels"):
        onto_grid(volume, synthetic.affine(angles=(30, 0, 0)), volume.shape, "another scan")
    with pytest.raises(GeometryError, match="asks for more"):
        reorder(volume, np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]))


@pytest.mark.parametrize(("angles", "plane"), [((0, 0, 0), "coronal"), ((90, 0, 0), "axial"), ((10, -5, 8), "coronal")])
def test_cut_across_its_slices_a_scan_stays_where_it_is(synthetic, angles, plane):
    geometry = synthetic.affine(spacing=(1.0, 1.0, 1.4), angles=angles)
    volume = synthetic.phantom((3, 7, 5), geometry=geometry)
    volume.array[2, 6, 1] = 5000
    across = across_slices(volume)
    assert across.shape == (7, 3, 5)
    assert across.plane == plane
    assert across.spacing == pytest.approx((1.0, 1.4, 1.0))
    z, y, x = np.unravel_index(across.array.argmax(), across.shape)
    np.testing.assert_allclose(across.affine @ [x, y, z, 1], volume.affine @ [1, 6, 2, 1], atol=1e-9)
    # As it hangs, its rows run through the slices: that is the axis thick slices are coarse along.
    hung = standard_orientation(across)
    assert abs(hung.affine[:3, 1] @ volume.affine[:3, 2]) == pytest.approx(1.4**2)


def test_only_scans_that_can_be_thickened_are_cut_across(synthetic):
    thick = synthetic.phantom((3, 7, 5), geometry=synthetic.affine(spacing=(1.0, 1.0, 1.6)))
    with pytest.raises(GeometryError, match=r"1\.60 mm apart and pixels 1\.00 mm wide"):
        across_slices(thick)
    sagittal = synthetic.phantom((3, 7, 5), geometry=synthetic.affine(spacing=(1.0, 1.0, 1.0), angles=(0, 90, 0)))
    assert sagittal.plane == "sagittal"
    with pytest.raises(GeometryError, match="head: sagittal"):
        across_slices(sagittal, "head")
