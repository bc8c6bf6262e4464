"""Neighbouring slices solved together: what they are worth to each other, and that a run can be gone on with."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators import Gaussian, Identity, Rician, cartesian_mask, undersampled_fourier
from medinr.prior.local import LocalPrior
from medinr.solve.fit import FitSettings
from medinr.solve.plug_and_play import PlugAndPlaySettings, plug_and_play
from medinr.solve.problem import Problem
from medinr.solve.stack import LOOK, Stack

SLICES, SIZE = 12, 32
SETTINGS = FitSettings(guide=PlugAndPlaySettings(iterations=16, strength=0.1))
ONE_LOOK = FitSettings(guide=PlugAndPlaySettings(iterations=0))


@pytest.fixture(scope="module")
def body(family) -> Tensor:
    """A ball with a smaller one in it, shape (z, y, x), cubic voxels."""
    z, y, x = torch.meshgrid(torch.linspace(-0.35, 0.35, SLICES), *(torch.linspace(-1, 1, SIZE),) * 2, indexing="ij")
    ball = torch.sigmoid(18 * (0.8 - torch.sqrt(x**2 + y**2 + z**2)))
    return ball * (0.6 + 0.4 * torch.sigmoid(18 * (0.35 - torch.sqrt((x - 0.2) ** 2 + (y + 0.1) ** 2 + z**2))))


def k_space(body: Tensor, own_lines: bool) -> list[Problem]:
    """Slices with different smooth phases, 4x undersampled."""
    ramp = torch.linspace(-1, 1, SIZE)
    problems = []
    for number, image in enumerate(body):
        turned = torch.polar(image, (0.1 * number * ramp).expand_as(image).contiguous())
        mask = cartesian_mask(SIZE, 4.0, 0.12, seed=number if own_lines else 0)
        operator, noise = undersampled_fourier((SIZE, SIZE), mask), Gaussian(0.005)
        data = noise.sample(operator(turned), torch.Generator().manual_seed(number))
        problems.append(Problem(data, operator, noise, (1.0, 1.0), True, 1.0 + 0.02 * number, group_axis=-2))
    return problems


def noisy(body: Tensor, noise: Gaussian | Rician) -> list[Problem]:
    draws = [noise.sample(image, torch.Generator().manual_seed(number)) for number, image in enumerate(body)]
    return [Problem(data, Identity((SIZE, SIZE)), noise, (1.0, 1.0)) for data in draws]


def solve(problems: list[Problem], prior: LocalPrior, settings: FitSettings = SETTINGS) -> Tensor:
    stack = Stack(problems, [prior] * len(problems), prior, settings)
    *_, done = stack.turns()
    return stack.scale * done.images


def one_by_one(problems: list[Problem], prior: LocalPrior, settings: FitSettings = SETTINGS) -> Tensor:
    return torch.stack([problem.scale * plug_and_play(problem, prior, settings.guide) for problem in problems])


def error(images: Tensor, body: Tensor) -> float:
    return float((images.abs() - body).square().mean().sqrt())


def test_slices_with_lines_of_their_own_tell_each_other_what_they_lack(family, body):
    problems = k_space(body, own_lines=True)
    # 3.8 dB here; what a slice lacks its neighbours have.
    assert error(solve(problems, family.prior), body) < 0.7 * error(one_by_one(problems, family.prior), body)


def test_noise_is_seen_for_what_it_is_from_every_side(family, body):
    for noise in (Gaussian(0.1), Rician(0.1)):
        problems = noisy(body, noise)
        assert error(solve(problems, family.prior, ONE_LOOK), body) < 0.9 * error(
            one_by_one(problems, family.prior, ONE_LOOK), body
        )


def test_a_stack_mirrored_in_its_slices_is_mirrored(family, body):
    # The looks at an image that was measured itself are a mean over all turns and flips.
    problems = noisy(body, Gaussian(0.1))
    forward, backward = (solve(list(some), family.prior, ONE_LOOK) for some in (problems, problems[::-1]))
    torch.testing.assert_close(forward, backward.flip(0), rtol=1e-4, atol=1e-5)


def test_brightness_has_no_unit(family, body):
    problems = k_space(body, own_lines=True)
    brighter = [
        replace(problem, data=1000 * problem.data, noise=Gaussian(5.0), scale=1000 * problem.scale)
        for problem in problems
    ]
    images, bright = solve(problems, family.prior), solve(brighter, family.prior)
    torch.testing.assert_close(bright / 1000, images, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_that_is_gone_on_with_ends_with_the_same_bits(family, body, threads):
    problems, priors = k_space(body, own_lines=True), [family.prior] * SLICES
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        straight = list(Stack(problems, priors, family.prior, SETTINGS).turns())
        again = list(Stack(problems, priors, family.prior, SETTINGS).turns(straight[LOOK - 1]))
    finally:
        torch.set_num_threads(before)
    assert [done.turn for done in again] == list(range(LOOK + 1, 17))
    assert torch.equal(again[-1].images, straight[-1].images)
    assert [len(steps) for steps in again[-1].rows] == [2] * SLICES
    assert all(after.seconds >= earlier.seconds for earlier, after in pairwise([straight[LOOK - 1], *again]))


def test_threads_do_not_change_a_bit(family, body):
    problems = k_space(body, own_lines=True)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = solve(problems, family.prior)
        torch.set_num_threads(2)
        assert torch.equal(solve(problems, family.prior), alone)
    finally:
        torch.set_num_threads(before)


def test_every_slice_says_how_it_went(family, body):
    stack = Stack(k_space(body, own_lines=True), [family.prior] * SLICES, family.prior, SETTINGS)
    *_, done = stack.turns()
    solutions = stack.solutions(done)
    assert len(solutions) == SLICES
    for solution, image in zip(solutions, done.images, strict=True):
        assert torch.equal(solution.image, stack.scale * image)
        assert [step.step for step in solution.steps] == [LOOK, 16]
        # The measurement has the last word: no more is left than its noise.
        assert 0.0 < solution.residual < 1.0
        assert "12 neighbouring slices together" in solution.reason
    assert sum(solution.seconds for solution in solutions) == pytest.approx(done.seconds, rel=0.01)


def test_the_prior_has_the_last_word_where_it_is_asked_to(family, body):
    residuals = {}
    for end in ("measurement", "prior"):
        settings = replace(SETTINGS, guide=replace(SETTINGS.guide, end=end))
        stack = Stack(k_space(body, own_lines=True), [family.prior] * SLICES, family.prior, settings)
        *_, done = stack.turns()
        residuals[end] = stack.solutions(done)[5].residual
    # A denoised image explains the samples less closely than one that was fitted to them last.
    assert residuals["prior"] > 3 * residuals["measurement"]


def test_slices_that_are_no_stack_are_refused(family, body):
    problems = k_space(body, own_lines=False)
    real = noisy(body, Gaussian(0.1))
    with pytest.raises(ShapeError, match="all real or all complex"):
        Stack([*problems, real[0]], [family.prior] * (SLICES + 1), family.prior, SETTINGS)
    with pytest.raises(ShapeError, match="a prior for each; got 12 slices"):
        Stack(problems, [family.prior], family.prior, SETTINGS)
    with pytest.raises(ConfigError, match="Only a measured image"):
        Stack(problems, [family.prior] * SLICES, family.prior, ONE_LOOK)
