import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from medinr.errors import ConfigError
from medinr.network.coordinates import plane_coordinates
from medinr.network.image_domain import (
    KEEP_BEST_STEPS,
    LEAST_STEPS,
    ImageDomainSettings,
    best_head,
    fit_image_domain,
    to_values,
)
from medinr.network.kfac import KfacOptimiser, KfacSettings
from medinr.network.sweep import Gradient, Sweep
from medinr.network.trunk import BACKBONES, Trunk, TrunkSettings, random_head

#: Sixty steps on a quarter of the pixels each.
QUICK = ImageDomainSettings(passes=15, batch=64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_trunk(backbone: str = "siren") -> tuple[Trunk, Tensor]:
    trunk = Trunk(TrunkSettings(width=32, depth=3, omega=10.0, backbone=backbone), seeded())
    return trunk, plane_coordinates((16, 16), (1.0, 1.0), 8.0)


def bump() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    return torch.exp(-4 * (y - 0.2) ** 2 - 9 * x**2) + 0.3 * torch.sin(9 * y)


def test_best_head_is_least_squares() -> None:
    features = torch.randn(50, 7, generator=seeded())
    values = torch.randn(50, 2, generator=seeded(1))
    expected = torch.linalg.lstsq(features.double(), values.double()).solution
    torch.testing.assert_close(best_head(features, values), expected.float(), rtol=1e-5, atol=1e-5)


def test_complex_images_are_two_heads() -> None:
    image = torch.randn(3, 4, dtype=torch.complex64, generator=seeded())
    values = to_values(image)
    assert values.shape == (12, 2)
    assert torch.equal(torch.view_as_complex(values.contiguous()).reshape(3, 4), image)


def start(backbone: str = "siren", heads: int = 1) -> tuple[Trunk, nn.Parameter, Tensor]:
    trunk, points = small_trunk(backbone)
    return trunk, nn.Parameter(random_head(32, heads, 10.0, seeded())), points


def mean_error(trunk: Trunk, head: Tensor, points: Tensor, values: Tensor) -> float:
    with torch.no_grad():
        return float((trunk.render(points, head) - values).square().sum(dim=1).mean())


def alone(trunk: Trunk, points: Tensor, values: Tensor) -> float:
    """Error of the best head on a trunk as it is."""
    return mean_error(trunk, best_head(trunk.features(points), values), points, values)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_fit_beats_the_best_head_alone(backbone: str) -> None:
    trunk, head, points = start(backbone)
    values = to_values(bump())
    before = alone(trunk, points, values)
    fit_image_domain(trunk, head, points, values, QUICK, generator=seeded(1))
    assert mean_error(trunk, head, points, values) < 0.1 * before


@pytest.mark.parametrize("passes", [0.2, 1.0, 4.0])
def test_the_head_at_the_end_is_the_closed_form_one(passes: float) -> None:
    trunk, head, points = start()
    values = to_values(bump())
    fit_image_domain(trunk, head, points, values, ImageDomainSettings(passes=passes, batch=64), generator=seeded(1))
    assert torch.equal(head, best_head(trunk.features(points), values))


def test_the_first_head_is_the_closed_form_one_too() -> None:
    trunk, head, points = start()
    values = to_values(bump())
    heads = []

    def after_step(step: int) -> bool:
        heads.append(head.detach().clone())
        return True

    first = best_head(trunk.features(points), values)
    # Steps of next to no length: what is there is what they started from.
    still = ImageDomainSettings(passes=1, batch=64, kfac=KfacSettings(trust=1e-16))
    fit_image_domain(trunk, head, points, values, still, generator=seeded(1), after_step=after_step)
    for found in heads:
        torch.testing.assert_close(found, first, rtol=1e-3, atol=1e-3)


def test_a_complex_image_moves_two_heads_and_one_trunk() -> None:
    trunk, head, points = start(heads=2)
    image = torch.complex(bump(), bump().flip(0) * 0.5)
    before = alone(trunk, points, to_values(image))
    fit_image_domain(trunk, head, points, to_values(image), QUICK, generator=seeded(1))
    with torch.no_grad():
        found = torch.view_as_complex(trunk.render(points, head)).reshape(16, 16)
    assert head.shape == (33, 2)
    for part in (found - image).real, (found - image).imag:
        assert float(part.square().mean()) < 0.1 * before


def test_a_hash_grid_moves_its_tables() -> None:
    trunk, head, points = start("hash")
    (table,) = trunk.encoding_parameters()
    drawn = table.detach().clone()
    fit_image_domain(trunk, head, points, to_values(bump()), QUICK, generator=seeded(1))
    moved = (table != drawn).any(dim=1)
    table.grad = None
    trunk.encode(points).sum().backward()
    seen = (table.grad != 0).any(dim=1)
    # What no point sees stays as it was drawn; what points see moves.
    assert not bool((moved & ~seen).any())
    assert int(moved.sum()) > 0.99 * int(seen.sum())


def test_tables_move_with_the_steps_of_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.Adam.step

    def watch(self: torch.optim.Adam) -> None:
        rates.append(self.param_groups[0]["lr"])
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", watch)
    trunk, head, points = start("hash")
    settings = ImageDomainSettings(passes=15, batch=64, encoding_rate=1e-3, final=0.1)
    # Steps too short for the guard to step in.
    settings = replace(settings, kfac=KfacSettings(trust=0.01))
    fit_image_domain(trunk, head, points, to_values(bump()), settings, generator=seeded(1))
    assert rates == pytest.approx([1e-3 * settings.factor(k, 60) for k in range(60)])


@pytest.mark.parametrize("backbone", ["siren", "hash"])
def test_runs_are_bit_identical_and_the_generator_decides(backbone: str) -> None:
    def run(seed: int) -> list[Tensor]:
        trunk, head, points = start(backbone)
        fit_image_domain(trunk, head, points, to_values(bump()), QUICK, generator=seeded(seed))
        return [*(p.detach() for p in trunk.parameters()), head.detach()]

    first, again, other = run(1), run(1), run(2)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_every_pixel_is_used_once_per_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    run = Sweep.run

    def watch(self: Sweep, inputs: Tensor, values: Tensor, **wishes: bool) -> Gradient:
        seen.append(inputs)
        return run(self, inputs, values, **wishes)

    monkeypatch.setattr(Sweep, "run", watch)
    trunk, head, points = start()
    fit_image_domain(
        trunk, head, points, to_values(bump()), ImageDomainSettings(passes=12, batch=64), generator=seeded(1)
    )
    assert [len(part) for part in seen] == [64] * 48
    for number in range(12):
        whole = torch.cat(seen[4 * number : 4 * number + 4])
        assert len(torch.unique(whole, dim=0)) == len(points)
    assert not torch.equal(seen[0], seen[4])


def test_steps_are_passes_over_batches() -> None:
    assert [ImageDomainSettings(passes=p, batch=4096).steps(512 * 512) for p in (0, 1, 2.5, 8)] == [0, 64, 160, 512]
    assert ImageDomainSettings(passes=10, batch=100).steps(256) == 40


def test_small_images_are_used_whole_in_every_step_and_get_no_fewer_steps() -> None:
    for passes, points in ((1, 256), (8, 32 * 32), (0.5, 64 * 64)):
        settings = ImageDomainSettings(passes=passes, batch=4096)
        assert settings.batch_for(points) == points
        assert settings.steps(points) == LEAST_STEPS
    assert ImageDomainSettings(passes=100, batch=50).batch_for(20) == 20


@pytest.mark.parametrize("trust", [0.1, 3.0, 30.0])
def test_the_first_steps_never_make_the_image_worse(trust: float) -> None:
    """Even where the trust region lets a step overshoot: the best image stays until a better one comes."""
    trunk, head, points = start()
    values = to_values(bump())
    bold = ImageDomainSettings(passes=20, batch=256, kfac=KfacSettings(trust=trust, momentum=0.0))
    seen = [alone(trunk, points, values)]

    def watch(step: int) -> bool:
        shown = trunk.render(points, head).detach().clamp(values.min(), values.max())
        seen.append(float((shown - values).square().mean()))
        return step < KEEP_BEST_STEPS

    fit_image_domain(trunk, head, points, values, bold, generator=seeded(1), after_step=watch)
    assert len(seen) == KEEP_BEST_STEPS + 1
    assert all(later <= previous for previous, later in itertools.pairwise(seen))


def test_step_length_falls_by_a_cosine_to_the_final_one() -> None:
    settings = ImageDomainSettings(final=0.1)
    assert settings.factor(0, 40) == 1.0
    assert settings.factor(10, 40) == pytest.approx(0.1 + 0.9 * (0.5 + 0.25 * math.sqrt(2)))
    assert settings.factor(40, 40) == pytest.approx(0.1)
    assert settings.factor(0, 0) == 1.0
    flat = ImageDomainSettings(final=1.0)
    assert {flat.factor(step, 9) for step in range(10)} == {1.0}


def test_no_pass_leaves_the_trunk_alone() -> None:
    trunk, head, points = start()
    before = [p.detach().clone() for p in trunk.parameters()]
    values = to_values(bump())
    fit_image_domain(trunk, head, points, values, ImageDomainSettings(passes=0), generator=seeded())
    assert all(torch.equal(old, new) for old, new in zip(before, trunk.parameters(), strict=True))
    assert torch.equal(head, best_head(trunk.features(points), values))


def test_the_fit_ends_when_told_to() -> None:
    trunk, head, points = start()
    seen, errors = [], []
    values = to_values(bump())

    def after_step(step: int) -> bool:
        seen.append(step)
        errors.append(mean_error(trunk, head, points, values))
        return step < 3

    fit_image_domain(trunk, head, points, values, QUICK, generator=seeded(), after_step=after_step)
    assert seen == [1, 2, 3]
    # Trunk and head are the best of the steps so far, and what is left is what was there last.
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]
    assert mean_error(trunk, head, points, values) == errors[-1]


@pytest.mark.parametrize("backbone", ["siren", "gauss", "hash"])
@pytest.mark.parametrize("poison", [math.nan, math.inf, 1e3])
@pytest.mark.parametrize("at", [0, 1, 7, 59], ids=["first", "before the head", "middle", "last"])
def test_a_step_that_explodes_does_not_ruin_the_fit(
    monkeypatch: pytest.MonkeyPatch, backbone: str, poison: float, at: int
) -> None:
    run, step = Sweep.run, KfacOptimiser.step
    sweeps: list[int] = []
    exploded: list[int] = []

    def count(self: Sweep, inputs: Tensor, values: Tensor, **wishes: bool) -> Gradient:
        sweeps.append(1)
        return run(self, inputs, values, **wishes)

    def explode(self: KfacOptimiser, gradient: Gradient, factor: float = 1.0) -> None:
        step(self, gradient, factor)
        if len(sweeps) == at + 1:
            exploded.append(1)
            for tensor in (*self.layers.tensors(), *trunk.encoding_parameters()):
                tensor.data.mul_(poison)

    trunk, head, points = start(backbone)
    values = to_values(bump())
    before = alone(trunk, points, values)
    monkeypatch.setattr(Sweep, "run", count)
    monkeypatch.setattr(KfacOptimiser, "step", explode)
    fit_image_domain(trunk, head, points, values, QUICK, generator=seeded(1))
    assert (len(exploded), len(sweeps)) == (1, 60)
    assert all(bool(t.isfinite().all()) for t in (*trunk.parameters(), head))
    assert mean_error(trunk, head, points, values) < 0.3 * before


@pytest.mark.parametrize("level", [0.0, 0.7, 1e-20])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_image_without_structure_is_met(backbone: str, level: float) -> None:
    trunk, head, points = start(backbone)
    values = torch.full((256, 1), level)
    fit_image_domain(trunk, head, points, values, QUICK, generator=seeded(1))
    assert mean_error(trunk, head, points, values) <= 1e-10 * level**2
    assert all(bool(t.isfinite().all()) for t in (*trunk.parameters(), head))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"passes": -1.0}, "passes of 0 or more"),
        ({"batch": 0}, "batch of 1 or more"),
        ({"final": 1.5}, "final from 0 to 1"),
        ({"precision": "half"}, "'half' is not one of auto, float32"),
    ],
)
def test_nonsense_settings(settings: dict[str, float | str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ImageDomainSettings(**settings)
