"""Turns that hear some of the views of a projection, another part of them each."""

from dataclasses import replace

import pytest
import torch

from medinr.errors import ConfigError
from medinr.operators import FanBeam, Gaussian, Identity, LinearOperator, ParallelBeam, TransmissionPoisson
from medinr.solve.plug_and_play import PlugAndPlaySettings, plug_and_play
from medinr.solve.problem import Problem

SIZE = 24


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disc() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    return torch.sigmoid(18 * (0.75 - torch.hypot(y, x))) * (1 + 0.2 * torch.sin(9 * x) * torch.cos(7 * y))


def scan(views: int, kind: str = "parallel") -> Problem:
    angles = torch.linspace(0, torch.pi, views + 1)[:-1]
    operator: LinearOperator
    if kind == "parallel":
        operator = ParallelBeam((SIZE, SIZE), (1.0, 1.0), angles)
    else:
        operator = FanBeam((SIZE, SIZE), (1.0, 1.0), 2 * angles, 60.0, 90.0, 48, 1.5)
    image, noise = disc() * 0.1, TransmissionPoisson(1e5)
    return Problem(noise.sample(operator(image), seeded()), operator, noise, (1.0, 1.0), scale=0.1, group_axis=-2)


class Smooth:
    """Believes that neighbours are alike."""

    def denoise(self, image: torch.Tensor, level: float, turn: int = 0) -> torch.Tensor:
        return image + 0.1 * (torch.roll(image, 1, 0) + torch.roll(image, -1, 0) - 2 * image)


@pytest.mark.parametrize("kind", ["parallel", "fan"])
def test_parts_are_interleaved_and_together_the_whole(kind):
    problem = scan(23, kind)
    parts = problem.in_subsets(5)
    assert [at.tolist() for _, at in parts] == [list(range(k, 23, 4)) for k in range(4)]
    image = torch.randn(SIZE, SIZE, generator=seeded(1))
    for part, at in parts:
        assert torch.equal(part.data, problem.data[at])
        torch.testing.assert_close(part.predict(image), problem.predict(image)[at])


def test_few_views_and_what_is_no_projection_stay_whole():
    assert scan(19).in_subsets(10) == []
    assert len(scan(20).in_subsets(10)) == 2
    plain = Problem(torch.ones(40, 4), Identity((40, 4)), Gaussian(0.1), (1.0, 1.0))
    assert plain.in_subsets(5) == []


def test_with_few_views_there_is_nothing_to_choose():
    problem, settings = scan(19), PlugAndPlaySettings(iterations=5)
    whole = plug_and_play(problem, Smooth(), settings)
    assert torch.equal(plug_and_play(problem, Smooth(), replace(settings, views=10)), whole)


def test_turns_hear_one_part_after_another_and_the_last_ones_all():
    problem = scan(40)
    turns = PlugAndPlaySettings(iterations=9, views=10, all_views=3).measurement_turns(problem)
    heard = [turn.problem.operator.range.shape[0] for turn in turns]
    assert heard == [10] * 6 + [40] * 3
    assert [turn.problem.data[0, 12].item() for turn in turns[:6]] == [
        problem.data[view, 12].item() for view in (0, 1, 2, 3, 0, 1)
    ]
    all_of_them = PlugAndPlaySettings(iterations=2, views=10, all_views=3).measurement_turns(problem)
    assert [turn.problem for turn in all_of_them] == [problem] * 2


def test_it_ends_where_all_views_in_every_turn_would():
    problem, settings = scan(60), PlugAndPlaySettings(iterations=20, first=0.3, inner=20, last=1.0)
    whole = plug_and_play(problem, Smooth(), settings)
    found = plug_and_play(problem, Smooth(), replace(settings, views=15, all_views=8))
    fewer = plug_and_play(problem.in_subsets(15)[0][0], Smooth(), settings)
    norm = torch.linalg.vector_norm
    assert norm(found - whole) < 0.3 * norm(fewer - whole)


def test_a_part_weighs_what_the_whole_does():
    """One turn, of views without noise that all say the same: a disc seen from anywhere."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    image = 0.05 * torch.exp(-6 * (y**2 + x**2))
    operator = ParallelBeam((SIZE, SIZE), (1.0, 1.0), torch.linspace(0, torch.pi, 61)[:-1])
    problem = Problem(operator(image), operator, Gaussian(0.5), (1.0, 1.0), scale=0.1)
    settings = PlugAndPlaySettings(iterations=2, inner=40)
    seen: list[torch.Tensor] = []
    for views in (0, 20):
        turn = replace(settings, views=views, all_views=1).measurement_turns(problem)[0]
        seen.append(turn.explain(torch.zeros(SIZE, SIZE), None, 0.2)[0])
    whole, part = seen
    assert torch.linalg.vector_norm(part - whole) < 0.05 * torch.linalg.vector_norm(whole)


def test_views_not_to_be_used_have_no_say():
    problem = scan(40)
    used = torch.arange(40).unsqueeze(1).expand(problem.data.shape) % 3 != 0
    spoilt = replace(problem, data=torch.where(used, problem.data, 7.0))
    settings = PlugAndPlaySettings(iterations=6, views=10, all_views=2, last=1e-3)
    level = {"pixel_noise": lambda self: 0.01}
    one, other = (
        plug_and_play(type("Known", (Problem,), level)(**vars(each)), Smooth(), settings, fitted=used)
        for each in (problem, spoilt)
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("change", [{"views": -1}, {"all_views": 0}])
def test_settings_that_make_no_sense(change):
    with pytest.raises(ConfigError, match="views of 0 or more and all_views of 1 or more"):
        PlugAndPlaySettings(**change)
