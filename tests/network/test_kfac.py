"""The K-FAC optimiser: its steps, the trust region, momentum, and inverses of its factors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.network.kfac import KfacOptimiser, KfacSettings, damped_inverse
from medinr.network.sweep import Gradient, Layers, Sweep
from medinr.network.trunk import Trunk, TrunkSettings

WIDTH = 10

#: The Gauss-Newton step alone.
PURE = KfacSettings(damping=1e-12, trust=1e12, momentum=0.0, memory=0.0, renew_every=1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def case(heads: int = 1, count: int = 400) -> tuple[Layers, Tensor, Tensor]:
    trunk = Trunk(TrunkSettings(width=WIDTH, depth=3, omega=8.0), seeded()).double()
    points = torch.rand(count, 2, generator=seeded(1), dtype=torch.float64) * 2 - 1
    return Layers.of(trunk, normal(WIDTH + 1, heads, seed=2)), points, normal(count, heads, seed=3)


def sweep(layers: Layers, points: Tensor, values: Tensor, curvature: bool = True) -> Gradient:
    return Sweep(layers).run(points, values, curvature=curvature)


def head_alone(gradient: Gradient) -> Gradient:
    weights, biases = ([torch.zeros_like(t) for t in some] for some in (gradient.weights, gradient.biases))
    return replace(gradient, weights=weights, biases=biases)


def without_slope(gradient: Gradient) -> Gradient:
    return replace(head_alone(gradient), head=torch.zeros_like(gradient.head))


def moves(layers: Layers, optimiser: KfacOptimiser, gradient: Gradient, factor: float = 1.0) -> list[Tensor]:
    before = [t.clone() for t in layers.tensors()]
    optimiser.step(gradient, factor)
    return [new - old for new, old in zip(layers.tensors(), before, strict=True)]


def output_change(found: list[Tensor], gradient: Gradient) -> float:
    """Mean squared change of the output by the steps of all layers, as the factors predict it."""
    depth = len(gradient.weights)
    total = 0.0
    for layer in range(depth):
        move = torch.column_stack([found[layer], found[depth + layer]])
        total += float((gradient.output_factors[layer] @ move @ gradient.input_factors[layer] * move).sum())
    return total + float((gradient.input_factors[-1] @ found[-1] * found[-1]).sum())


@pytest.mark.parametrize("heads", [1, 3])
def test_one_full_step_solves_least_squares(heads):
    layers, points, values = case(heads)
    optimiser = KfacOptimiser(layers, PURE)
    optimiser.step(head_alone(sweep(layers, points, values)))
    features = layers.trunk.features(points)
    torch.testing.assert_close(layers.head, torch.linalg.lstsq(features, values).solution, rtol=1e-6, atol=1e-6)
    after = sweep(layers, points, values)
    assert float(after.head.abs().max()) < 1e-8


@pytest.mark.parametrize("factor", [1.0, 0.3])
def test_the_step_of_a_layer_is_by_its_inverted_factors(factor):
    layers, points, values = case()
    gradient = sweep(layers, points, values)
    settings = replace(PURE, damping=0.03)
    found = moves(layers, KfacOptimiser(layers, settings), gradient, factor)
    for layer in range(3):
        slope = np.column_stack([gradient.weights[layer], gradient.biases[layer]])
        g, a = (f[layer].numpy() for f in (gradient.output_factors, gradient.input_factors))
        g, a = (f + 0.03 * f.diagonal().mean() * np.eye(len(f)) for f in (g, a))
        wanted = -factor * np.linalg.solve(g, slope) @ np.linalg.inv(a)
        np.testing.assert_allclose(torch.column_stack([found[layer], found[3 + layer]]), wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("factor", [1.0, 0.25])
@pytest.mark.parametrize("trust", [1e-4, 0.1, 1.0])
@pytest.mark.parametrize("damping", [1e-10, 1.0])
def test_the_predicted_change_of_a_step_is_within_the_trust_region(trust, factor, damping):
    for scale in (1e-4, 1.0, 1e4):
        layers, points, values = case(heads=2)
        gradient = sweep(layers, points, scale * values)
        optimiser = KfacOptimiser(layers, replace(PURE, trust=trust, damping=damping))
        change = output_change(moves(layers, optimiser, gradient, factor), gradient)
        allowed = trust * float(gradient.squared_error.sum())
        assert 0 < change <= allowed * (1 + 1e-9)
        if trust < 1e-3 and damping < 1e-3:
            # Where the region limits the step, the step reaches its border.
            assert change == pytest.approx(factor * allowed, rel=1e-3)


def test_a_step_of_small_predicted_change_is_a_full_one():
    layers, points, values = case()
    features = layers.trunk.features(points)
    layers.head.copy_(torch.linalg.lstsq(features, values).solution + 1e-4)
    gradient = head_alone(sweep(layers, points, values))
    optimiser = KfacOptimiser(layers, replace(PURE, trust=0.1))
    torch.testing.assert_close(
        moves(layers, optimiser, gradient)[-1], torch.full((11, 1), -1e-4).double(), rtol=1e-3, atol=0
    )


def test_momentum_keeps_its_share_of_the_last_step():
    layers, points, values = case()
    gradient = sweep(layers, points, values)
    optimiser = KfacOptimiser(layers, replace(PURE, damping=0.1, momentum=0.7))
    first = moves(layers, optimiser, gradient)
    second = moves(layers, optimiser, gradient)
    third = moves(layers, optimiser, without_slope(gradient))
    assert all(float(m.abs().max()) > 0 for m in first)
    for one, two, three in zip(first, second, third, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(three, 0.7 * two, rtol=1e-9, atol=1e-12)


def test_forget_discards_momentum_and_curvature():
    layers, points, values = case()
    gradient = sweep(layers, points, values)
    settings = replace(PURE, damping=0.1, momentum=0.7, memory=0.9, renew_every=100)
    optimiser = KfacOptimiser(layers, settings)
    assert optimiser.needs_curvature
    optimiser.step(gradient)
    assert not optimiser.needs_curvature
    optimiser.forget()
    assert optimiser.needs_curvature
    other = sweep(layers, points[:50], values[:50])
    assert all(float(m.abs().max()) == 0 for m in moves(layers, optimiser, without_slope(other)))
    optimiser.forget()
    fresh = KfacOptimiser(layers, settings)
    for one, two in zip(moves(layers, optimiser, other), moves(layers, fresh, other), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-12)


def test_curvature_is_updated_every_few_steps_and_averaged():
    layers, points, values = case()
    one, two = (head_alone(sweep(layers, points[part], values[part])) for part in (slice(0, 30), slice(200, 400)))
    optimiser = KfacOptimiser(layers, replace(PURE, damping=0.01, memory=0.6, renew_every=2))
    needed = []
    for gradient in (one, replace(one, input_factors=[], output_factors=[]), two):
        needed.append(optimiser.needs_curvature)
        found = moves(layers, optimiser, gradient)[-1]
    assert needed == [True, False, True]
    mixed = 0.6 * one.input_factors[-1] + 0.4 * two.input_factors[-1]
    damped = mixed + 0.01 * mixed.diagonal().mean() * torch.eye(WIDTH + 1, dtype=torch.float64)
    torch.testing.assert_close(found, -torch.linalg.solve(damped, two.head), rtol=1e-8, atol=1e-10)


def test_without_error_nothing_changes():
    layers, points, values = case()
    layers.head.zero_()
    gradient = sweep(layers, points, torch.zeros_like(values))
    assert all(float(m.abs().max()) == 0 for m in moves(layers, KfacOptimiser(layers, KfacSettings()), gradient))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("damping", [1e-3, 0.1])
def test_damped_inverse_is_the_inverse(dtype, damping):
    root = normal(30, 12).to(dtype)
    factor = root.T @ root
    exact = factor.double().numpy()
    wanted = np.linalg.inv(exact + damping * exact.diagonal().mean() * np.eye(12))
    tolerance = 1e-3 if dtype == torch.float32 else 1e-10
    np.testing.assert_allclose(damped_inverse(factor, damping), wanted, rtol=tolerance, atol=tolerance * wanted.max())


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_damped_inverse_of_a_singular_matrix(scale):
    root = normal(3, 12)
    factor = scale * root.T @ root
    damped = factor.numpy() + 0.01 * float(factor.diagonal().mean()) * np.eye(12)
    np.testing.assert_allclose(damped_inverse(factor, 0.01).numpy() @ damped, np.eye(12), atol=1e-9)


def test_damped_inverse_of_zeros_is_finite():
    torch.testing.assert_close(damped_inverse(torch.zeros(4, 4), 0.5), 2 * torch.eye(4))


def test_damping_grows_where_rounding_made_a_matrix_indefinite():
    axes, _ = torch.linalg.qr(normal(6, 6))
    spectrum = torch.tensor([-0.05, 0.0, 0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    factor = axes @ torch.diag(spectrum) @ axes.T
    unit = float(spectrum.mean())
    # 0.01 of the mean diagonal does not outweigh the -0.05, ten times that does.
    wanted = np.linalg.inv(factor.numpy() + 0.1 * unit * np.eye(6))
    found = damped_inverse(factor, 0.01)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    assert float(torch.linalg.eigvalsh(found).min()) > 0


def test_a_float32_gram_of_nearly_equal_features_can_be_inverted():
    # Singular up to rounding, which falls on either side of zero.
    features = 1 + 1e-6 * torch.randn(2000, 40, generator=seeded())
    found = damped_inverse(features.T @ features / 2000, 1e-8)
    assert bool(found.isfinite().all())
    assert float(torch.linalg.eigvalsh(found.double()).min()) > 0


@pytest.mark.parametrize(
    ("values", "message"),
    [({key: 0}, "above 0") for key in ("damping", "trust", "renew_every")]
    + [({"damping": -1.0}, "above 0")]
    + [({key: value}, r"\[0, 1\)") for key in ("momentum", "memory") for value in (1.0, -0.1)],
)
def test_nonsense_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        KfacSettings(**values)
