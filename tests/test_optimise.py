import math

import pytest
import torch
from torch import Tensor, nn

from medinr.errors import CheckpointError, ConfigError
from medinr.network.trunk import Trunk, TrunkSettings
from medinr.optimise import Muon, Optimiser, OptimiserSettings


def _trunk(seed: int = 0) -> Trunk:
    return Trunk(TrunkSettings(width=16, depth=3), torch.Generator().manual_seed(seed))


def _others(trunk: Trunk) -> list[nn.Parameter]:
    return [trunk.weights[0], *trunk.biases]


def _give_gradients(trunk: Trunk, scale: float = 1.0, seed: int = 7) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in trunk.parameters():
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)


def _moves(settings: OptimiserSettings, scale: float, factor: float = 1.0) -> dict[str, Tensor]:
    trunk = _trunk()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    _give_gradients(trunk, scale)
    Optimiser(settings, trunk.hidden_matrices(), _others(trunk)).step(factor)
    return {name: value - before[name] for name, value in trunk.state_dict().items()}


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e3])
def test_muon_orthogonalises_the_hidden_matrices_and_nothing_else(scale):
    moves = _moves(OptimiserSettings(muon_rate=0.02, adam_rate=0.001), scale)
    for name in ("weights.1", "weights.2"):
        singular = torch.linalg.svdvals(moves[name] / 0.02)
        # Newton-Schulz brings singular values near 1 (0.7 to 1.2), whatever the size of the gradient.
        assert float(singular.min()) > 0.5
        assert float(singular.max()) < 1.3
    for name in ("weights.0", "biases.0", "biases.1", "biases.2"):
        # The first step of Adam has the same length along every entry.
        torch.testing.assert_close(moves[name].abs(), torch.full_like(moves[name], 0.001), rtol=1e-3, atol=0)


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8), (1, 7)])
def test_muon_steps_as_torch_does_but_for_rounding(shape):
    ours, theirs = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))
    mine, reference = Muon([ours], 0.1, 0.9), torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.0)
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        ours.grad = theirs.grad = torch.randn(shape, generator=generator)
        mine.step()
        reference.step()
    # torch multiplies bfloat16, eight bits of which are right.
    assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_muon_leaves_alone_what_has_no_gradient_or_none_to_speak_of():
    idle, flat = nn.Parameter(torch.ones(3, 5)), nn.Parameter(torch.ones(3, 5))
    flat.grad = torch.zeros(3, 5)
    Muon([idle, flat], 0.1, 0.9).step()
    assert torch.equal(idle, torch.ones(3, 5))
    assert torch.equal(flat, torch.ones(3, 5))


def test_adam_alone_moves_hidden_matrices_entrywise():
    moves = _moves(OptimiserSettings(kind="adam", adam_rate=0.002), 1.0)
    for move in moves.values():
        torch.testing.assert_close(move.abs(), torch.full_like(move, 0.002), rtol=1e-3, atol=0)


def test_factor_scales_every_step():
    whole, half = _moves(OptimiserSettings(), 1.0), _moves(OptimiserSettings(), 1.0, factor=0.5)
    for name in whole:
        torch.testing.assert_close(half[name], 0.5 * whole[name], rtol=1e-3, atol=1e-7)


def test_steps_go_downhill():
    target = torch.randn(16, 16, generator=torch.Generator().manual_seed(1))
    matrix, row = nn.Parameter(torch.zeros(16, 16)), nn.Parameter(torch.zeros(16))
    optimiser = Optimiser(OptimiserSettings(muon_rate=0.3, adam_rate=0.1), [matrix], [row])
    losses = []
    for step in range(60):
        optimiser.zero_grad()
        loss = (matrix - target).square().mean() + (row - target[0]).square().mean()
        loss.backward()
        losses.append(loss.item())
        optimiser.step(OptimiserSettings().factor(step, 60))
    assert losses[-1] < 0.1 * losses[0]


def test_cosine_schedule_falls_from_one_to_the_final_fraction():
    settings = OptimiserSettings(final=0.1)
    assert settings.factor(0, 200) == 1.0
    assert settings.factor(50, 200) == pytest.approx(0.1 + 0.9 * (0.5 + 0.25 * math.sqrt(2)))
    assert settings.factor(100, 200) == pytest.approx(0.55)
    assert settings.factor(200, 200) == pytest.approx(0.1)
    assert settings.factor(300, 200) == pytest.approx(0.1)
    assert settings.factor(0, 0) == 1.0


def test_constant_schedule_and_warmup():
    constant = OptimiserSettings(schedule="constant", warmup=3)
    assert [constant.factor(step, 10) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    warm = OptimiserSettings(warmup=1, final=0.0)
    assert warm.factor(0, 10) == 0.5
    assert warm.factor(5, 10) == pytest.approx(0.5)


@pytest.mark.parametrize(("key", "value"), [("kind", "sgd"), ("schedule", "linear")])
def test_unknown_names_are_refused(key, value):
    with pytest.raises(ConfigError, match=f"'{value}' is not one of"):
        OptimiserSettings(**{key: value})


def _run(trunk: Trunk, optimiser: Optimiser, seeds: range) -> None:
    for seed in seeds:
        _give_gradients(trunk, seed=seed)
        optimiser.step(1.0)


@pytest.mark.parametrize("kind", ["muon", "adam"])
def test_state_continues_bit_for_bit(kind):
    settings = OptimiserSettings(kind=kind)
    straight = _trunk()
    _run(straight, Optimiser(settings, straight.hidden_matrices(), _others(straight)), range(6))

    stopped = _trunk()
    optimiser = Optimiser(settings, stopped.hidden_matrices(), _others(stopped))
    _run(stopped, optimiser, range(3))
    saved = optimiser.state_tensors()

    resumed = _trunk(seed=9)
    resumed.load_state_dict(stopped.state_dict())
    continued = Optimiser(settings, resumed.hidden_matrices(), _others(resumed))
    continued.load_state_tensors(saved)
    _run(resumed, continued, range(3, 6))
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_state_of_another_network_is_refused():
    trunk = _trunk()
    optimiser = Optimiser(OptimiserSettings(), trunk.hidden_matrices(), _others(trunk))
    _run(trunk, optimiser, range(1))
    deeper = Trunk(TrunkSettings(width=16, depth=4))
    other = Optimiser(OptimiserSettings(), deeper.hidden_matrices(), _others(deeper))
    with pytest.raises(CheckpointError, match=r"state for 2 weights; this network has 3.*--overwrite"):
        other.load_state_tensors(optimiser.state_tensors())


def test_forget_starts_the_momentum_of_one_parameter_anew():
    def second_move(forget: bool) -> tuple[Tensor, Tensor]:
        first, second = nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(4))
        optimiser = Optimiser(OptimiserSettings(kind="adam", adam_rate=0.1), [], [first, second])
        for gradient in (100.0, -1.0):
            before = first.detach().clone(), second.detach().clone()
            first.grad, second.grad = torch.full((4,), gradient), torch.full((4,), gradient)
            optimiser.step(1.0)
            if forget:
                optimiser.forget(first)
        return first.detach() - before[0], second.detach() - before[1]

    forgotten, kept = second_move(forget=True)
    torch.testing.assert_close(forgotten, torch.full((4,), 0.1), rtol=1e-5, atol=0)
    assert bool((kept < 0).all())  # the large first gradient still pulls
    torch.testing.assert_close(second_move(forget=False)[0], kept)
