import math

import numpy as np
import pytest
import torch

from medinr.errors import ConfigError, GeometryError, ShapeError
from medinr.operators import SliceProfile
from medinr.units import SIGMA_PER_FWHM

DOUBLE = torch.float64


def test_a_rect_of_whole_slices_is_their_mean(generator):
    volume = torch.rand(12, 3, 4, dtype=DOUBLE, generator=generator)
    thick = SliceProfile(volume.shape, 0.8, 2.4, profile="rect")
    torch.testing.assert_close(thick(volume), volume.unflatten(0, (4, 3)).mean(1))
    np.testing.assert_allclose(thick.centres, [0.8, 3.2, 5.6, 8.0])


@pytest.mark.parametrize(
    ("thickness", "distance", "rows"),
    [
        (2.0, 3.0, [[0.5, 0.5, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0.5, 0.5]]),  # gap
        (4.0, 2.0, [[0.25] * 4 + [0] * 4, [0, 0] + [0.25] * 4 + [0, 0], [0] * 4 + [0.25] * 4]),  # overlap
        (3.0, 4.0, [[1 / 6, 1 / 3, 1 / 3, 1 / 6] + [0] * 4, [0] * 4 + [1 / 6, 1 / 3, 1 / 3, 1 / 6]]),  # cut slices
    ],
)
def test_gaps_and_overlaps(thickness, distance, rows):
    matrix = SliceProfile((8, 1, 1), 1.0, thickness, distance, "rect").matrix
    torch.testing.assert_close(matrix, torch.tensor(rows, dtype=DOUBLE))


def test_gaussian_has_its_width():
    thick = SliceProfile((201, 1, 1), 0.1, 3.0, slices=1)
    z = 0.1 * (torch.arange(201) - 100.0).double()
    row = thick.matrix[0]
    assert float(row @ z.square()) == pytest.approx((3.0 * SIGMA_PER_FWHM) ** 2 + 0.1**2 / 12, rel=2e-3)
    profile = (row / row.max()).numpy()
    half = np.interp(0.5, profile[100:][::-1], z[100:].flip(0).numpy())
    assert 2 * half == pytest.approx(3.0, rel=5e-3)


def test_gaussian_weights_are_integrals_over_thin_slices():
    row = SliceProfile((9, 1, 1), 2.0, 3.0, slices=1).matrix[0]
    sigma = 3.0 * SIGMA_PER_FWHM
    edges = (np.arange(10) - 4.5) * 2.0 / (sigma * math.sqrt(2))
    expected = np.diff([math.erf(e) for e in edges]) / 2
    np.testing.assert_allclose(row.numpy(), expected, atol=1e-4)


def test_a_measured_profile_is_integrated_exactly():
    """A triangle of half width 2 mm: areas of thin slices of 1 mm by hand."""
    row = SliceProfile((7, 1, 1), 1.0, 2.0, profile=([-2.0, 0.0, 2.0], [0.0, 1.0, 0.0]), slices=1).matrix[0]
    np.testing.assert_allclose(row.numpy(), np.array([0, 0.0625, 0.5, 0.875, 0.5, 0.0625, 0]) / 2, atol=1e-12)


def test_a_lopsided_profile_leans_the_right_way():
    row = SliceProfile((7, 1, 1), 1.0, 2.0, profile=([0.0, 2.0], [1.0, 1.0]), slices=1).matrix[0]
    np.testing.assert_allclose(row.numpy(), [0, 0, 0, 0.25, 0.5, 0.25, 0], atol=1e-12)


def test_constants_stay_and_borders_reflect():
    thick = SliceProfile((5, 2, 2), 1.0, 8.0, 2.0, slices=3)
    torch.testing.assert_close(thick.matrix.sum(1), torch.ones(3, dtype=DOUBLE))
    end = SliceProfile((6, 1, 1), 1.0, 3.0, profile="rect", slices=1, first=0.0).matrix[0]
    np.testing.assert_allclose(end.numpy(), [2 / 3, 1 / 3, 0, 0, 0, 0], atol=1e-12)


def test_a_ramp_keeps_its_values_where_they_are():
    ramp = torch.arange(40, dtype=DOUBLE)[:, None, None].expand(40, 2, 3)
    thick = SliceProfile(ramp.shape, 0.7, 2.5, 3.1)
    inner = thick(ramp)[1:-1, 0, 0]
    np.testing.assert_allclose(inner.numpy(), np.array(thick.centres[1:-1]) / 0.7, atol=1e-5)


def test_thick_slices_stay_where_they_are_in_space(generator):
    thin = torch.eye(4, dtype=DOUBLE)
    thin[:3] = torch.randn(3, 4, dtype=DOUBLE, generator=generator)
    thick = SliceProfile((20, 2, 2), 0.7, 2.5, 3.1)
    affine = thick.affine(thin)
    for number, centre in enumerate(thick.centres):
        index = torch.tensor([1.0, 2.0, number, 1.0], dtype=DOUBLE)
        expected = thin @ torch.tensor([1.0, 2.0, centre / 0.7, 1.0], dtype=DOUBLE)
        torch.testing.assert_close(affine @ index, expected)


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"shape": (4, 4)}, ShapeError, r"\(z, y, x\); got \(4, 4\)"),
        ({"thickness": 0.0}, GeometryError, "positive thickness in mm; got 0"),
        ({"spacing": float("nan")}, GeometryError, "positive spacing"),
        ({"distance": -1.0}, GeometryError, "positive distance"),
        ({"slices": 9, "distance": 2.0}, GeometryError, "outside the volume"),
        ({"first": -3.0}, GeometryError, "outside the volume"),
        ({"slices": 0}, ShapeError, "at least one slice"),
        ({"profile": "sinc"}, ConfigError, "'gaussian', 'rect' or"),
        ({"profile": ([0.0, 1.0], [1.0])}, ConfigError, "equal length"),
        ({"profile": ([1.0, 0.0], [1.0, 1.0])}, ConfigError, "increasing positions"),
        ({"profile": ([0.0, 1.0], [-1.0, 0.0])}, ConfigError, "positive area"),
    ],
)
def test_impossible_slices_are_refused(arguments, error, named):
    given = {"shape": (8, 2, 2), "spacing": 1.0, "thickness": 2.0} | arguments
    with pytest.raises(error, match=named):
        SliceProfile(**given)


def test_a_wrong_affine_is_refused():
    with pytest.raises(GeometryError, match="4 x 4"):
        SliceProfile((8, 2, 2), 1.0, 2.0).affine([[1.0]])


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE, torch.complex64])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_compiled_loops_and_a_matrix_product_agree(generator, monkeypatch, dtype, batch):
    pytest.importorskip("numba")
    thick = SliceProfile((37, 96, 101), 1.0, 5.5)  # of 10 to 14 weights a row: not all in fours
    x = torch.randn(*batch, *thick.domain.shape, dtype=dtype, generator=generator)
    y = torch.randn(*batch, *thick.range.shape, dtype=dtype, generator=generator)
    fast, back = thick(x), thick.H(y)
    monkeypatch.setattr("medinr.operators.resolution.along_axis._SMALL", 10**9)
    torch.testing.assert_close(fast, thick(x))
    torch.testing.assert_close(back, thick.H(y))
