"""Scans of thick slices made of finer ones: which axis becomes thick, and where its voxels lie."""

import numpy as np
import pytest
import torch

from medinr.acquisition.acquired_thick import ThickSimulation
from medinr.acquisition.simulation import simulate, simulate_with_reference
from medinr.acquisition.thick_slices import fine_planes, rows_first, thick_scan
from medinr.acquisition.ways import acquisition_of
from medinr.errors import ConfigError, GeometryError
from medinr.operators import operator_report


def _at(volume, z, y, x):
    return volume.affine[:3, :3] @ (x, y, z) + volume.affine[:3, 3]


@pytest.fixture
def cubic(synthetic):
    return synthetic.phantom((33, 24, 26), geometry=synthetic.affine((1.0, 1.0, 1.0)))


@pytest.fixture
def native(synthetic):
    """Thick slices already, with fine pixels."""
    return synthetic.phantom((5, 41, 26), geometry=synthetic.affine((1.0, 1.0, 3.0)))


def _ramp(scan, axis):
    """A scan whose values are its position along an axis of the patient."""
    z, y, x = np.meshgrid(*map(np.arange, scan.shape), indexing="ij")
    along = scan.affine[axis, 0] * x + scan.affine[axis, 1] * y + scan.affine[axis, 2] * z + scan.affine[axis, 3]
    return scan.with_array(along.astype(np.float32))


def test_slices_of_cubic_voxels_are_joined_and_planes_run_across_them(cubic):
    found = fine_planes(_ramp(cubic, 2), 4.0, 5.0)
    assert found.plane == "coronal"
    # Six slices of 4 mm, 5 mm apart, cover 30 of 33 mm.
    assert found.shape == (24, 30, 26)
    np.testing.assert_allclose(found.array[3, 7, 2], _at(found, 3, 7, 2)[2], atol=1e-4)
    assert fine_planes(cubic, 4.0, 4.0).shape == (24, 32, 26)


def test_a_scan_of_thick_slices_is_made_thick_along_its_rows_instead(native):
    found = fine_planes(_ramp(native, 1), 4.0, 5.0)
    assert found.plane == "axial"
    assert found.shape == (5, 40, 26)
    np.testing.assert_allclose(found.array[3, 7, 2], _at(found, 3, 7, 2)[1], atol=1e-4)


def test_what_cannot_be_the_reference_is_refused(synthetic, cubic):
    with pytest.raises(GeometryError, match=r"at most 2 mm"):
        fine_planes(synthetic.phantom(geometry=synthetic.affine((2.5, 2.5, 2.5))), 4.0, 5.0, "head")
    with pytest.raises(GeometryError, match="fewer than two slices"):
        fine_planes(cubic, 18.0, 19.0)


@pytest.mark.parametrize(("thickness", "distance", "profile"), [(4.0, 4.0, "rect"), (4.0, 5.0, "gaussian")])
def test_a_ramp_stays_a_ramp_where_slices_lie(cubic, thickness, distance, profile):
    fine = fine_planes(_ramp(cubic, 2), thickness, distance)
    thick = thick_scan(fine, thickness, distance, profile)
    np.testing.assert_allclose(np.linalg.norm(thick.affine[:3, 2]), distance)
    assert thick.shape[1:] == (24, 26)
    for number in range(1, thick.shape[0] - 1):
        assert thick.array[number, 5, 6] == pytest.approx(_at(thick, number, 5, 6)[2], abs=0.05)
    # Their outer faces are those of the rows that are kept, to within half a row.
    ends = [_at(rows_first(fine), z, 0, 0)[2] for z in (0, fine.shape[1] - 1)]
    middles = [_at(thick, z, 0, 0)[2] for z in (0, thick.shape[0] - 1)]
    assert abs(ends[0] - middles[0]) + 0.5 == pytest.approx(distance / 2, abs=0.51)
    assert sum(ends) == pytest.approx(sum(middles))


def test_a_measurement_is_the_whole_thick_scan_and_tells_neither_thickness_nor_noise(cubic):
    fine = fine_planes(cubic, 4.0, 5.0)
    settings = ThickSimulation(4.0, 1.0, "rect")
    measurement, reference = simulate_with_reference("acquired_thick", fine, settings)
    np.testing.assert_array_equal(reference, fine.array)
    assert measurement.data.shape == (24, 6, 26)
    assert measurement.image_shape == (30, 26)
    assert measurement.parameters["settings"] == {"seed": 0}
    assert measurement.parameters["distance"] == 5.0
    assert not {"thickness", "gap", "profile", "sigma", "noise"} & set(measurement.parameters)
    acquisition = acquisition_of(measurement)
    thick = thick_scan(fine, 4.0, 5.0, "rect")
    np.testing.assert_allclose(acquisition.scan.array, thick.array, rtol=1e-6)
    np.testing.assert_allclose(acquisition.scan.affine, thick.affine, atol=1e-9)
    assert acquisition.scan.provenance.facts.thickness is None
    with pytest.raises(ConfigError, match="gap from 0 to the thickness"):
        ThickSimulation(4.0, 5.0)
    with pytest.raises(ConfigError, match="gaussian, rect"):
        ThickSimulation(profile="sinc")


def test_the_operator_is_one_and_planes_lie_on_the_fine_grid(cubic):
    fine = fine_planes(_ramp(cubic, 2), 4.0, 5.0)
    fine = fine.with_array(fine.array - fine.array.min())
    acquisition = acquisition_of(simulate("acquired_thick", fine, ThickSimulation(band=5)))
    operator = acquisition.operator()
    assert operator_report(operator).ok
    # Slices are taken to be as thick as they are apart; those of a ramp do not tell.
    data = acquisition.measurement.data[4]

    torch.testing.assert_close(operator(torch.from_numpy(fine.array[4]))[1:-1], data[1:-1], atol=0.02, rtol=0)
    for order in (1, 3):
        image = acquisition.interpolated(data, order)
        np.testing.assert_allclose(image[8:-8], fine.array[4, 8:-8], atol=0.1)
    assert list(acquisition.band(12)) == [10, 11, 12, 13, 14]
    assert list(acquisition.band(0)) == [0, 1, 2, 3, 4]
    assert list(acquisition.band(23)) == [19, 20, 21, 22, 23]
    whole = rows_first(fine)
    grid = acquisition.grid(range(3, 5))
    assert grid.shape == (30, 2, 26)
    np.testing.assert_allclose(_at(grid, 7, 1, 2), _at(whole, 7, 4, 2))
    everything = acquisition_of(simulate("acquired_thick", fine, ThickSimulation(band=0)))
    assert everything.band(7) == range(24)
