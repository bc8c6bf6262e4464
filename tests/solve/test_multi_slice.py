"""Joint multi-slice reconstruction: what slices are worth to each other, and that a run can be resumed."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators import Gaussian, Identity, Rician, cartesian_mask, undersampled_fourier
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.multi_slice import RESIDUAL_EVERY, MultiSlice
from medinr.solve.plug_and_play import plug_and_play
from medinr.solve.problem import Problem

SLICES, SIZE = 12, 32
SETTINGS = PlugAndPlaySettings(iterations=16, regularisation_weight=0.1)
ONCE = PlugAndPlaySettings(iterations=0)


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
        with_phase = torch.polar(image, (0.1 * number * ramp).expand_as(image).contiguous())
        mask = cartesian_mask(SIZE, 4.0, 0.12, seed=number if own_lines else 0)
        operator, noise = undersampled_fourier((SIZE, SIZE), mask), Gaussian(0.005)
        data = noise.sample(operator(with_phase), torch.Generator().manual_seed(number))
        problems.append(Problem(data, operator, noise, (1.0, 1.0), True, 1.0 + 0.02 * number, group_axis=-2))
    return problems


def noisy(body: Tensor, noise: Gaussian | Rician) -> list[Problem]:
    draws = [noise.sample(image, torch.Generator().manual_seed(number)) for number, image in enumerate(body)]
    return [Problem(data, Identity((SIZE, SIZE)), noise, (1.0, 1.0), scale=1.0) for data in draws]


def solve(problems: list[Problem], prior: DenoiserPrior, settings: PlugAndPlaySettings = SETTINGS) -> Tensor:
    jointly = MultiSlice(problems, [prior] * len(problems), prior, settings)
    *_, done = jointly.iterations()
    return jointly.scale * done.images


def one_by_one(problems: list[Problem], prior: DenoiserPrior, settings: PlugAndPlaySettings = SETTINGS) -> Tensor:
    return torch.stack([problem.scale * plug_and_play(problem, prior, settings) for problem in problems])


def error(images: Tensor, body: Tensor) -> float:
    return float((images.abs() - body).square().mean().sqrt())


def test_slices_with_lines_of_their_own_have_what_their_neighbours_lack(family, body):
    problems = k_space(body, own_lines=True)
    # 3.8 dB here; what a slice lacks its neighbours have.
    assert error(solve(problems, family.prior), body) < 0.7 * error(one_by_one(problems, family.prior), body)


def test_noise_is_denoised_better_from_every_side(family, body):
    for noise in (Gaussian(0.1), Rician(0.1)):
        problems = noisy(body, noise)
        assert error(solve(problems, family.prior, ONCE), body) < 0.9 * error(
            one_by_one(problems, family.prior, ONCE), body
        )


def test_slices_in_reverse_order_come_out_in_reverse_order(family, body):
    # An image that was measured itself is the mean of evaluations in all rotations and flips.
    problems = noisy(body, Gaussian(0.1))
    forward, backward = (solve(list(some), family.prior, ONCE) for some in (problems, problems[::-1]))
    torch.testing.assert_close(forward, backward.flip(0), rtol=1e-4, atol=1e-5)


def test_brightness_has_no_unit(family, body):
    problems = k_space(body, own_lines=True)
    brighter = [
        replace(problem, data=1000 * problem.data, noise=Gaussian(5.0), scale=1000 * problem.scale)
        for problem in problems
    ]
    images, bright = solve(problems, family.prior), solve(brighter, family.prior)
    torch.testing.assert_close(bright / 1000, images, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("threads", "momentum"), [(1, 0.0), (2, 0.0), (1, 0.6)])
def test_a_resumed_run_ends_with_the_same_bits(family, body, threads, momentum):
    problems, priors = k_space(body, own_lines=True), [family.prior] * SLICES
    settings = replace(SETTINGS, momentum=momentum)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        straight = list(MultiSlice(problems, priors, family.prior, settings).iterations())
        again = list(MultiSlice(problems, priors, family.prior, settings).iterations(straight[RESIDUAL_EVERY - 1]))
    finally:
        torch.set_num_threads(before)
    assert (straight[0].previous, straight[1].previous is None) == (None, momentum == 0)
    assert [done.iteration for done in again] == list(range(RESIDUAL_EVERY + 1, 17))
    assert torch.equal(again[-1].images, straight[-1].images)
    assert [len(steps) for steps in again[-1].rows] == [2] * SLICES
    assert all(after.seconds >= before.seconds for before, after in pairwise([straight[RESIDUAL_EVERY - 1], *again]))


def test_a_resumed_run_takes_up_the_surrogate_of_other_noise_where_it_was(family, body):
    problems, priors = noisy(body, Rician(0.1)), [family.prior] * SLICES
    settings = PlugAndPlaySettings(iterations=12, regularisation_weight=0.1, cg_iterations=20)
    straight = list(MultiSlice(problems, priors, family.prior, settings).iterations())
    (again,) = MultiSlice(problems, priors, family.prior, settings).iterations(straight[-2])
    # Where the measurement itself is taken instead, the image is up to 0.07 off.
    torch.testing.assert_close(again.images, straight[-1].images, rtol=0, atol=1e-3)


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


def test_every_slice_has_a_record(family, body):
    jointly = MultiSlice(k_space(body, own_lines=True), [family.prior] * SLICES, family.prior, SETTINGS)
    *_, done = jointly.iterations()
    solutions = jointly.solutions(done)
    assert len(solutions) == SLICES
    for solution, image in zip(solutions, done.images, strict=True):
        assert torch.equal(solution.image, jointly.scale * image)
        assert [step.step for step in solution.steps] == [RESIDUAL_EVERY, 16]
        # The last step is data consistency: no more is left than the noise.
        assert 0.0 < solution.residual < 1.0
        assert "12 neighbouring slices jointly" in solution.reason
    assert sum(solution.seconds for solution in solutions) == pytest.approx(done.seconds, rel=0.01)


def test_the_denoiser_is_the_final_step_where_that_is_asked_for(family, body):
    residuals = {}
    for final_step in ("data_consistency", "denoiser"):
        settings = replace(SETTINGS, final_step=final_step)
        jointly = MultiSlice(k_space(body, own_lines=True), [family.prior] * SLICES, family.prior, settings)
        *_, done = jointly.iterations()
        residuals[final_step] = jointly.solutions(done)[5].residual
    # A denoised image explains the samples less closely than one that was fitted to them last.
    assert residuals["denoiser"] > 3 * residuals["data_consistency"]


def test_slices_that_cannot_be_reconstructed_jointly_are_refused(family, body):
    problems = k_space(body, own_lines=False)
    real = noisy(body, Gaussian(0.1))
    with pytest.raises(ShapeError, match="all real or all complex"):
        MultiSlice([*problems, real[0]], [family.prior] * (SLICES + 1), family.prior, SETTINGS)
    with pytest.raises(ShapeError, match="a prior for each; got 12 slices"):
        MultiSlice(problems, [family.prior], family.prior, SETTINGS)
    with pytest.raises(ConfigError, match="Only a measured image"):
        MultiSlice(problems, [family.prior] * SLICES, family.prior, ONCE)


def test_volumes_are_refused_in_words(family):
    volume = Problem(torch.rand(3, 8, 8), Identity((3, 8, 8)), Gaussian(0.1), (1.0, 1.0, 1.0))
    with pytest.raises(ShapeError, match="slices"):
        MultiSlice([volume] * 4, [family.prior] * 4, family.prior, SETTINGS)
