import numpy as np
import pytest
import torch

from medinr.errors import GeometryError, ShapeError
from medinr.operators import Decimation, decimated_affine, downsampling


@pytest.mark.parametrize(
    ("size", "factor", "kept"),
    [
        (9, 3, [1, 4, 7]),
        (8, 2, [0, 2, 4, 6]),
        (8, 4, [1, 5]),
        (10, 3, [1, 4, 7]),
        (11, 3, [2, 5, 8]),
        (5, 5, [2]),
    ],
)
def test_kept_voxels_are_centred(size, factor, kept):
    row = torch.arange(size, dtype=torch.float64)[None]
    assert Decimation((1, size), (1, factor))(row).tolist() == [[float(k) for k in kept]]


def test_a_ramp_keeps_its_values_where_they_are():
    shape, spacing = (24, 30), (1.0, 1.0)
    ramp = torch.arange(30, dtype=torch.float64).expand(shape)
    coarse = downsampling(shape, spacing, (3, 3))(ramp)
    torch.testing.assert_close(coarse[:, 2:-2], Decimation(shape, 3)(ramp)[:, 2:-2], atol=1e-8, rtol=0)


def test_factor_one_is_not_blurred():
    image = torch.rand(6, 8)
    assert torch.equal(downsampling((6, 8), (1, 1), (1, 1))(image), image)
    # Along the axis that is not shrunk nothing is blurred; along the other, nothing is there to blur.
    rows = image[:, :1].expand(6, 8)
    torch.testing.assert_close(downsampling((6, 8), (1, 1), (1, 2))(rows), rows[:, :4], rtol=1e-5, atol=0)


def test_coarse_voxels_stay_where_they_are_in_space():
    generator = torch.Generator().manual_seed(0)
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3] = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    for shape, factor in [((9, 10), (3, 2)), ((5, 9, 10), (2, 4, 3))]:
        decimation = Decimation(shape, factor)
        coarse = decimated_affine(affine, decimation)
        axes = [torch.arange(n, dtype=torch.float64) for n in shape]
        index = torch.meshgrid(*axes, indexing="ij")
        zyx = [torch.zeros(shape, dtype=torch.float64)] * (3 - len(shape)) + list(index)
        fine_position = [
            sum(affine[row, column] * zyx[2 - column] for column in range(3)) + affine[row, 3] for row in range(3)
        ]
        m = decimation.range.shape
        axes = [torch.arange(n, dtype=torch.float64) for n in m]
        index = torch.meshgrid(*axes, indexing="ij")
        zyx = [torch.zeros(m, dtype=torch.float64)] * (3 - len(m)) + list(index)
        for row in range(3):
            position = sum(coarse[row, column] * zyx[2 - column] for column in range(3)) + coarse[row, 3]
            torch.testing.assert_close(position, decimation(fine_position[row]))


def test_affines_may_be_nested_lists_or_arrays():
    decimation = Decimation((8, 8), 2)
    from_list = decimated_affine([[2, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]], decimation)
    from_array = decimated_affine(np.array([[2.0, 0, 0, 5], [0, 2, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]]), decimation)
    assert torch.equal(from_list, from_array)
    assert torch.linalg.vector_norm(from_list[:3, :3], dim=0).tolist() == [4.0, 4.0, 3.0]


def test_impossible_geometry_is_refused():
    with pytest.raises(ShapeError, match=r"between 1 and the axis; got \(5, 5\)"):
        Decimation((4, 4), 5)
    with pytest.raises(GeometryError, match="4 x 4"):
        decimated_affine([[1.0]], Decimation((4, 4), 2))
