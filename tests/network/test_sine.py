"""Sine and cosine in one pass: exact to float32, the same without the kernel, and NaN for what is not finite."""

import pytest
import torch

from medinr.network import sine
from medinr.network.sine_compiled import LARGEST


@pytest.fixture(params=[True, False], ids=["compiled", "torch"])
def either_way(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(sine, "_kernel", lambda: None)


@pytest.mark.parametrize("reach", [0.8, 30.0, LARGEST])
def test_both_are_exact_to_one_unit_in_the_last_place(either_way, reach):
    z = torch.linspace(-reach, reach, 100_003)
    exact = z.double()
    value = torch.empty_like(z)
    sine.sine_and_cosine(z, value)
    assert float((value - exact.sin()).abs().max()) < 1.2e-7
    assert float((z - exact.cos()).abs().max()) < 1.2e-7


def test_quarter_turns_and_zero(either_way):
    z = torch.tensor([0.0, -0.0, torch.pi / 2, -torch.pi / 2, torch.pi, 1.5 * torch.pi, 2 * torch.pi])
    value = torch.empty_like(z)
    sine.sine_and_cosine(z, value)
    torch.testing.assert_close(value, torch.tensor([0.0, 0.0, 1.0, -1.0, 0.0, -1.0, 0.0]), atol=2e-7, rtol=0)
    torch.testing.assert_close(z, torch.tensor([1.0, 1.0, 0.0, 0.0, -1.0, 0.0, 1.0]), atol=2e-7, rtol=0)


def test_values_that_are_not_finite_give_nan(either_way):
    z = torch.tensor([1.0, float("nan"), float("inf")])
    value = torch.empty_like(z)
    sine.sine_and_cosine(z, value)
    assert value.isnan().tolist() == z.isnan().tolist() == [False, True, True]


@pytest.mark.parametrize(
    "z", [torch.rand(6, 4).T, torch.rand(4, 6, dtype=torch.float64)], ids=["transposed", "float64"]
)
def test_other_layouts_and_precisions_work_too(z):
    z, before, value = z.clone(memory_format=torch.preserve_format), z.clone(), torch.empty_like(z)
    sine.sine_and_cosine(z, value)
    torch.testing.assert_close(value, before.sin())
    torch.testing.assert_close(z, before.cos())
