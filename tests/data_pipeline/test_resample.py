"""Scans on other grids: positions stay, smooth values stay."""

import numpy as np
import pytest

from medinr.data.resample import isotropic, onto_scan
from medinr.errors import FileError, GeometryError
from medinr.volume import Volume


def _smooth(synthetic, shape=(12, 24, 20), angles=(20.0, -15.0, 30.0)):
    """A smooth function of the position in the patient, so that every grid has to give the same values."""
    volume = synthetic.phantom(shape, geometry=synthetic.affine(angles=angles))
    return volume.with_array(_values(volume))


def _values(volume):
    z, y, x = np.indices(volume.shape)
    points = np.einsum("ij,jzyx->izyx", volume.affine[:3], np.stack([x, y, z, np.ones_like(x)]))
    return (100 + 20 * np.sin(points / 15).sum(axis=0)).astype(np.float32)


def test_isotropic_keeps_positions_and_values(synthetic):
    scan = _smooth(synthetic)
    result = isotropic(scan)
    np.testing.assert_allclose(result.spacing, 0.8)
    assert result.shape == (45, 24, 22)
    inside = (slice(8, -8), slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(result.array[inside], _values(result)[inside], atol=0.3)
    assert "resampled from 0.90 x 0.80 x 3.00 mm to 0.80 x 0.80 x 0.80 mm" in result.provenance.notes[-1]
    coarse = isotropic(scan, 3.0)
    assert coarse.shape == (12, 6, 6)
    np.testing.assert_allclose(coarse.array[3:-3, 2:-2, 2:-2], _values(coarse)[3:-3, 2:-2, 2:-2], atol=2)


def test_the_outermost_new_slices_lie_in_the_scan(synthetic):
    """They lie within the outer half of its outermost voxels, beyond their centres."""
    result = isotropic(_smooth(synthetic))
    assert (result.array > 30).all()
    np.testing.assert_allclose(result.array[0, 4:-4, 4:-4], _values(result)[0, 4:-4, 4:-4], atol=3)


def test_another_scans_grid_is_found_by_position(synthetic):
    scan = _smooth(synthetic)
    geometry = synthetic.affine((1.1, 1.1, 2.0), (5.0, 0.0, 40.0), (-38.0, -30.0, 18.0))
    other = synthetic.phantom((10, 18, 14), geometry=geometry)
    result = onto_scan(scan, other)
    np.testing.assert_array_equal(result.affine, other.affine)
    there = np.linalg.solve(scan.affine, other.affine)
    z, y, x = np.indices(other.shape)
    index = np.einsum("ij,jzyx->izyx", there[:3], np.stack([x, y, z, np.ones_like(x)]))
    sizes = np.array(scan.shape[::-1])[:, None, None, None]
    inside = ((index > 3) & (index < sizes - 4)).all(axis=0)
    assert inside.sum() > 100
    np.testing.assert_allclose(result.array[inside], _values(other)[inside], atol=0.6)
    assert (result.array[((index < -1) | (index > sizes)).any(axis=0)] == 0).all()


def test_the_same_grid_gives_the_same_values(synthetic):
    scan = synthetic.phantom(modality="CT")
    np.testing.assert_allclose(onto_scan(scan, scan).array, scan.array, atol=0.05)
    waves = Volume((scan.array * np.exp(1j)).astype(np.complex64), scan.affine)
    np.testing.assert_allclose(onto_scan(waves, waves).array, waves.array, atol=0.1)


def test_what_cannot_be_resampled_is_refused(synthetic):
    scan = synthetic.phantom()
    with pytest.raises(GeometryError, match="do not overlap"):
        onto_scan(scan, synthetic.phantom(geometry=synthetic.affine(origin=(500.0, 0.0, 0.0))))
    with pytest.raises(GeometryError, match="more than 0"):
        isotropic(scan, 0.0)
    with pytest.raises(FileError, match="limit"):
        isotropic(scan, 1e-4)
