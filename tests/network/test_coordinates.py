"""Network coordinates of pixels, from shapes, spacings and affines."""

import numpy as np
import pytest
import torch

from medinr.errors import GeometryError
from medinr.network.coordinates import plane_coordinates, plane_spacing


def test_one_length_scale_for_both_axes_keeps_the_true_shape():
    points = plane_coordinates((5, 7), (2.0, 0.5), 10.0, dtype=torch.float64).reshape(5, 7, 2)
    down, right = points[1, 0] - points[0, 0], points[0, 1] - points[0, 0]
    torch.testing.assert_close(down, torch.tensor([0.2, 0.0], dtype=torch.float64))
    torch.testing.assert_close(right, torch.tensor([0.0, 0.05], dtype=torch.float64))


@pytest.mark.parametrize("shape", [(4, 6), (5, 7), (1, 8)])
def test_origin_is_the_centre_of_the_field_of_view(shape):
    points = plane_coordinates(shape, (0.7, 1.3), 50.0, dtype=torch.float64)
    assert points.shape == (shape[0] * shape[1], 2)
    torch.testing.assert_close(points.mean(dim=0), torch.zeros(2, dtype=torch.float64), atol=1e-15, rtol=0)
    # The grid is symmetric under rotation by 180 degrees.
    torch.testing.assert_close(points.flip(0), -points, atol=1e-15, rtol=0)


def test_distances_are_millimetres_over_the_length_scale():
    points = plane_coordinates((9, 11), (1.5, 0.8), 115.0, dtype=torch.float64)
    diagonal_mm = np.hypot(8 * 1.5, 10 * 0.8)
    assert float((points[-1] - points[0]).norm()) == pytest.approx(diagonal_mm / 115.0, rel=1e-12)


def test_the_same_field_of_view_on_a_finer_grid_has_the_same_extent():
    coarse = plane_coordinates((8, 8), (2.0, 2.0), 16.0)
    fine = plane_coordinates((32, 32), (0.5, 0.5), 16.0)
    assert float(coarse.max()) + 1.0 / 16 == pytest.approx(float(fine.max()) + 0.25 / 16)


def test_rows_are_in_image_order():
    points = plane_coordinates((3, 4), (1.0, 1.0), 1.0)
    image = points[:, 0].reshape(3, 4)
    torch.testing.assert_close(image, torch.tensor([-1.0, 0.0, 1.0]).unsqueeze(1).expand(3, 4))


@pytest.mark.parametrize(
    ("spacing", "scale"), [((0.0, 1.0), 1.0), ((1.0, -1.0), 1.0), ((1.0, 1.0), 0.0), ((1.0, 1.0), -3.0)]
)
def test_spacing_and_length_scale_must_be_positive(spacing, scale):
    with pytest.raises(GeometryError, match="must be positive"):
        plane_coordinates((4, 4), spacing, scale)


def test_plane_spacing_reads_oblique_affines(synthetic):
    affine = synthetic.affine((0.9, 0.8, 3.0), angles=(12.0, -20.0, 35.0))
    assert plane_spacing(affine) == pytest.approx((0.8, 0.9), abs=1e-12)
