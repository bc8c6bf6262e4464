import numpy as np
import pytest

from benchmarks.thick_slices import _axes, _middle, _thick
from medinr.volume import Volume


def _scan(spacing):
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(spacing)
    affine[:3, 3] = (5.0, -7.0, 11.0)
    array = np.random.default_rng(0).random((7, 30, 24)).astype(np.float32)
    return Volume(array, affine, "MR")


def _at(volume, z, y, x):
    return volume.affine[:3, :3] @ (x, y, z) + volume.affine[:3, 3]


def test_a_scan_with_thick_slices_is_made_thick_along_its_rows_instead():
    scan = _scan((0.9, 0.9, 3.0))
    found = _axes(scan)
    assert found.shape == (30, 24, 7)
    assert found.array[4, 20, 6] == scan.array[6, 4, 20]
    np.testing.assert_allclose(_at(found, 4, 20, 6), _at(scan, 6, 4, 20))
    assert _axes(_scan((1.0, 1.0, 1.0))).shape == (7, 30, 24)


def test_the_middle_columns_stay_where_they_are():
    scan = _scan((1.0, 1.0, 1.0))
    found = _middle(scan, 4)
    np.testing.assert_array_equal(found.array, scan.array[:, :, 10:14])
    np.testing.assert_allclose(_at(found, 2, 3, 1), _at(scan, 2, 3, 11))


@pytest.mark.parametrize(("thickness", "distance"), [(4.0, 4.0), (4.0, 5.0)])
def test_thick_slices_are_placed_and_splines_are_on_the_fine_grid(thickness, distance):
    """A scan that is a ramp in space is that ramp when thick, and its splines are too, away from the ends."""
    scan = _axes(_scan((0.9, 0.9, 3.0)))
    ramp = np.broadcast_to(np.arange(30.0, dtype=np.float32)[:, None, None], scan.shape).copy()
    fine = scan.with_array(ramp)
    thick, splines = _thick(fine, thickness, distance, "gaussian")
    assert thick.provenance.facts.thickness == thickness
    np.testing.assert_allclose(np.linalg.norm(thick.affine[:3, 2]), distance)
    middle = thick.shape[0] // 2
    position = np.linalg.solve(fine.affine, [*_at(thick, middle, 3, 2), 1])
    assert thick.array[middle, 3, 2] == pytest.approx(position[2], abs=0.05)
    np.testing.assert_allclose(splines[13:17], ramp[13:17], atol=0.15)
