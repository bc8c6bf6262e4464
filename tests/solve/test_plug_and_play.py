import pytest
import torch

from medinr.errors import ConfigError
from medinr.operators import (
    Gaussian,
    Identity,
    Rician,
    Weighting,
    birdcage_maps,
    cartesian_mask,
    undersampled_fourier,
)
from medinr.solve.measurement_turn import TOLERANCE, explain_residual
from medinr.solve.plug_and_play import PlugAndPlaySettings, plug_and_play
from medinr.solve.problem import Problem


class ShrinkPrior:
    """Believes that images are zero: with it the iteration has a closed form."""

    def denoise(self, image: torch.Tensor, level: float, turn: int = 0) -> torch.Tensor:
        return torch.zeros_like(image)


class TruthPrior:
    """Knows the image."""

    def __init__(self, truth: torch.Tensor) -> None:
        self.truth = truth

    def denoise(self, image: torch.Tensor, level: float, turn: int = 0) -> torch.Tensor:
        return self.truth


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class HalvingPrior:
    """Halves every image, a little more in every turn, and remembers how often it was asked."""

    def __init__(self) -> None:
        self.turns: list[int] = []

    def denoise(self, image: torch.Tensor, level: float, turn: int = 0) -> torch.Tensor:
        self.turns.append(turn)
        return (0.5 - 0.01 * turn) * image


class Counted(Weighting):
    """Counts how often it is applied."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__(weights)
        self.count = 0

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return super()._apply(x)


def coils(complex_image: bool = True, scale: float = 2.0) -> Problem:
    """Undersampled k-space of three coils in double precision."""
    operator = undersampled_fourier((8, 6), [1, 3, 4, 6], birdcage_maps((8, 6), 3).to(torch.complex128))
    data = torch.randn(operator.range.shape, generator=seeded(), dtype=torch.complex128)
    return Problem(data, operator, Gaussian(0.3), (1.0, 1.0), complex_image, scale)


def dense(problem: Problem) -> torch.Tensor:
    """``A`` as a real matrix on images ``(real, imaginary)``, to data ``(real, imaginary)``."""
    kind = torch.complex128 if problem.complex_image else torch.float64
    columns = []
    for factor in (1.0, 1.0j) if problem.complex_image else (1.0,):
        for unit in torch.eye(48, dtype=torch.float64):
            data = problem.predict((factor * unit).to(kind).reshape(8, 6)).reshape(-1)
            columns.append(torch.cat([data.real, data.imag]))
    return torch.stack(columns, dim=1)


def flat(value: torch.Tensor) -> torch.Tensor:
    return torch.cat([value.real.reshape(-1), value.imag.reshape(-1)]) if value.is_complex() else value.reshape(-1)


def exact_change(problem: Problem, weight: torch.Tensor, pull: float, residual: torch.Tensor) -> torch.Tensor:
    matrix, weights = dense(problem), weight.reshape(-1).repeat(2)
    normal = matrix.T @ (weights.unsqueeze(1) * matrix) + pull * torch.eye(matrix.shape[1], dtype=torch.float64)
    return torch.linalg.solve(normal, matrix.T @ (weights * flat(residual)))


@pytest.mark.parametrize("complex_image", [True, False])
def test_the_linear_step_solves_its_normal_equations(complex_image: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medinr.solve.measurement_turn.TOLERANCE", 1e-10)
    problem = coils(complex_image)
    weight = torch.rand(problem.data.shape, generator=seeded(1), dtype=torch.float64)
    change, left = explain_residual(problem, weight, 0.7, problem.data, 200)
    torch.testing.assert_close(flat(change), exact_change(problem, weight, 0.7, problem.data))
    torch.testing.assert_close(left, problem.data - problem.predict(change))


def test_the_linear_step_ends_when_its_gradient_has_gone() -> None:
    problem = coils()
    weight = torch.rand(problem.data.shape, generator=seeded(1), dtype=torch.float64)
    change, left = explain_residual(problem, weight, 0.7, problem.data, 200)
    slope = problem.adjoint(weight * left) - 0.7 * change
    assert slope.norm() <= TOLERANCE * problem.adjoint(weight * problem.data).norm()
    short, _ = explain_residual(problem, weight, 0.7, problem.data, 2)
    assert (problem.adjoint(weight * (problem.data - problem.predict(short))) - 0.7 * short).norm() > slope.norm()
    nothing, left = explain_residual(problem, weight, 0.7, torch.zeros_like(problem.data), 5)
    assert nothing.abs().max() == 0
    assert left.abs().max() == 0


def test_where_all_is_measured_equally_well_one_step_is_enough() -> None:
    operator = Counted((torch.rand(9, 7, generator=seeded()) < 0.6).float())
    problem = Problem(torch.rand(9, 7, generator=seeded(1)), operator, Gaussian(0.1), (1.0, 1.0))
    weight = torch.full((9, 7), 100.0)
    change, _ = explain_residual(problem, weight, 3.0, problem.data, 6)
    assert operator.count == 1
    torch.testing.assert_close(change, operator.weights * problem.data * 100 / 103)


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("complex_image", [True, False])
def test_turns_are_those_of_the_formula(start: bool, complex_image: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medinr.solve.measurement_turn.TOLERANCE", 1e-10)
    problem, prior = coils(complex_image), HalvingPrior()
    settings = PlugAndPlaySettings(iterations=4, first=0.9, last=0.5, strength=0.3, inner=200)
    kind = torch.complex128 if complex_image else torch.float64
    first = torch.randn(8, 6, generator=seeded(2), dtype=kind) if start else None
    found = plug_and_play(problem, prior, settings, start=first)
    image = 0.5 * flat(first) if first is not None else torch.zeros(dense(problem).shape[1], dtype=torch.float64)
    weight = torch.full(problem.data.shape, 1 / 0.3**2, dtype=torch.float64)
    for turn, level in enumerate(settings.levels(problem.pixel_noise())):
        if turn:
            image = (0.5 - 0.01 * (turn - 1)) * image
        left = flat(problem.data) - dense(problem) @ image
        residual = torch.complex(*left.chunk(2)).reshape(problem.data.shape)
        image = image + exact_change(problem, weight, 0.3 / level**2, residual)
    torch.testing.assert_close(flat(found), image)


def test_the_prior_is_asked_only_when_its_answer_is_used() -> None:
    problem, asked, last = coils(), HalvingPrior(), HalvingPrior()
    seen: list[torch.Tensor] = []
    settings = PlugAndPlaySettings(iterations=3)
    image = plug_and_play(problem, asked, settings, observer=lambda turn, image: seen.append(image))
    assert asked.turns == [0, 1]
    assert torch.equal(seen[-1], image)
    assert len(seen) == 3
    final = plug_and_play(problem, last, PlugAndPlaySettings(iterations=3, end="prior"))
    assert last.turns == [0, 1, 2]
    assert torch.equal(final, 0.48 * image)


def test_the_surrogate_of_other_noise_is_renewed_at_the_current_image() -> None:
    noise = Rician(0.2)
    truth = torch.rand(9, 7, generator=seeded(), dtype=torch.float64)
    problem = Problem(noise.sample(truth, seeded(1)), Identity((9, 7)), noise, (1.0, 1.0))
    settings = PlugAndPlaySettings(iterations=5, first=0.5)
    found = plug_and_play(problem, HalvingPrior(), settings)
    image, denoised = problem.data, torch.zeros_like(problem.data)
    for turn, level in enumerate(settings.levels(problem.pixel_noise())):
        target, precision = noise.surrogate(image, problem.data)
        image = (precision * target + denoised / level**2) / (precision + 1 / level**2)
        denoised = (0.5 - 0.01 * turn) * image
    torch.testing.assert_close(found, image, rtol=2e-3, atol=2e-3)


def test_pixel_noise_of_plain_denoising_is_sigma_in_network_units() -> None:
    problem = Problem(torch.rand(9, 7), Identity((9, 7)), Gaussian(0.2), (1.0, 1.0), scale=4.0)
    assert problem.pixel_noise() == pytest.approx(0.2 / 4.0)


def test_pixel_noise_of_undersampled_k_space_is_that_of_its_samples() -> None:
    mask = cartesian_mask(32, 4.0, 0.1, "random", seed=0)
    operator = undersampled_fourier((32, 24), mask)
    data = torch.zeros(operator.range.shape, dtype=torch.complex64)
    problem = Problem(data, operator, Gaussian(0.01), (1.0, 1.0), complex_image=True)
    assert problem.pixel_noise() == pytest.approx(0.01, rel=1e-5)


def test_the_linear_step_weighs_prior_and_measurement_by_their_variances() -> None:
    data = torch.rand(9, 7, generator=seeded())
    problem = Problem(data, Identity((9, 7)), Gaussian(0.1), (1.0, 1.0))
    settings = PlugAndPlaySettings(iterations=1, first=0.2, last=2.0, strength=1.0)
    image = plug_and_play(problem, ShrinkPrior(), settings)
    torch.testing.assert_close(image, data * (1 / 0.1**2) / (1 / 0.1**2 + 1 / 0.2**2))


def test_measurements_not_to_be_used_have_no_say() -> None:
    data = torch.rand(9, 7, generator=seeded())
    problem = Problem(data, Identity((9, 7)), Gaussian(0.1), (1.0, 1.0))
    fitted = torch.rand(9, 7, generator=seeded(1)) < 0.5
    settings = PlugAndPlaySettings(iterations=4)
    image = plug_and_play(problem, ShrinkPrior(), settings, fitted=fitted)
    assert image[~fitted].abs().max() == 0
    other = Problem(torch.where(fitted, data, 99.0), Identity((9, 7)), Gaussian(0.1), (1.0, 1.0))
    torch.testing.assert_close(plug_and_play(other, ShrinkPrior(), settings, fitted=fitted), image)


def test_unmeasured_pixels_come_from_the_prior_and_measured_ones_from_both() -> None:
    truth = torch.rand(9, 7, generator=seeded())
    weights = (torch.rand(9, 7, generator=seeded(2)) < 0.6).float()
    problem = Problem(weights * truth, Weighting(weights), Gaussian(0.05), (1.0, 1.0))
    image = plug_and_play(problem, TruthPrior(truth), PlugAndPlaySettings(iterations=5))
    torch.testing.assert_close(image, truth, rtol=1e-4, atol=1e-4)


def test_levels_fall_geometrically_from_first_to_the_noise() -> None:
    levels = PlugAndPlaySettings(iterations=3, first=0.4, last=0.5).levels(pixel_noise=0.2)
    assert levels == pytest.approx([0.4, 0.2, 0.1])


def test_nonsense_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="iterations"):
        PlugAndPlaySettings(iterations=-1)
    with pytest.raises(ConfigError, match="'measurement' or 'prior'"):
        PlugAndPlaySettings(end="both")
