import math

import pytest
import torch

from medinr.errors import ConfigError, ShapeError
from medinr.operators import (
    Fourier,
    NonUniformFourier,
    OffResonance,
    cartesian_trajectory,
    operator_report,
    radial_trajectory,
)


def _random(shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def _field(shape, strength=60.0):
    y, x = (cartesian_trajectory(shape) / torch.tensor(shape)).unbind(-1)
    return strength * (torch.sin(5 * y) + x)


def _direct(x, field, trajectory, times):
    """The signal equation, summed term by term."""
    grid = cartesian_trajectory(field.shape) / torch.tensor(field.shape)
    turns = torch.einsum("...a,yxa->...yx", trajectory, grid) + times[..., None, None] * field
    return (torch.polar(torch.ones_like(turns), -2 * math.pi * turns) * x).sum((-2, -1)) / x.numel() ** 0.5


@pytest.mark.parametrize("segments", [None, 12])
def test_agrees_with_the_signal_equation(segments):
    shape, times = (12, 10), torch.linspace(2e-3, 12e-3, 20, dtype=torch.float64)
    trajectory = radial_trajectory(7, 20, shape)
    field, x = _field(shape), _random((12, 10))
    operator = OffResonance(NonUniformFourier(shape, trajectory), field, times, segments)
    expected = _direct(x, field, trajectory, times.expand(7, 20))
    error = float((operator(x) - expected).norm() / expected.norm())
    assert operator.error < (1e-3 if segments is None else 1e-6)
    assert error < 2 * operator.error + 1e-9


def test_cartesian_readout():
    shape, times = (8, 12), torch.linspace(0, 5e-3, 12, dtype=torch.float64)
    field, x = _field(shape), _random((8, 12))
    operator = OffResonance(Fourier(shape), field, times)
    expected = _direct(x, field, cartesian_trajectory(shape), times.expand(8, 12))
    assert float((operator(x) - expected).norm() / expected.norm()) < 1e-3


def test_a_uniform_field_turns_the_phase():
    times = torch.linspace(0, 0.01, 6, dtype=torch.float64)
    operator = OffResonance(Fourier((5, 6)), torch.full((5, 6), 30.0), times)
    assert len(operator.coefficients) == 1
    x = _random((5, 6))
    expected = torch.polar(torch.ones(6).double(), -2 * math.pi * 30.0 * times) * Fourier((5, 6))(x)
    torch.testing.assert_close(operator(x), expected)


def test_no_field_is_the_operator_itself():
    operator = OffResonance(Fourier((5, 6)), torch.zeros(5, 6), torch.linspace(0, 1, 6))
    x = _random((3, 5, 6))
    torch.testing.assert_close(operator(x), Fourier((5, 6))(x))


def test_more_segments_are_more_exact():
    errors = [
        OffResonance(Fourier((8, 8)), _field((8, 8)), 1e-2 * torch.rand(8).double(), count).error
        for count in (2, 4, 6, 8)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-2 * errors[0]


def test_coil_images_and_times_per_spoke():
    shape = (3, 7, 6)
    trajectory = radial_trajectory(4, 6, shape[1:])
    times = torch.linspace(0, 8e-3, 24, dtype=torch.float64).reshape(4, 6)
    operator = OffResonance(NonUniformFourier(shape, trajectory), _field(shape[1:]), times)
    assert operator_report(operator).ok
    x = _random((2, *shape))
    one = OffResonance(NonUniformFourier(shape[1:], trajectory), _field(shape[1:]), times)
    torch.testing.assert_close(operator(x)[1, 2], one(x[1, 2]))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"field map .* broadcast to \(5, 6\)"):
        OffResonance(Fourier((5, 6)), torch.zeros(4, 6), torch.zeros(6))
    with pytest.raises(ShapeError, match=r"times .* real"):
        OffResonance(Fourier((5, 6)), torch.zeros(5, 6), torch.zeros(6, dtype=torch.complex64))
    with pytest.raises(ShapeError, match="times"):
        OffResonance(Fourier((5, 6)), torch.zeros(5, 6), torch.zeros(2, 5, 6))
    with pytest.raises(ConfigError, match="not all finite"):
        OffResonance(Fourier((5, 6)), torch.full((5, 6), math.nan), torch.zeros(6))
    with pytest.raises(ConfigError, match="at least one segment"):
        OffResonance(Fourier((5, 6)), torch.zeros(5, 6), torch.zeros(6), 0)
