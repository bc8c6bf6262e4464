"""Encodings: Fourier features and the hash grid, their gradients and scales."""

import math

import pytest
import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.network import encodings
from medinr.network.encodings import (
    EXTENT,
    FEATURES,
    LEVELS,
    PRIMES,
    SIGMA_PER_NYQUIST,
    FourierFeatures,
    HashGrid,
    build_encoding,
)

NYQUIST = math.pi * 24


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _points(count: int, inputs: int, reach: float = 1.0) -> Tensor:
    return (torch.rand(count, inputs, generator=seeded(1), dtype=torch.float64) * 2 - 1) * reach


def _grid(inputs: int, finest: float = 24.0) -> HashGrid:
    return HashGrid(inputs, finest, seeded()).double()


@pytest.mark.parametrize("inputs", [2, 3])
@pytest.mark.parametrize("name", ["none", "fourier", "hash"])
def test_shapes_parameters_and_one_point_at_a_time(name, inputs):
    encoding = build_encoding(name, inputs, 16, NYQUIST, seeded()).double()
    points = _points(11, inputs)
    out = encoding(points)
    assert out.shape == (11, encoding.outputs)
    assert encoding.outputs == {"none": inputs, "fourier": 32, "hash": LEVELS * FEATURES}[name]
    assert len(list(encoding.parameters())) == (1 if name == "hash" else 0)
    torch.testing.assert_close(torch.cat([encoding(p[None]) for p in points]), out, rtol=0, atol=1e-14)


@pytest.mark.parametrize("inputs", [2, 3])
@pytest.mark.parametrize("name", ["none", "fourier", "hash"])
def test_gradients_are_those_of_finite_differences(name, inputs):
    encoding = build_encoding(name, inputs, 6, NYQUIST, seeded()).double()
    # Away from cell borders, where the slopes of a hash grid jump.
    assert torch.autograd.gradcheck(encoding, (_points(5, inputs).requires_grad_(),), eps=1e-7, atol=1e-5)


def test_unknown_encoding_and_dimension():
    with pytest.raises(ConfigError, match="'sines' is not one of none, fourier, hash"):
        build_encoding("sines", 2, 8, NYQUIST)
    with pytest.raises(ConfigError, match="2 or 3 coordinates per point; got 4"):
        HashGrid(4, 16.0)


def test_fourier_features_are_cosines_and_sines_of_the_buffer():
    encoding = FourierFeatures(3, 5, 4.0, seeded()).double()
    points = _points(7, 3)
    phase = points @ encoding.frequencies.T
    torch.testing.assert_close(encoding(points), torch.cat([torch.cos(phase), torch.sin(phase)], dim=1))
    assert list(encoding.state_dict()) == ["frequencies"]
    assert not encoding.frequencies.requires_grad


def test_sigma_is_a_fraction_of_the_bandwidth():
    encoding = build_encoding("fourier", 2, 4096, NYQUIST, seeded())
    assert isinstance(encoding, FourierFeatures)
    assert float(encoding.frequencies.std()) == pytest.approx(SIGMA_PER_NYQUIST * NYQUIST, rel=0.03)
    # The kernel of the features is a Gaussian in the distance: mean cos(B d) = exp(-(sigma |d|)^2 / 2).
    shift = torch.tensor([[0.0, 0.0], [0.1, -0.05]])
    near, far = encoding(shift)
    kernel = float((near * far).mean() * 2)
    distance = float(shift[1].norm())
    assert kernel == pytest.approx(math.exp(-((SIGMA_PER_NYQUIST * NYQUIST * distance) ** 2) / 2), abs=0.03)


@pytest.mark.parametrize("inputs", [2, 3])
def test_levels_grow_from_the_coarsest_to_the_pixels(inputs):
    cells = _grid(inputs, 64.0).cells.tolist()
    assert cells[0] == 8.0
    assert cells[-1] == 64.0
    assert cells == pytest.approx([8 * 8 ** (level / 7) for level in range(8)], abs=0.5)


def _row(grid: HashGrid, level: int, node: tuple[int, ...]) -> int:
    """The row of a node by the formula, in plain integers."""
    count = 2 * EXTENT * int(grid.cells[level]) + 1
    limit = encodings.ROWS[grid.inputs]
    sizes = [min(limit, (2 * EXTENT * int(c) + 1) ** grid.inputs) for c in grid.cells]
    if count**grid.inputs <= limit:
        row = sum(n * count**axis for axis, n in enumerate(node))
    else:
        row = 0
        for n, prime in zip(node, PRIMES, strict=False):
            row ^= n * prime
        row %= limit
    return sum(sizes[:level]) + row


@pytest.mark.parametrize("rows", [None, 500])
@pytest.mark.parametrize("inputs", [2, 3])
def test_features_are_the_tables_at_the_nodes(monkeypatch, inputs, rows):
    if rows is not None:
        monkeypatch.setattr(encodings, "ROWS", {2: rows, 3: rows})
    grid = _grid(inputs)
    assert bool(grid.hashed.any()) == (rows is not None or inputs == 3)
    for level, cells in enumerate(grid.cells.int().tolist()):
        top = 2 * EXTENT * cells
        for node in [(0, 0, 0), (top, top, top), (top, 0, 1), (5, top // 2, 3), (cells, 2, top - 1)]:
            place = torch.tensor([[n / cells - EXTENT for n in node[:inputs]]], dtype=torch.float64)
            found = grid(place)[0].reshape(LEVELS, FEATURES)[level]
            wanted = grid.table[_row(grid, level, node[:inputs])]
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("inputs", [2, 3])
def test_in_between_is_the_mean_of_the_corners(inputs):
    grid = _grid(inputs)
    level, cells = 0, int(grid.cells[0])
    middle = torch.full((1, inputs), 3.5 / cells - EXTENT, dtype=torch.float64)
    rows = [_row(grid, level, corner) for corner in torch.cartesian_prod(*[torch.tensor([3, 4])] * inputs).tolist()]
    wanted = grid.table[rows].mean(dim=0)
    torch.testing.assert_close(grid(middle)[0, :FEATURES], wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("inputs", [2, 3])
def test_hash_grid_is_continuous(inputs):
    grid = _grid(inputs)
    # Lines across many cells, within and beyond the grid: a small step moves the features by little, everywhere.
    along = torch.linspace(-EXTENT - 0.1, EXTENT + 0.1, 40_001, dtype=torch.float64)
    line = torch.stack([along, 0.3 * along + 0.01, -0.7 * along][:inputs], dim=1)
    with torch.no_grad():
        out = grid(line)
    steepest = 2 * encodings.TABLE_BOUND * float(grid.cells.max()) * (1 + 0.3 + 0.7)
    assert float(out.diff(dim=0).abs().max()) <= steepest * float(along[1] - along[0])
    assert float(out.std()) > 0.1 * encodings.TABLE_BOUND


def test_points_outside_have_the_features_of_the_border():
    grid = _grid(2)
    outside = torch.tensor([[EXTENT + 3.0, 0.2], [-EXTENT - 1.0, EXTENT + 9.0]], dtype=torch.float64)
    assert torch.equal(grid(outside), grid(outside.clamp(-EXTENT, EXTENT)))


def test_only_rows_of_touched_cells_get_a_gradient():
    grid = _grid(2)
    grid(_points(1, 2)).sum().backward()
    gradient = grid.table.grad
    assert gradient is not None
    assert int((gradient.abs().sum(dim=1) > 0).sum()) == 4 * LEVELS
    # Interpolation weights add up to one per level and feature.
    assert float(gradient.sum()) == pytest.approx(LEVELS * FEATURES)


def test_the_table_alone_can_be_fitted_to_an_image():
    points, generator = _points(400, 2), seeded(3)
    grid = _grid(2)
    wanted = torch.exp(-4 * points.square().sum(dim=1)) + 0.1 * torch.randn(400, generator=generator).double()
    head = torch.ones(LEVELS * FEATURES, dtype=torch.float64)
    optimiser = torch.optim.Adam(grid.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (grid(points) @ head - wanted).square().mean()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.01 * float(wanted.square().mean())


def test_the_state_holds_trained_parameters_only():
    assert list(_grid(3).state_dict()) == ["table"]
