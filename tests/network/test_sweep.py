"""The sweep: gradient and curvature against automatic differentiation, pieces, and its working copy."""

import pytest
import torch
from torch import Tensor

from medinr.network.sweep import PIECE, Gradient, Layers, Sweep
from medinr.network.trunk import BACKBONES, Trunk, TrunkSettings

WIDTH, DEPTH = 12, 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def case(backbone: str = "siren", heads: int = 1, count: int = 300, seed: int = 0) -> tuple[Layers, Tensor, Tensor]:
    """Layers, points, and wanted values there."""
    trunk = Trunk(TrunkSettings(width=WIDTH, depth=DEPTH, omega=8.0, backbone=backbone), seeded(seed)).double()
    points = torch.rand(count, 2, generator=seeded(1), dtype=torch.float64) * 2 - 1
    layers = Layers.of(trunk, normal(WIDTH + 1, heads, seed=2))
    return layers, points, normal(count, heads, seed=3)


def forward(layers: Layers, inputs: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Inputs of every layer, pre-activations, and the output, for autograd."""
    h, entering, before = inputs, [], []
    for weight, bias in zip(layers.weights, layers.biases, strict=True):
        entering.append(h)
        before.append(h @ weight.T + bias)
        h = layers.trunk.activation(before[-1])
    return [*entering, h], before, h @ layers.head[:-1] + layers.head[-1]


def with_one(h: Tensor) -> Tensor:
    return torch.cat([h, torch.ones_like(h[:, :1])], dim=1)


@pytest.mark.parametrize("curvature", [False, True], ids=["plain", "curvature"])
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_gradient_is_that_of_autograd(backbone, heads, curvature):
    layers, points, values = case(backbone, heads, 2 * PIECE + 37)
    inputs = layers.trunk.encode(points).detach()
    found = Sweep(layers).run(inputs, values, curvature=curvature, input_gradient=True)

    leaves = [inputs.clone().requires_grad_(), *(t.requires_grad_() for t in layers.tensors())]
    error = forward(layers, leaves[0])[2] - values
    wanted = torch.autograd.grad(0.5 * error.square().sum(dim=1).mean(), leaves)
    assert found.inputs is not None
    computed = [found.inputs, *found.weights, *found.biases, found.head]
    for one, other in zip(computed, wanted, strict=True):
        assert float(other.abs().max()) > 0
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(found.squared_error, error.detach().square().mean(dim=0))
    assert bool(found.input_factors) == bool(found.output_factors) == curvature


@pytest.mark.parametrize("count", [1, PIECE - 1, PIECE, PIECE + 1])
def test_the_result_does_not_depend_on_the_pieces(count):
    layers, points, values = case(heads=2, count=count)
    sweep = Sweep(layers)
    whole = sweep.run(points, values, curvature=True)
    singles = [sweep.run(p[None], v[None], curvature=True) for p, v in zip(points, values, strict=True)]

    def tensors(found: Gradient) -> list[Tensor]:
        curvature = [*found.input_factors, *found.output_factors]
        return [found.squared_error, *found.weights, *found.biases, found.head, *curvature]

    for total, *parts in zip(tensors(whole), *map(tensors, singles), strict=True):
        torch.testing.assert_close(total, torch.stack(parts).mean(dim=0), rtol=1e-9, atol=1e-12)


def test_without_options_there_is_neither_curvature_nor_input_gradient():
    layers, points, values = case()
    found = Sweep(layers).run(points, values)
    assert found.inputs is None
    assert found.input_factors == found.output_factors == []


def test_a_sweep_changes_no_input_and_does_not_affect_the_next():
    layers, points, values = case(heads=2, count=PIECE + 9)
    before = [t.clone() for t in (*layers.tensors(), points, values)]
    sweep = Sweep(layers)
    first = sweep.run(points[:7], values[:7], curvature=True)
    sweep.run(points, values, curvature=True, input_gradient=True)
    again = sweep.run(points[:7], values[:7], curvature=True)
    for one, other in zip(
        [*first.weights, *first.output_factors], [*again.weights, *again.output_factors], strict=True
    ):
        assert torch.equal(one, other)
    assert all(torch.equal(old, new) for old, new in zip(before, (*layers.tensors(), points, values), strict=True))


@pytest.mark.parametrize("curvature", [False, True], ids=["plain", "curvature"])
def test_tables_of_a_hash_grid_get_their_gradient_through_the_inputs(curvature):
    layers, points, values = case("hash", heads=2, count=PIECE + 100)
    (table,) = layers.trunk.encoding_parameters()
    inputs = layers.trunk.encode(points)
    found = Sweep(layers).run(inputs.detach(), values, curvature=curvature, input_gradient=True)
    inputs.backward(found.inputs)
    error = layers.trunk.render(points, layers.head) - values
    (wanted,) = torch.autograd.grad(0.5 * error.square().sum(dim=1).mean(), table)
    assert int((wanted != 0).sum()) > 100
    torch.testing.assert_close(table.grad, wanted, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_input_factors_are_the_explicit_sums(backbone, heads):
    layers, points, values = case(backbone, heads, PIECE + 51)
    inputs = layers.trunk.encode(points).detach()
    found = Sweep(layers).run(inputs, values, curvature=True)
    entering, _, _ = forward(layers, inputs)
    assert len(found.input_factors) == DEPTH + 1
    for factor, h in zip(found.input_factors, entering, strict=True):
        wanted = torch.stack([torch.outer(row, row) for row in with_one(h)]).mean(dim=0)
        torch.testing.assert_close(factor, wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_output_factors_are_those_of_the_unit_error_propagated_back(backbone, heads):
    layers, points, values = case(backbone, heads, PIECE + 51)
    inputs = layers.trunk.encode(points).detach().requires_grad_()
    found = Sweep(layers).run(inputs.detach(), values, curvature=True)
    _, before, out = forward(layers, inputs)
    error = (out - values).detach()
    sent = torch.autograd.grad(out, before, error / error.norm(dim=1, keepdim=True))
    assert len(found.output_factors) == DEPTH
    for factor, j in zip(found.output_factors, sent, strict=True):
        wanted = heads * torch.stack([torch.outer(row, row) for row in j]).mean(dim=0)
        torch.testing.assert_close(factor, wanted, rtol=1e-10, atol=1e-13 * float(wanted.abs().max()))


def test_for_one_head_the_output_factors_are_exact_whatever_the_error():
    layers, points, values = case(count=200)
    points.requires_grad_()
    _, before, out = forward(layers, points)
    # One output per point: its derivative is that of the sum.
    sent = torch.autograd.grad(out.sum(), before)
    for wish in (values, 1e3 * values, out.detach() + 1e-6):
        found = Sweep(layers).run(points.detach(), wish, curvature=True)
        for factor, j in zip(found.output_factors, sent, strict=True):
            torch.testing.assert_close(factor, j.T @ j / 200, rtol=1e-8, atol=1e-13)


def test_for_several_heads_the_output_factors_are_right_on_average():
    layers, points, _ = case(heads=3, count=1)
    point = points.requires_grad_()
    _, before, out = forward(layers, point)
    jacobians = [torch.autograd.grad(out[0, k], before, retain_graph=True) for k in range(3)]
    many = 40_000
    values = out.detach() + normal(many, 3, seed=7)
    found = Sweep(layers).run(point.detach().expand(many, 2), values, curvature=True)
    for layer, factor in enumerate(found.output_factors):
        wanted = sum(j[layer].T @ j[layer] for j in jacobians)
        assert float((factor - wanted).norm()) < 0.02 * float(wanted.norm())


def test_errors_of_zero_give_finite_factors():
    layers, points, values = case(heads=2, count=50)
    layers.head.zero_()
    values.zero_()
    values[0] = 1.0
    for wish in (values, torch.zeros_like(values)):
        found = Sweep(layers).run(points, wish, curvature=True, input_gradient=True)
        assert found.inputs is not None
        tensors = [*found.input_factors, *found.output_factors, *found.weights, found.head, found.inputs]
        assert all(bool(t.isfinite().all()) for t in tensors)
    assert all(int((t != 0).sum()) == 0 for t in [*found.output_factors, *found.weights, found.head])


@pytest.mark.parametrize("backbone", ["siren", "gauss"])
def test_layers_are_a_scaled_copy_that_is_written_back_on_request(backbone):
    layers, points, _ = case(backbone, heads=2)
    trunk, head = layers.trunk, layers.head.clone()
    before = trunk.render(points, head).detach()
    torch.testing.assert_close(forward(layers, trunk.encode(points))[2], before, rtol=1e-12, atol=1e-12)
    for tensor in layers.tensors():
        tensor.add_(0.01)
    assert torch.equal(trunk.render(points, head), before)
    moved = forward(layers, trunk.encode(points))[2]
    layers.write_back(head)
    assert not torch.allclose(before, moved)
    torch.testing.assert_close(trunk.render(points, head).detach(), moved, rtol=1e-10, atol=1e-10)

    other = Layers.of(Trunk(trunk.settings, seeded(9)).double(), torch.zeros_like(head))
    places = [t.data_ptr() for t in other.tensors()]
    other.trunk.load_state_dict(trunk.state_dict())
    other.read(head)
    assert places == [t.data_ptr() for t in other.tensors()]
    torch.testing.assert_close(forward(other, trunk.encode(points))[2], moved, rtol=1e-10, atol=1e-10)
