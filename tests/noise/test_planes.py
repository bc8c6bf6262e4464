"""Noise of a scan in planes of other directions than its slices."""

import numpy as np
import pytest
from scipy import ndimage

from medinr.noise.estimate import estimate_noise
from medinr.noise.noise_scan import noise_of_noise_scan
from medinr.noise.planes import ACROSS, WITHIN, has_planes_across, noise_in_planes, turned_volume
from medinr.noise.repeats import noise_of_repeats
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

SIGMA, SIGNAL = 10.0, 200.0


def cubic(values, spacing=(1.0, 1.0, 1.0)) -> Volume:
    return Volume(np.asarray(values, np.float32), np.diag([*spacing, 1.0]), "MR", "a.u.")


def correlated_along_z(shape, seed=0):
    noise = ndimage.gaussian_filter1d(np.random.default_rng(seed).standard_normal(shape), 0.7, axis=0, mode="wrap")
    return SIGMA * noise / noise.std()


def lag(table, row, column) -> float:
    return 0.0 if table is None else float(table[table.shape[0] // 2 + row, table.shape[1] // 2 + column])


def expected_of_neighbours() -> float:
    kernel = ndimage.gaussian_filter1d(np.eye(1, 41, 20)[0], 0.7)
    return float(kernel[:-1] @ kernel[1:] / (kernel @ kernel))


def test_correlation_across_slices_is_found_and_not_within_them():
    shape = (24, 40, 40)
    found = estimate_noise(cubic(SIGNAL + correlated_along_z(shape)))
    assert found.autocorrelation is None
    assert found.across is not None
    for table in found.across:
        assert lag(table, 1, 0) == pytest.approx(expected_of_neighbours(), abs=0.05)
        assert lag(table, 0, 1) == pytest.approx(0.0, abs=0.05)
    assert found.facts["slices_correlate_by"] == pytest.approx(expected_of_neighbours(), abs=0.05)
    assert found.sigma == pytest.approx(SIGMA, rel=0.05)


def test_noise_scans_and_repeats_tell_it_too():
    shape = (24, 48, 48)
    pair = [correlated_along_z(shape, seed) for seed in (1, 2)]
    of_scan = noise_of_noise_scan(cubic(np.full(shape, SIGNAL)), cubic(np.hypot(*pair)))
    of_repeats = noise_of_repeats([cubic(SIGNAL + part) for part in pair], kind="gaussian")
    for found, tolerance in ((of_scan, 0.12), (of_repeats, 0.05)):
        assert found.autocorrelation is None
        for table in found.across:
            assert lag(table, 1, 0) == pytest.approx(expected_of_neighbours(), abs=tolerance)


@pytest.mark.parametrize(("shape", "spacing"), [((24, 40, 40), (1, 1, 4)), ((12, 40, 40), (1, 1, 1))])
def test_thick_or_few_slices_are_not_looked_across(shape, spacing):
    scan = cubic(SIGNAL + correlated_along_z(shape), spacing)
    assert not has_planes_across(scan)
    assert estimate_noise(scan).across is None


def test_planes_have_the_map_and_the_zero_filling_of_their_axes():
    values = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    tables = tuple(np.outer([0.1 * place, 1.0, 0.1 * place], [0.0, 1.0, 0.0]) for place in (1, 2, 3))
    noise = ScanNoise("rician", 1.0, 1, 1 + values, tables[0], (1.5, 2.0), across=tables[1:])
    assert noise_in_planes(noise, WITHIN) is noise
    for axes, table, filling in zip(ACROSS, tables[1:], ((1.0, 2.0), (1.0, 1.5)), strict=True):
        found = noise_in_planes(noise, axes)
        np.testing.assert_array_equal(found.sigma_map, (1 + values).transpose(axes))
        np.testing.assert_array_equal(found.autocorrelation, table)
        assert (found.zero_filling, found.across) == (filling, None)
        np.testing.assert_array_equal(turned_volume(cubic(values), axes).array, values.transpose(axes))
