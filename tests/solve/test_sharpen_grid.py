import numpy as np
import pytest

from medinr.errors import ConfigError, GeometryError
from medinr.solve.sharpen_grid import grid_for, slice_axis
from medinr.volume import Volume


def _oblique(spacing, origin=(-40.0, 25.0, 7.5), seed=0):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(spacing)
    affine[:3, 3] = origin
    return affine


def _scan(shape=(9, 20, 22), spacing=(0.9, 0.9, 3.0), **given):
    return Volume(np.ones(shape, np.float32), given.get("affine", _oblique(spacing)), "MR")


def _faces(shape, affine):
    """Positions in mm of the outer corners of the first and of the last voxel."""
    last = np.array(shape[::-1]) - 0.5
    return [affine[:3, :3] @ index + affine[:3, 3] for index in (np.full(3, -0.5), last)]


def test_a_whole_factor_keeps_the_field_of_view():
    scan = _scan()
    grid = grid_for(scan, factor=(1, 2, 3))
    assert grid.shape == (27, 40, 22)
    np.testing.assert_allclose(grid.spacing, (0.9, 0.45, 1.0))
    np.testing.assert_allclose(_faces(grid.shape, grid.affine), _faces(scan.shape, scan.affine), atol=1e-9)


@pytest.mark.parametrize("wanted", [{"spacing": 0.7}, {"factor": 1.7}, {"spacing": (0.6, 0.9, 0.77)}])
def test_the_middle_stays_where_it_is_at_any_ratio(wanted):
    scan = _scan()
    grid = grid_for(scan, **wanted)
    (low, high), (first, last) = _faces(scan.shape, scan.affine), _faces(grid.shape, grid.affine)
    np.testing.assert_allclose(0.5 * (first + last), 0.5 * (low + high), atol=1e-9)
    # Along each axis at most half a new voxel is gained or lost, in all.
    extent = np.array(grid.shape[::-1]) * grid.spacing - np.array(scan.shape[::-1]) * scan.spacing
    assert (np.abs(extent) <= 0.5 * np.array(grid.spacing) + 1e-9).all()


def test_axes_that_were_to_be_coarser_stay_and_the_wanted_grid_is_kept():
    scan = _scan()
    grid = grid_for(scan, spacing=1.0)
    np.testing.assert_allclose(grid.spacing, (0.9, 0.9, 1.0))
    assert grid.shape == (27, 20, 22)
    assert grid.final_shape == (27, 18, 20)
    np.testing.assert_allclose(np.linalg.norm(grid.final_affine[:3, :3], axis=0), 1.0)
    assert grid_for(scan, spacing=(0.9, 0.9, 1.0)).final_shape is None


def test_like_another_scan_along_the_same_axes_is_its_grid():
    scan = _scan()
    other = grid_for(scan, factor=(1, 1, 3))
    like = Volume(np.zeros(other.shape, np.float32), other.affine, "MR")
    grid = grid_for(scan, like=like)
    assert (grid.shape, grid.final_shape) == (other.shape, None)
    np.testing.assert_allclose(grid.affine, other.affine)


@pytest.mark.parametrize("beyond", [0, 1])
def test_like_a_scan_that_is_a_little_larger_is_its_grid(beyond):
    """Slices of which not a whole number fits into the other: its last voxels are solved too, not set to nothing."""
    scan = _scan(shape=(9, 20, 22), spacing=(0.9, 0.9, 3.0))
    other = grid_for(scan, factor=(1, 1, 3))
    affine = other.affine.copy()
    affine[:3, 3] -= beyond * affine[:3, 2]
    like = Volume(np.zeros((other.shape[0] + 2 * beyond, 20, 22), np.float32), affine, "MR")
    grid = grid_for(scan, like=like)
    assert (grid.shape, grid.final_shape) == (like.shape, None)


@pytest.mark.parametrize(("order", "signs"), [((0, 1, 2), (1, 1, 1)), ((2, 0, 1), (1, -1, 1))])
def test_like_a_parallel_scan_has_its_very_voxels(order, signs):
    """Of a larger or smaller field of view, its axes in any order and direction: no interpolation is needed."""
    scan = _scan()
    fine = scan.affine.copy()
    fine[:3, :3] = (fine[:3, :3] / scan.spacing * (0.9, 0.9, 1.1))[:, order] * signs
    fine[:3, 3] += scan.affine[:3, :3] @ (2.0, 3.0, 0.27)
    like = Volume(np.zeros((5, 7, 6), np.float32), fine, "MR")
    grid = grid_for(scan, like=like)
    np.testing.assert_allclose(sorted(grid.spacing), (0.9, 0.9, 1.1))
    index = np.linalg.solve(grid.affine, like.affine @ np.array([[0, 0, 0, 1.0], [5, 6, 4, 1]]).T)[:3]
    np.testing.assert_allclose(index, np.round(index), atol=1e-9)
    assert (np.array(grid.shape[::-1]) * grid.spacing >= np.array(scan.shape[::-1]) * scan.spacing - 1e-9).all()


def test_like_an_oblique_scan_is_solved_along_the_own_axes_as_finely():
    affine = _oblique((0.9, 0.9, 3.0))
    scan = _scan(affine=affine)
    # Sagittal over axial: its x runs along y of the scan, its y along z, its slices along x.
    tilted = affine.copy()
    tilted[:3, :3] = affine[:3, [1, 2, 0]] / [0.9, 3.0, 0.9] * [0.8, 1.1, 4.0]
    tilted[:3, 0] += 0.05 * tilted[:3, 1]
    like = Volume(np.zeros((5, 24, 20), np.float32), tilted, "MR")
    grid = grid_for(scan, like=like)
    np.testing.assert_allclose(grid.spacing, (0.9, like.spacing[0], 1.1), rtol=1e-6)
    assert grid.final_shape == (5, 24, 20)
    np.testing.assert_array_equal(grid.final_affine, tilted)


def test_slices_run_along_z_unless_another_axis_stands_out():
    assert slice_axis(_scan(spacing=(0.9, 0.9, 3.0))) == 2
    assert slice_axis(_scan(spacing=(1.0, 4.0, 1.0))) == 1
    assert slice_axis(_scan(spacing=(1.0, 1.0, 1.0))) == 2
    assert slice_axis(_scan(spacing=(3.0, 3.0, 2.0))) == 2


@pytest.mark.parametrize(
    ("wanted", "error", "named"),
    [
        ({}, ConfigError, "one of them; got none"),
        ({"spacing": 1.0, "factor": 2}, ConfigError, "got spacing, factor"),
        ({"spacing": 0.0}, ConfigError, "above 0; got 0"),
        ({"spacing": float("nan")}, ConfigError, "one number or three"),
        ({"factor": 0.5}, ConfigError, "of 1 or more; got 0.5"),
        ({"factor": (2, 2)}, ConfigError, r"got \(2, 2\)"),
        ({"factor": 1}, GeometryError, "nowhere finer"),
        ({"spacing": 3.0}, GeometryError, "nowhere finer"),
        ({"spacing": 0.01}, GeometryError, "more than 20 times finer"),
    ],
)
def test_impossible_grids_are_refused(wanted, error, named):
    with pytest.raises(error, match=named):
        grid_for(_scan(), **wanted)


def test_a_scan_of_another_place_is_refused():
    far = Volume(np.zeros((4, 4, 4), np.float32), _oblique((0.5, 0.5, 0.5), origin=(900.0, 0.0, 0.0)), "MR")
    with pytest.raises(GeometryError, match="do not overlap"):
        grid_for(_scan(), like=far)
