"""Iterations that use some of the views of a projection, other ones in each."""

from dataclasses import replace

import pytest
import torch

from medinr.errors import ConfigError
from medinr.operators import FanBeam, Gaussian, Identity, LinearOperator, ParallelBeam, Rician, TransmissionPoisson
from medinr.solve.data_consistency import DataConsistency, SubsetConsistency
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.plug_and_play import plug_and_play
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


class SmoothPrior:
    """Makes neighbours alike."""

    def denoise(self, image: torch.Tensor, level: float, orientation: int = 0) -> torch.Tensor:
        return image + 0.1 * (torch.roll(image, 1, 0) + torch.roll(image, -1, 0) - 2 * image)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
    """Problems of all data-consistency steps, in their order."""
    taken: list[Problem] = []
    solve = DataConsistency.solve

    def remembered(self: DataConsistency, denoised: torch.Tensor, level: float) -> torch.Tensor:
        taken.append(self.problem)
        return solve(self, denoised, level)

    monkeypatch.setattr(DataConsistency, "solve", remembered)
    return taken


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
    plain = Problem(torch.ones(40, 4), Identity((40, 4)), Gaussian(0.1), (1.0, 1.0), scale=1.0)
    assert plain.in_subsets(5) == []
    settings = PlugAndPlaySettings(iterations=9, views_per_iteration=10)
    assert isinstance(settings.consistency_by_views(scan(19)), DataConsistency)
    assert isinstance(settings.consistency_by_views(scan(20)), SubsetConsistency)


def test_with_few_views_there_is_nothing_to_choose():
    problem, settings = scan(19), PlugAndPlaySettings(iterations=5)
    whole = plug_and_play(problem, SmoothPrior(), settings)
    assert torch.equal(plug_and_play(problem, SmoothPrior(), replace(settings, views_per_iteration=10)), whole)


def test_iterations_use_one_part_after_another_and_the_last_ones_all(steps):
    problem = scan(40)
    settings = PlugAndPlaySettings(iterations=9, views_per_iteration=10)
    plug_and_play(problem, SmoothPrior(), settings)
    assert [step.operator.range.shape[0] for step in steps] == [10] * 5 + [40] * 4
    assert [step.data[0, 12].item() for step in steps[:5]] == [
        problem.data[view, 12].item() for view in (0, 1, 2, 3, 0)
    ]
    steps.clear()
    plug_and_play(problem, SmoothPrior(), replace(settings, iterations=2))
    assert steps == [problem] * 2


def test_it_ends_where_all_views_in_every_iteration_would():
    problem = scan(60)
    settings = PlugAndPlaySettings(iterations=20, sigma_start=0.3, cg_iterations=20, sigma_end_factor=1.0)
    whole = plug_and_play(problem, SmoothPrior(), settings)
    found = plug_and_play(problem, SmoothPrior(), replace(settings, views_per_iteration=15))
    fewer = plug_and_play(problem.in_subsets(15)[0][0], SmoothPrior(), settings)
    norm = torch.linalg.vector_norm
    assert norm(found - whole) < 0.3 * norm(fewer - whole)


def test_a_part_weighs_what_the_whole_does():
    """One iteration, of views without noise that all say the same: a disc seen from anywhere.

    Each view of the part stands for three and brings its noise along, so the denoised image weighs more by the root.
    """
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    image = 0.05 * torch.exp(-6 * (y**2 + x**2))
    operator = ParallelBeam((SIZE, SIZE), (1.0, 1.0), torch.linspace(0, torch.pi, 61)[:-1])
    problem = Problem(operator(image), operator, Gaussian(0.5), (1.0, 1.0), scale=0.1)
    settings = PlugAndPlaySettings(iterations=5, cg_iterations=40)
    seen: list[torch.Tensor] = []
    for views, weight in ((0, 3**0.5), (20, 1.0)):
        chosen = replace(settings, views_per_iteration=views, regularisation_weight=weight)
        consistency = chosen.consistency_by_views(problem)
        assert isinstance(consistency, SubsetConsistency if views else DataConsistency)
        seen.append(consistency.solve(torch.zeros(SIZE, SIZE), 0.2))
    whole, part = seen
    assert torch.linalg.vector_norm(part - whole) < 0.05 * torch.linalg.vector_norm(whole)


def test_views_not_to_be_used_have_no_say():
    problem = scan(40)
    used = torch.arange(40).unsqueeze(1).expand(problem.data.shape) % 3 != 0
    spoilt = replace(problem, data=torch.where(used, problem.data, 7.0))
    settings = PlugAndPlaySettings(iterations=6, views_per_iteration=10, sigma_end_factor=1e-3)
    level = {"pixel_noise": lambda self: 0.01}
    one, other = (
        plug_and_play(type("Known", (Problem,), level)(**vars(each)), SmoothPrior(), settings, fitted=used)
        for each in (problem, spoilt)
    )
    assert torch.equal(one, other)


def test_settings_that_make_no_sense():
    with pytest.raises(ConfigError, match="views_per_iteration of 0 or more"):
        PlugAndPlaySettings(views_per_iteration=-1)


class Recorder:
    """Stands for a data-consistency step, and notes what it is asked."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name, self._notes = name, notes

    def start(self) -> torch.Tensor:
        self._notes.append(f"{self._name} starts")
        return torch.zeros(1)

    def at(self, image: torch.Tensor) -> None:
        self._notes.append(f"{self._name} at")

    def forget(self) -> None:
        self._notes.append(f"{self._name} forgets")

    def solve(self, denoised: torch.Tensor, level: float) -> torch.Tensor:
        self._notes.append(f"{self._name} {level:g}")
        return denoised


def test_whoever_did_not_take_the_step_before_forgets_what_it_predicted():
    notes: list[str] = []
    whole, *parts = (Recorder(name, notes) for name in ("all", "a", "b"))
    consistency = SubsetConsistency(whole, parts, 3)
    consistency.at(consistency.start())
    for level in range(5):
        consistency.solve(torch.zeros(1), level)
    assert notes[:2] == ["all starts", "all at"]
    assert notes[2:] == ["a forgets", "a 0", "b forgets", "b 1", "a forgets", "a 2", "all forgets", "all 3", "all 4"]


def test_without_partial_steps_the_whole_keeps_the_measurement_as_its_first_prediction():
    notes: list[str] = []
    whole, *parts = (Recorder(name, notes) for name in ("all", "a", "b"))
    consistency = SubsetConsistency(whole, parts, 0)
    for level in (3, 2):
        consistency.solve(torch.zeros(1), level)
    assert notes == ["all 3", "all 2"]


def test_a_step_of_other_views_takes_its_surrogate_at_the_denoised_image():
    """That of Rician noise depends on where it is taken: after a step of other views, at the denoised image."""
    problem, level = replace(scan(40), noise=Rician(0.5)), 0.3
    _, second = (part for part, _ in problem.in_subsets(20))
    denoised = 0.5 * disc()
    consistency = PlugAndPlaySettings(views_per_iteration=20).consistency_by_views(problem)
    consistency.solve(torch.zeros(SIZE, SIZE), level)
    found = consistency.solve(denoised, level)
    alone, measured = (DataConsistency(second, 1.0, 6, stands_for=2.0) for _ in range(2))
    alone.at(denoised)
    assert torch.equal(found, alone.solve(denoised, level))
    assert not torch.allclose(found, measured.solve(denoised, level), rtol=0, atol=1e-3)
