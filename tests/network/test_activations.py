"""Activations: values, slopes, initial bounds, and numbers that do not become subnormal."""

import math

import pytest
import torch
from torch import Tensor

from medinr.network.activations import ACTIVATIONS, FINER_FIRST_BIAS, MAX_EXPONENT, WIRE_ENVELOPE, Activation

FORMULAS = {
    "siren": lambda z, omega: math.sin(z),
    "finer": lambda z, omega: math.sin(omega * (abs(z / omega) + 1) * (z / omega)),
    "wire": lambda z, omega: math.cos(z) * math.exp(-((WIRE_ENVELOPE * z) ** 2)),
    "gauss": lambda z, omega: math.exp(-(z**2) / (2 * (1 / omega) ** 2)),
    "relu": lambda z, omega: max(z, 0.0),
}


def _points(activation: Activation) -> Tensor:
    """Pre-activations over several periods, closer together where the activation scales them itself."""
    reach = 7.5 * activation.unit / activation.omega
    return torch.linspace(-reach, reach, 1001, dtype=torch.float64)[1:]


@pytest.fixture(params=[(name, omega) for name in ACTIVATIONS for omega in (1.0, 12.5)], ids=str)
def case(request) -> tuple[str, Activation]:
    name, omega = request.param
    return name, ACTIVATIONS[name](omega)


def test_value_is_the_formula(case):
    name, activation = case
    z = _points(activation)
    expected = torch.tensor([FORMULAS[name](float(value), activation.omega) for value in z], dtype=torch.float64)
    torch.testing.assert_close(activation(z), expected, rtol=1e-12, atol=1e-12)


def test_slope_is_that_of_autograd(case):
    _, activation = case
    z = _points(activation).requires_grad_()
    (expected,) = torch.autograd.grad(activation(z).sum(), z)
    before = z.detach().clone()
    value, slope = activation.value_and_slope(z)
    assert not value.requires_grad
    assert not slope.requires_grad
    assert torch.equal(z.detach(), before)
    torch.testing.assert_close(value, activation(z).detach(), rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(slope, expected, rtol=1e-11, atol=1e-12 * activation.omega)
    assert float(slope.abs().max()) > 0.5


def test_slope_is_that_of_finite_differences(case):
    _, activation = case
    # Every second point: none of them is the kink of a ramp.
    z = _points(activation)[::2]
    step = 1e-5 * activation.unit / activation.omega
    _, slope = activation.value_and_slope(z)
    numeric = (activation(z + step) - activation(z - step)) / (2 * step)
    torch.testing.assert_close(slope, numeric, rtol=1e-5, atol=1e-6 * activation.omega)


def test_evaluate_writes_into_its_arguments(case):
    _, activation = case
    z = _points(activation).reshape(10, 100)
    value, slope = activation.value_and_slope(z)
    buffers = [torch.full((12, 100), 7.0, dtype=torch.float64) for _ in range(2)]
    buffers[0][:10] = z
    activation.evaluate(buffers[0][:10], buffers[1][:10])
    assert torch.equal(buffers[0][:10], slope)
    assert torch.equal(buffers[1][:10], value)
    assert all(bool((buffer[10:] == 7.0).all()) for buffer in buffers)


def test_siren_is_exactly_sine_and_cosine():
    z = torch.linspace(-200, 200, 10_001, dtype=torch.float64)  # float32: test_sine.py
    value, slope = ACTIVATIONS["siren"](30.0).value_and_slope(z)
    assert torch.equal(value, z.sin())
    assert torch.equal(slope, z.cos())


def test_ramp_is_flat_at_zero():
    value, slope = ACTIVATIONS["relu"]().value_and_slope(torch.tensor([-1.0, 0.0, 2.0]))
    assert value.tolist() == [0.0, 0.0, 2.0]
    assert slope.tolist() == [0.0, 0.0, 1.0]


def test_units():
    assert {name: kind(20.0).unit for name, kind in ACTIVATIONS.items()} == {
        "siren": 20.0,
        "finer": 20.0,
        "wire": 20.0,
        "gauss": 1.0,
        "relu": 1.0,
    }


@pytest.mark.parametrize(
    ("name", "first", "hidden", "first_bias", "hidden_bias"),
    [
        ("siren", 1 / 2, math.sqrt(6 / 64) / 20, 1 / math.sqrt(2), 1 / 8),
        ("finer", 1 / 2, math.sqrt(6 / 64) / 20, FINER_FIRST_BIAS, 1 / 8),
        ("wire", 1 / math.sqrt(2), 1 / 8, 1 / math.sqrt(2), 1 / 8),
        ("gauss", 1 / math.sqrt(2), 1 / 8, 1 / math.sqrt(2), 1 / 8),
        ("relu", math.sqrt(3), math.sqrt(6 / 64), 0.0, 0.0),
    ],
)
def test_published_bounds(name, first, hidden, first_bias, hidden_bias):
    activation = ACTIVATIONS[name](20.0)
    assert activation.bound(2, first=True) == pytest.approx(first)
    assert activation.bound(64, first=False) == pytest.approx(hidden)
    assert activation.bias_bound(2, first=True) == pytest.approx(first_bias)
    assert activation.bias_bound(64, first=False) == pytest.approx(hidden_bias)


@pytest.mark.parametrize("name", ["wire", "gauss"])
def test_tails_fade_without_subnormal_numbers(name):
    activation = ACTIVATIONS[name](10.0)
    value, slope = activation.value_and_slope(torch.linspace(-500, 500, 4001))
    far = value[:1500]
    assert float(far.abs().max()) <= math.exp(-MAX_EXPONENT) * 1.001
    smallest = torch.finfo(torch.float32).tiny
    # A weight's gradient multiplies a value by a slope.
    for found in (value, slope, value * slope):
        sizes = found.abs()
        assert bool(((sizes == 0) | (sizes >= smallest)).all())
