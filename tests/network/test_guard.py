"""The guard: bad steps are undone, ordinary ones pass."""

import math

import pytest
import torch
from torch import Tensor

from medinr.network.guard import COPY_EVERY, MEMORY, SPIKE, Guard
from medinr.network.kfac import KfacOptimiser, KfacSettings
from medinr.network.sweep import Layers, Sweep
from medinr.network.trunk import Trunk, TrunkSettings


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def case() -> tuple[Layers, Tensor, Tensor]:
    trunk = Trunk(TrunkSettings(width=32, depth=3, omega=8.0), seeded())
    points = torch.rand(400, 2, generator=seeded(1)) * 2 - 1
    values = torch.exp(-4 * points.square().sum(dim=1, keepdim=True)) + 0.2 * torch.sin(9 * points[:, :1])
    return Layers.of(trunk, 0.1 * torch.randn(33, 1, generator=seeded(2))), points, values


def guarded() -> tuple[Layers, KfacOptimiser, Guard]:
    layers, points, values = case()
    optimiser = KfacOptimiser(layers, KfacSettings(renew_every=100))
    optimiser.step(Sweep(layers).run(points, values, curvature=True))
    return layers, optimiser, Guard(layers, optimiser)


def copies(layers: Layers) -> list[Tensor]:
    return [t.clone() for t in layers.tensors()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def spoil(layers: Layers, value: float = math.nan) -> None:
    for tensor in layers.tensors():
        tensor.view(-1)[0] = value


@pytest.mark.parametrize("error", [math.nan, math.inf, -math.inf, 1.001 * SPIKE])
def test_a_bad_step_is_undone_and_the_next_ones_are_shorter(error):
    layers, optimiser, guard = guarded()
    assert guard.passes(1.0)
    good = copies(layers)
    for times in (1, 2):
        spoil(layers)
        assert not optimiser.needs_curvature or times == 2
        assert not guard.passes(error)
        assert same(copies(layers), good)
        assert optimiser.needs_curvature
        assert (guard.step_scale, guard.rolled_back) == (0.5**times, times)
        assert guard.running == 1.0
    assert guard.passes(1.0)
    assert guard.step_scale == 0.25


def test_differences_between_minibatches_are_no_spike():
    layers, optimiser, guard = guarded()
    running = 1.0
    for error in (1.0, 0.6, 1.5, 0.99 * SPIKE, 0.01, 2.0):
        running = MEMORY * running + (1 - MEMORY) * error
        moved = copies(layers)
        assert guard.passes(error)
        assert guard.running == pytest.approx(running)
        assert same(copies(layers), moved)
    assert (guard.step_scale, guard.rolled_back) == (1.0, 0)
    assert not optimiser.needs_curvature


def test_a_large_error_at_the_first_step_is_no_spike():
    _, _, guard = guarded()
    assert guard.running == math.inf
    assert guard.passes(1e30)
    assert guard.running == 1e30


def test_bad_initial_weights_are_not_changed():
    layers, _, guard = guarded()
    start = copies(layers)
    assert not guard.passes(math.nan)
    assert guard.running == math.inf
    assert same(copies(layers), start)


def test_the_last_copy_is_restored():
    layers, _, guard = guarded()
    wanted = []
    for step in range(2 * COPY_EVERY + 4):
        if step % COPY_EVERY == 0:
            wanted = copies(layers)
        assert guard.passes(1.0)
        for tensor in layers.tensors():
            tensor.add_(0.001)
    assert not guard.passes(math.inf)
    assert same(copies(layers), wanted)


def test_an_error_that_falls_fast_leaves_copies_that_pass():
    # Ten steps back the error was larger; rolling back must not count as a spike itself.
    layers, _, guard = guarded()
    errors = {}
    for step in range(3 * COPY_EVERY):
        errors[float(layers.head[0, 0])] = 0.5**step
        assert guard.passes(0.5**step)
        layers.head.add_(1.0)
    assert not guard.passes(math.nan)
    assert guard.passes(errors[float(layers.head[0, 0])])


def test_other_tensors_are_restored_too():
    layers, optimiser, _ = guarded()
    table = torch.nn.Parameter(torch.ones(3, 2))
    guard = Guard(layers, optimiser, [table])
    assert guard.passes(1.0)
    with torch.no_grad():
        table.fill_(math.nan)
    assert not guard.passes(math.nan)
    assert torch.equal(table, torch.ones(3, 2))
    assert table.requires_grad


def fit(explode: dict[int, float], steps: int = 60) -> tuple[Layers, Guard, list[float]]:
    """Natural-gradient steps on minibatches; at some of them all weights are multiplied."""
    layers, points, values = case()
    optimiser = KfacOptimiser(layers, KfacSettings())
    guard, run, errors = Guard(layers, optimiser), Sweep(layers), []
    generator = seeded(3)
    for step in range(steps):
        picked = torch.randperm(len(points), generator=generator)[:200]
        found = run.run(points[picked], values[picked], curvature=optimiser.needs_curvature)
        if guard.passes(float(found.squared_error.sum())):
            optimiser.step(found, guard.step_scale)
        if step in explode:
            for tensor in layers.tensors():
                tensor.mul_(explode[step])
        errors.append(float(run.run(points, values).squared_error.sum()))
    return layers, guard, errors


@pytest.mark.parametrize("factor", [30.0, 1e20, math.inf, math.nan])
def test_a_fit_with_a_step_that_explodes_ends_like_one_without(factor):
    _, calm, undisturbed = fit({})
    layers, guard, errors = fit({25: factor})
    assert (calm.rolled_back, guard.rolled_back) == (0, 1)
    assert not errors[25] < 100 * undisturbed[25]
    assert errors[26] < SPIKE * undisturbed[25]
    assert all(bool(t.isfinite().all()) for t in layers.tensors())
    assert undisturbed[-1] < 0.01 * undisturbed[0]
    # The steps since the last copy are lost, and those that follow are half as long.
    assert errors[-1] < undisturbed[-1 - 2 * COPY_EVERY]


@pytest.mark.parametrize("seed", range(8))
def test_weights_are_finite_after_every_check(seed):
    generator = seeded(seed)
    layers, points, values = case()
    optimiser = KfacOptimiser(layers, KfacSettings())
    guard, run = Guard(layers, optimiser), Sweep(layers)
    poisons = (math.nan, math.inf, -math.inf, 3e38, -1e30, 1e4)
    for _ in range(40):
        picked = torch.randperm(len(points), generator=generator)[:100]
        found = run.run(points[picked], values[picked], curvature=optimiser.needs_curvature)
        passed = guard.passes(float(found.squared_error.sum()))
        assert all(bool(t.isfinite().all()) for t in layers.tensors())
        if passed:
            optimiser.step(found, guard.step_scale)
        dice = torch.randint(0, 30, (3,), generator=generator).tolist()
        if dice[0] < 8:
            tensor = layers.tensors()[dice[1] % len(layers.tensors())]
            tensor.view(-1)[dice[2] % tensor.numel()] = poisons[dice[0] % len(poisons)]
    assert guard.rolled_back > 0
