import math

import numpy as np
import pytest
import torch

from medinr.inr import network
from medinr.inr.network import Trunk, TrunkSettings, random_head


def _trunk(width: int = 12, depth: int = 3, omega: float = 30.0, seed: int = 0) -> Trunk:
    return Trunk(TrunkSettings(width=width, depth=depth, omega=omega), torch.Generator().manual_seed(seed))


def _points(count: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1


def test_initial_weights_fill_the_published_bounds():
    trunk = _trunk(width=128, depth=4, omega=20.0)
    bounds = [1 / 2] + [math.sqrt(6 / 128) / 20.0] * 3
    for weight, bound in zip(trunk.state_dict().values(), bounds, strict=False):
        assert float(weight.abs().max()) <= bound
        assert float(weight.abs().max()) > 0.95 * bound
        # Uniform: standard deviation is the bound over the root of 3.
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_same_generator_same_trunk():
    first, again, other = (_trunk(seed=seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first)


def test_forward_is_the_siren_formula():
    trunk, points = _trunk(depth=3, omega=25.0).double(), _points(9)
    h = points.numpy()
    for weight, bias in zip(trunk.weights, trunk.biases, strict=True):
        h = np.sin(25.0 * (h @ weight.detach().numpy().T + bias.detach().numpy()))
    np.testing.assert_allclose(trunk(points).detach().numpy(), h, atol=1e-13)


def test_hidden_matrices_are_square_and_leave_the_first_layer_out():
    trunk = _trunk(width=10, depth=4)
    matrices = trunk.hidden_matrices()
    assert [tuple(m.shape) for m in matrices] == [(10, 10)] * 3
    assert all(m is not trunk.weights[0] for m in matrices)
    assert all(any(m is w for w in trunk.weights) for m in matrices)
    assert _trunk(depth=1).hidden_matrices() == []


def test_render_is_features_times_head():
    trunk, points = _trunk().double(), _points(57)
    head = torch.randn(13, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    features = trunk.features(points)
    assert features.shape == (57, 13)
    assert bool((features[:, -1] == 1).all())
    torch.testing.assert_close(features[:, :-1], trunk(points).detach(), atol=1e-14, rtol=0)
    torch.testing.assert_close(trunk.render(points, head), features @ head, atol=1e-13, rtol=0)


@pytest.mark.parametrize("chunk", [1, 7, 57, 1000])
def test_chunks_do_not_show(monkeypatch, chunk):
    trunk, points = _trunk().double(), _points(57)
    head = torch.ones(13, 2, dtype=torch.float64)
    whole, features = trunk.render(points, head), trunk.features(points)
    monkeypatch.setattr(network, "CHUNK", chunk)
    torch.testing.assert_close(trunk.render(points, head), whole, atol=1e-13, rtol=0)
    torch.testing.assert_close(trunk.features(points), features, atol=1e-13, rtol=0)


def test_features_carry_no_gradient_and_render_does():
    trunk, points = _trunk(), _points(5, torch.float32)
    assert not trunk.features(points).requires_grad
    assert trunk.render(points, torch.zeros(13, 1)).requires_grad


def _value_and_gradients(trunk: Trunk, points: torch.Tensor) -> list[torch.Tensor]:
    head = random_head(trunk.width, 2, 30.0, torch.Generator().manual_seed(3)).requires_grad_()
    trunk.zero_grad()
    image = trunk.render(points, head)
    image.square().sum().backward()
    return [image.detach(), head.grad, *(parameter.grad.clone() for parameter in trunk.parameters())]


def test_recomputed_activations_give_the_same_value_and_gradient(monkeypatch):
    trunk, points = _trunk(), _points(50, torch.float32)
    monkeypatch.setattr(network, "CHUNK", 16)
    kept = _value_and_gradients(trunk, points)
    calls = []
    real = network.checkpoint
    monkeypatch.setattr(network, "checkpoint", lambda *a, **k: calls.append(a) or real(*a, **k))
    monkeypatch.setattr(network, "KEEP_ACTIVATIONS_UP_TO", 10)
    recomputed = _value_and_gradients(trunk, points)
    assert len(calls) == 4
    assert all(float(value.abs().max()) > 0 for value in kept)
    for a, b in zip(kept, recomputed, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=1e-6)
    calls.clear()
    with torch.no_grad():
        trunk.render(points, torch.zeros(13, 1))
    assert not calls


def test_random_head_fills_its_bounds():
    head = random_head(256, 4, 30.0, torch.Generator().manual_seed(0))
    bound = math.sqrt(6 / 256) / 30.0
    assert head.shape == (257, 4)
    assert 0.98 * bound < float(head.abs().max()) <= bound
