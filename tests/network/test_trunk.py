"""The trunk: initial weights, features, backbones, gradients, and its way to disk and back."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from medinr.errors import CheckpointError, ConfigError, GeometryError
from medinr.models.card import ModelCard
from medinr.models.checkpoint import load_model, save_model
from medinr.models.model import Model
from medinr.network import trunk as module
from medinr.network.pretraining import PretrainSettings, pretrain
from medinr.network.trunk import BACKBONES, Trunk, TrunkSettings, omega_for_bandwidth, random_head
from medinr.optimise import Optimiser, OptimiserSettings


def _trunk(
    width: int = 12, depth: int = 3, omega: float = 30.0, seed: int = 0, inputs: int = 2, backbone: str = "siren"
) -> Trunk:
    settings = TrunkSettings(inputs=inputs, width=width, depth=depth, omega=omega, backbone=backbone)
    return Trunk(settings, torch.Generator().manual_seed(seed))


def _points(count: int, dtype: torch.dtype = torch.float64, inputs: int = 2) -> torch.Tensor:
    return torch.rand(count, inputs, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1


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
def test_the_result_does_not_depend_on_the_chunks(monkeypatch, chunk):
    trunk, points = _trunk().double(), _points(57)
    head = torch.ones(13, 2, dtype=torch.float64)
    whole, features = trunk.render(points, head), trunk.features(points)
    monkeypatch.setattr(module, "CHUNK", chunk)
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
    monkeypatch.setattr(module, "CHUNK", 16)
    kept = _value_and_gradients(trunk, points)
    calls = []
    real = module.checkpoint
    monkeypatch.setattr(module, "checkpoint", lambda *a, **k: calls.append(a) or real(*a, **k))
    monkeypatch.setattr(module, "KEEP_ACTIVATIONS_UP_TO", 10)
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


#: Reference values: sums of the drawn tensors, and features at two points, of the trunk with seed 7, width 4, depth 3.
GOLDEN_SUMS = {
    "weights.0": -0.4555269479751587,
    "weights.1": 0.044027114170603454,
    "weights.2": 0.049007012974470854,
    "biases.0": 0.8802953884005547,
    "biases.1": 0.406521737575531,
    "biases.2": -0.23924529552459717,
}
GOLDEN_POINTS = [[0.25, -0.5], [0.8, 0.1]]
GOLDEN_VALUES = [
    [0.6246739309061564, -0.9006140581627272, 0.2752239662458177, 0.7347894234782806],
    [0.8147932992108257, -0.8814828289592779, 0.5819923492248724, 0.3587429367141507],
]


def test_siren_draws_and_values_are_unchanged():
    trunk = _trunk(width=4, depth=3, omega=30.0, seed=7).double()
    assert {name: float(value.sum()) for name, value in trunk.state_dict().items()} == pytest.approx(
        GOLDEN_SUMS, rel=1e-12
    )
    found = trunk(torch.tensor(GOLDEN_POINTS, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(GOLDEN_VALUES, dtype=torch.float64), rtol=0, atol=1e-12)


def test_siren_is_bit_for_bit_sines_of_scaled_layers():
    trunk, points = _trunk(width=64, depth=5), _points(100, torch.float32)
    assert [name.split(".")[0] for name in trunk.state_dict()] == ["weights"] * 5 + ["biases"] * 5
    assert trunk.encoding_parameters() == []
    h = points
    for weight, bias in zip(trunk.weights, trunk.biases, strict=True):
        h = torch.sin(torch.nn.functional.linear(h, weight * 30.0, bias * 30.0))
    assert torch.equal(trunk(points), h)


@pytest.mark.parametrize("inputs", [2, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_scaled_layers_activation_and_encoding_are_the_network(backbone, inputs):
    trunk = _trunk(width=10, depth=4, omega=20.0, inputs=inputs, backbone=backbone).double()
    points = _points(33, inputs=inputs)
    h = trunk.encode(points)
    assert h.shape == (33, trunk.encoding.outputs)
    for (weight, bias), stored in zip(trunk.scaled_layers(), trunk.weights, strict=True):
        assert torch.equal(weight, stored * trunk.unit)
        z = h @ weight.T + bias
        h = trunk.activation(z)
        torch.testing.assert_close(trunk.activation.value_and_slope(z)[0], h)
    torch.testing.assert_close(trunk(points), h)
    assert trunk.unit == (20.0 if backbone in ("siren", "finer", "wire") else 1.0)
    assert [tuple(m.shape) for m in trunk.hidden_matrices()] == [(10, 10)] * 3
    head = torch.ones(11, 2, dtype=torch.float64)
    torch.testing.assert_close(trunk.render(points, head), trunk.features(points) @ head)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_parameter_gets_a_gradient_and_the_optimiser_moves_it(backbone):
    trunk = _trunk(width=16, depth=3, omega=10.0, backbone=backbone)
    head = torch.nn.Parameter(random_head(16, 1, 1.0, torch.Generator().manual_seed(3)))
    others = [trunk.weights[0], *trunk.biases, *trunk.encoding_parameters(), head]
    optimiser = Optimiser(OptimiserSettings(), trunk.hidden_matrices(), others)
    assert len(others) + len(trunk.hidden_matrices()) == len(list(trunk.parameters())) + 1
    before = [parameter.detach().clone() for parameter in trunk.parameters()]
    trunk.render(_points(200, torch.float32), head).square().sum().backward()
    optimiser.step(1.0)
    assert not any(torch.equal(old, new) for old, new in zip(before, trunk.parameters(), strict=True))


#: Mean square of the features in deep layers for omega = 20: the fixed point of the recursion below. Ramps have no such
#: point and keep the mean square of the encoding.
FIXED_POINT = {"siren": 0.4635, "finer": 0.4592, "wire": 0.1324, "gauss": 0.1537}


def _predicted(trunk: Trunk, layer: int, mean_square: float) -> float:
    """Mean square after a layer with random weights: E a(z)^2 for z = unit (sqrt(n q) w + b) (Poole et al. 2016)."""
    generator = torch.Generator().manual_seed(5)
    fan_in = trunk.weights[layer].shape[1]
    spread = trunk.activation.bound(fan_in, first=layer == 0) * math.sqrt(fan_in * mean_square / 3)
    shift = trunk.activation.bias_bound(fan_in, first=layer == 0)
    normal = torch.randn(200_000, generator=generator, dtype=torch.float64)
    uniform = torch.rand(200_000, generator=generator, dtype=torch.float64) * 2 - 1
    return float(trunk.activation(trunk.unit * (spread * normal + shift * uniform)).square().mean())


@pytest.mark.parametrize("inputs", [2, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_initial_variance_is_preserved_through_depth(backbone, inputs):
    trunk = _trunk(width=384, depth=8, omega=20.0, seed=2, inputs=inputs, backbone=backbone)
    squares, variances = [], []
    with torch.no_grad():
        h = trunk.encode(_points(600, torch.float32, inputs))
        encoded = float(h.square().mean())
        for weight, bias in trunk.scaled_layers():
            h = trunk.activation(h @ weight.T + bias)
            squares.append(float(h.square().mean()))
            variances.append(float(h.var(dim=0).mean()))
    # Few directions dominate the output of ramps, so a finite width deviates more from the theory.
    ramps = backbone not in FIXED_POINT
    # Every layer follows the theory of wide networks for these bounds ...
    for layer in range(1, 8):
        predicted = _predicted(trunk, layer, squares[layer - 1])
        assert squares[layer] == pytest.approx(predicted, rel=0.25 if ramps else 0.05), layer
    # ... so that features neither vanish nor grow: the last layers are at the fixed point ...
    expected = encoded if ramps else FIXED_POINT[backbone]
    assert squares[-2:] == pytest.approx([expected] * 2, rel=0.35 if ramps else 0.06)
    # ... and points stay apart: the variance of features over the points is a large part of their mean square.
    assert variances[-1] > (0.15 if ramps else 0.3) * squares[-1]


def _save(path: Path, trunk: Trunk, architecture: TrunkSettings) -> ModelCard:
    nobody = dict.fromkeys(("subjects", "scan_hashes", "scans", "licences"), ())
    card = ModelCard("tiny", "MR", "", 10.0, (4, 4), (1.0, 1.0), asdict(architecture), None, **nobody)
    save_model(path, Model.of(trunk, None, card))
    return card


@pytest.mark.parametrize("backbone", BACKBONES)
def test_model_round_trip(tmp_path, backbone):
    trunk = _trunk(width=8, depth=2, omega=12.0, seed=4, inputs=3, backbone=backbone)
    card = _save(tmp_path / "tiny.safetensors", trunk, trunk.settings)
    loaded = load_model(tmp_path / "tiny.safetensors")
    assert loaded.card == card
    assert loaded.trunk.settings.backbone == backbone
    points = _points(20, torch.float32, inputs=3)
    assert torch.equal(loaded.trunk(points), trunk(points))


def test_weights_of_another_backbone_are_refused(tmp_path):
    trunk = _trunk(width=8, depth=2, backbone="fourier")
    _save(tmp_path / "tiny.safetensors", trunk, TrunkSettings(width=8, depth=2))
    loaded = load_model(tmp_path / "tiny.safetensors")
    with pytest.raises(CheckpointError, match="does not fit the architecture on its card"):
        _ = loaded.trunk


def test_cards_that_name_no_backbone_are_sirens(tmp_path):
    trunk, path = _trunk(width=8, depth=2), tmp_path / "tiny.safetensors"
    _save(path, trunk, trunk.settings)
    values = json.loads(path.with_suffix(".json").read_text())
    assert values["architecture"].pop("backbone") == "siren"
    path.with_suffix(".json").write_text(json.dumps(values))
    loaded = load_model(path)
    assert loaded.card.trunk_settings.backbone == "siren"
    assert torch.equal(loaded.trunk(_points(9, torch.float32)), trunk(_points(9, torch.float32)))


@pytest.mark.parametrize("backbone", ["gauss", "fourier", "hash"])
def test_pretraining_works_with_other_backbones_and_changes_their_encoding(backbone):
    settings = TrunkSettings(width=24, depth=2, omega=8.0, backbone=backbone)
    optimiser = OptimiserSettings(muon_rate=0.02, adam_rate=0.01)
    points = _points(256, torch.float32)
    image = torch.exp(-3 * points.square().sum(dim=1)).reshape(1, 16, 16)
    found: list[float] = []
    result = pretrain(
        image,
        points,
        PretrainSettings(steps=60, architecture=settings, optimiser=optimiser),
        progress=lambda _, psnr: found.append(psnr[0]),
    )
    assert found[-1] > found[0] + 10
    start = Trunk(settings, torch.Generator().manual_seed(0))
    for drawn, learned in zip(start.encoding_parameters(), result.trunk.encoding_parameters(), strict=True):
        assert not torch.equal(drawn, learned)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "sine"}, "'sine' is not one of siren, finer, wire, gauss, fourier, hash"),
        ({"inputs": 4}, r"2 inputs \(slices\) or 3 \(volumes\); got 4"),
        ({"width": 0}, "1 or more"),
        ({"depth": 0}, "1 or more"),
        ({"omega": 0.0}, "omega positive"),
    ],
)
def test_nonsense_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        TrunkSettings(**values)


def test_omega_is_tied_to_the_bandwidth_in_millimetres():
    brain = omega_for_bandwidth(1.8, 115.2)
    assert brain == pytest.approx(30.0)
    # Only their ratio matters: the same grid in other units of coordinate gives the same function of millimetres.
    assert omega_for_bandwidth(0.9, 57.6) == pytest.approx(brain)
    assert omega_for_bandwidth(0.6, 115.2) == pytest.approx(3 * brain)
    assert omega_for_bandwidth(2.0, 50.0, per_nyquist=1.0) == pytest.approx(math.pi * 25)
    assert TrunkSettings(omega=omega_for_bandwidth(2.0, 50.0)).nyquist == pytest.approx(math.pi * 25)
    with pytest.raises(GeometryError, match="must be positive"):
        omega_for_bandwidth(0.0, 115.2)


def test_omega_is_a_scaling_of_the_coordinates():
    slow, fast = (_trunk(depth=1, omega=omega, seed=3).double() for omega in (10.0, 20.0))
    with torch.no_grad():
        for trunk in (slow, fast):
            trunk.biases[0].zero_()
    points = _points(9)
    torch.testing.assert_close(fast(points), slow(2 * points))


def test_finest_cells_of_the_hash_grid_are_the_pixels():
    omega = omega_for_bandwidth(spacing_mm=1.0, length_scale_mm=48.0)
    trunk = _trunk(omega=omega, backbone="hash")
    assert float(trunk.get_buffer("encoding.cells")[-1]) == 48.0
