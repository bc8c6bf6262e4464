from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medinr.data.registration import Resampler, register_rigid
from medinr.errors import GeometryError
from medinr.volume import Volume


@pytest.fixture(scope="module")
def head() -> Volume:
    """An ellipsoid with blobs of several sizes in it: no symmetry to hide a motion in."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in (24, 64, 64)), indexing="ij")
    inside = gaussian_filter(((x / 0.7) ** 2 + (y / 0.85) ** 2 + (z / 0.95) ** 2 < 1).astype(float), 1)
    texture = gaussian_filter(np.random.default_rng(3).normal(size=z.shape), (1.0, 3, 3))
    array = inside * (1 + 0.4 * texture / texture.std()).clip(0.1)
    affine = np.diag([-2.0, -2.0, 4.0, 1.0])
    affine[:3, 3] = 63, 63, -46
    return Volume(array.astype(np.float32), affine, "MR")


def moved(volume: Volume, shift: tuple[float, float, float], degrees: float) -> Volume:
    """The same head after the patient has moved: known, and exact, because only the affine changes."""
    motion, angle = np.eye(4), np.radians(degrees)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[:3, 3] = shift
    return replace(volume, affine=motion @ volume.affine)


def miss(motion, reference: np.ndarray, volume: Volume) -> float:
    """Mean distance in mm between where tissue is and where the motion says it is."""
    index = np.argwhere(volume.array > 0.3)[:, ::-1]
    points = np.c_[index, np.ones(len(index))] @ volume.affine.T
    return float(np.linalg.norm((points @ (motion.matrix - reference).T)[:, :3], axis=1).mean())


@pytest.mark.parametrize("slices", [slice(9, 15), slice(12, 13)], ids=["six slices", "one slice"])
def test_a_known_motion_is_found_to_half_a_millimetre(head, slices):
    """Another contrast too, from scanner positions that are 13 mm and 4 degrees apart."""
    previous = moved(head, (3.0, -5.0, 12.0), 4.0)
    reference = previous.affine @ np.linalg.inv(head.affine)
    seen = head.select(range(*slices.indices(24)))
    seen = seen.with_array((seen.array * (2 - 0.8 * seen.array)).astype(np.float32))
    motion = register_rigid(previous, seen)
    assert miss(motion, reference, seen) < 0.5
    assert motion.degrees == pytest.approx(4.0, abs=0.5)
    assert motion.overlap > 0.9
    again = Resampler(previous, seen).onto(seen, motion.matrix)
    tissue = seen.array > 0.3
    assert np.abs(again - head.select(range(*slices.indices(24))).array)[tissue].mean() < 0.06


def test_a_motion_of_nothing_leaves_every_voxel_where_it_is(head):
    motion = replace(register_rigid(head, head.select(range(10, 14))), matrix=np.eye(4))
    np.testing.assert_allclose(Resampler(head, head).onto(head, motion.matrix), head.array, atol=1e-5)


def test_registering_repeats_to_the_last_digit(head):
    previous, seen = moved(head, (2.0, 1.0, 3.0), 2.0), head.select([11, 12])
    first, second = (register_rigid(previous, seen) for _ in range(2))
    np.testing.assert_array_equal(first.matrix, second.matrix)


def test_two_at_once_are_as_one_alone_and_leave_the_number_of_threads(head):
    from SimpleITK import ProcessObject

    previous, seen = moved(head, (2.0, 1.0, 3.0), 2.0), [head.select(range(*ends)) for ends in ((11, 13), (8, 16))]
    alone = [register_rigid(previous, each).matrix for each in seen]
    before = ProcessObject.GetGlobalDefaultNumberOfThreads()
    ProcessObject.SetGlobalDefaultNumberOfThreads(3)
    try:
        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(lambda each: register_rigid(previous, each).matrix, seen))
        assert ProcessObject.GetGlobalDefaultNumberOfThreads() == 3
    finally:
        ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    np.testing.assert_array_equal(together, alone)


def test_a_scan_of_the_same_visit_is_found_alike_from_the_scanners_position_alone(head):
    near, seen = moved(head, (1.0, -2.0, 1.5), 1.0), head.select(range(4, 20))
    found = register_rigid(near, seen, same_visit=True)
    assert miss(found, near.affine @ np.linalg.inv(head.affine), seen) < 0.3
    np.testing.assert_allclose(found.matrix, register_rigid(near, seen).matrix, atol=0.05)


def test_a_scanner_position_far_away_does_not_matter(head):
    previous, seen = moved(head, (300.0, -80.0, 150.0), 3.0), head.select(range(9, 15))
    motion = register_rigid(previous, seen)
    assert miss(motion, previous.affine @ np.linalg.inv(head.affine), seen) < 0.5


def test_a_scan_of_too_little_is_refused(head):
    corner = replace(head, array=np.ascontiguousarray(head.array[:, :30, :26]))
    with pytest.raises(GeometryError, match="of the tissue to be reconstructed; at least 50 % is needed"):
        register_rigid(corner, head.select([12]))


def test_an_empty_image_is_nothing_to_register_to(head):
    with pytest.raises(GeometryError, match="0 everywhere"):
        register_rigid(head, head.with_array(np.zeros_like(head.array)))
