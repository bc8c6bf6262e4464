import math

import pytest
import torch

from medinr.errors import ShapeError
from medinr.models.checkpoint import load_model, shipped_models
from medinr.models.spectrum import freeze_depth, layer_spectra


def _rotation(size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator)).Q


def _one(matrix: torch.Tensor):
    (found,) = layer_spectra([matrix])
    return found


def test_known_matrices():
    for size in (1, 3, 8):
        found = _one(5 * torch.eye(size))
        assert (found.stable_rank, found.largest_singular_value) == pytest.approx((size, 5))
    outer = _one(torch.outer(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0, 2.0])))
    assert (outer.stable_rank, outer.largest_singular_value) == pytest.approx((1, 15))
    assert outer.shape == (2, 3)
    zero = _one(torch.zeros(4, 2))
    assert (zero.stable_rank, zero.largest_singular_value) == (0, 0)


def test_singular_values_decide_not_the_basis_nor_the_scale():
    values = torch.tensor([4.0, 2.0, 2.0, 1.0], dtype=torch.float64)
    turned = _rotation(4, 0) @ torch.diag(values) @ _rotation(4, 1).T
    for factor in (1.0, -1e-3, 1e20):
        found = _one(factor * turned)
        assert found.stable_rank == pytest.approx(25 / 16)
        assert found.largest_singular_value == pytest.approx(abs(factor) * 4)
    assert _one(turned.T).stable_rank == pytest.approx(25 / 16)


def test_single_precision_weights_that_a_gradient_is_wanted_for():
    weight = torch.nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(2)))
    found = _one(weight)
    norm = float(torch.linalg.matrix_norm(weight.detach().double(), 2))
    assert found.largest_singular_value == pytest.approx(norm)
    assert found.stable_rank == pytest.approx(float(weight.detach().double().square().sum()) / norm**2)


def test_freezing_ends_at_the_highest_stable_rank_and_at_the_first_of_equals():
    layers = [torch.ones(4, 4), torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0])), torch.eye(4), 2 * torch.eye(4)]
    spectra = layer_spectra(layers)
    assert [spectrum.layer for spectrum in spectra] == [1, 2, 3, 4]
    assert [spectrum.stable_rank for spectrum in spectra] == pytest.approx([1, 2, 4, 4])
    assert freeze_depth(spectra) == 3
    assert freeze_depth(spectra[:2]) == 2


def test_weights_that_are_no_matrix():
    with pytest.raises(ShapeError, match=r"layer 2 want shape .* got \(3,\)"):
        layer_spectra([torch.eye(3), torch.ones(3)])


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_models_have_finite_spectra(name):
    trunk = load_model(name).trunk
    spectra = layer_spectra(trunk.weights)
    assert len(spectra) == trunk.settings.depth
    assert all(1 <= spectrum.stable_rank <= min(spectrum.shape) for spectrum in spectra)
    assert all(math.isfinite(spectrum.largest_singular_value) for spectrum in spectra)
    assert 1 <= freeze_depth(spectra) <= len(spectra)
