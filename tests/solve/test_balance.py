"""The last step weighs denoised image and data by their expected errors."""

import math
from dataclasses import replace

import pytest
import torch

from medinr.operators import Gaussian, Identity, birdcage_maps, cartesian_mask, undersampled_fourier
from medinr.solve import data_consistency
from medinr.solve.balance import least_risk
from medinr.solve.data_consistency import DataConsistency
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.plug_and_play import plug_and_play, plug_and_play_solution
from medinr.solve.problem import Problem
from medinr.solve.split import Split

SIGMA = 0.1


class Wiener:
    """The best denoiser of white signals of a known power."""

    def __init__(self, power: float) -> None:
        self.power = power

    def denoise(self, image, level, orientation=0):
        return image * self.power / (self.power + level**2)

    def in_precision(self, precision):
        return self

    def for_magnitudes(self):
        return None


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def identity(signal: float) -> tuple[Problem, torch.Tensor]:
    reference = signal * torch.randn(80, 80, generator=seeded(1))
    noise = Gaussian(SIGMA)
    data = reference + SIGMA * torch.randn(80, 80, generator=seeded(2))
    return Problem(data, Identity((80, 80)), noise, (1.0, 1.0), scale=1.0), reference


def settings(final_step: str = "balanced") -> PlugAndPlaySettings:
    return PlugAndPlaySettings(iterations=3, sigma_start=0.3, sigma_end_factor=1.0, final_step=final_step)


@pytest.mark.parametrize("power", [0.1, 1.0, 10.0])
def test_the_least_of_a_smooth_function_is_found(power):
    found = least_risk(lambda weight: (math.log(weight / power)) ** 2)
    assert found == pytest.approx(power, rel=0.3)


@pytest.mark.parametrize("signal", [0.02, 0.1, 1.0])
def test_of_white_signals_the_result_is_that_of_the_best_linear_estimate(signal):
    problem, reference = identity(signal)
    image = plug_and_play(problem, Wiener(signal**2), settings())
    best = problem.data * signal**2 / (signal**2 + SIGMA**2)
    error, least = ((one - reference).square().mean().sqrt() for one in (image, best))
    assert error < 1.1 * least
    alone = plug_and_play(problem, Wiener(signal**2), settings("data_consistency"))
    assert error <= 1.02 * (alone - reference).square().mean().sqrt()


@pytest.mark.parametrize("signal", [0.05, 0.1, 0.3])
def test_the_residual_of_the_least_risk_is_that_of_the_degrees_of_freedom(signal, monkeypatch):
    monkeypatch.setattr(data_consistency, "SHARE", 1.0)
    problem, _ = identity(signal)
    residual = Split.nothing_held(problem).residual(plug_and_play(problem, Wiener(signal**2), settings()))
    freedom = signal**2 / (signal**2 + SIGMA**2)
    assert residual == pytest.approx(math.sqrt(1 - freedom), rel=0.2)


@pytest.mark.parametrize("signal", [0.05, 0.1, 0.3])
def test_a_solution_tells_the_residual_of_its_degrees_of_freedom(signal):
    problem, _ = identity(signal)
    solution = plug_and_play_solution(problem, Wiener(signal**2), settings())
    # A Wiener filter before the weighted mean with the data: signal over signal plus noise, or a little more of it.
    least = signal**2 / (signal**2 + SIGMA**2)
    assert 0.8 * least < solution.freedom < min(1.0, 2 * least)
    assert solution.expected_residual == pytest.approx(math.sqrt(1 - solution.freedom))
    assert solution.residual == pytest.approx(solution.expected_residual, rel=0.2)


def test_without_the_balanced_step_nothing_is_said_of_the_degrees_of_freedom():
    problem, _ = identity(0.1)
    solution = plug_and_play_solution(problem, Wiener(0.01), settings("data_consistency"))
    assert solution.freedom is None
    assert solution.expected_residual is None


def test_a_denoiser_that_is_wrong_is_not_believed():
    problem, _ = identity(1.0)
    image = plug_and_play(problem, Wiener(1e-6), settings())
    assert Split.nothing_held(problem).residual(image) < 0.2


def test_of_several_coils_the_weight_is_near_the_best_one():
    """Found without the reference, against a scan over weights that knows it."""
    shape = (48, 40)
    reference = torch.complex(
        0.5 * torch.randn(shape, generator=seeded(1)), 0.5 * torch.randn(shape, generator=seeded(2))
    )
    operator = undersampled_fourier(shape, cartesian_mask(48, 2.0, 0.1, "variable", 0), birdcage_maps(shape, 4))
    clean = operator(reference)
    data = clean + 0.3 * torch.randn(clean.shape, dtype=clean.dtype, generator=seeded(3)) * 2**0.5
    problem = Problem(data, operator, Gaussian(0.3), (1.0, 1.0), complex_image=True, scale=1.0, group_axis=-2)
    step = DataConsistency(problem, 1.0, 30)
    level = 0.3
    denoised = Wiener(0.25).denoise(step.solve(torch.zeros_like(reference), level), level)
    other = step.perturbed(seeded())
    other_denoised = Wiener(0.25).denoise(other.solve(torch.zeros_like(reference), level), level)
    balanced = step.balance(denoised, level, other, other_denoised)

    def error(image):
        return float((operator(image) - clean).abs().square().mean())

    least = min(error(DataConsistency(problem, 10.0**k, 30).solve(denoised, level)) for k in range(-3, 4))
    assert error(balanced) < 1.05 * least


def test_measurements_that_are_held_out_do_not_count(dense):
    problem = dense.coils()
    held = problem.draw_held_out(0.3, seeded())
    quick = replace(settings(), iterations=2)
    one = plug_and_play(problem, Wiener(1.0), quick, fitted=~held)
    spoiled = replace(problem, data=torch.where(held, 1e3 + problem.data, problem.data))
    other = plug_and_play(spoiled, Wiener(1.0), quick, fitted=~held)
    torch.testing.assert_close(one, other)


def test_it_repeats_to_the_same_bits():
    problem, _ = identity(0.3)
    one, other = (plug_and_play(problem, Wiener(0.09), settings()) for _ in range(2))
    assert torch.equal(one, other)
