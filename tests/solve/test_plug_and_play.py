import time
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from medinr.acquisition.ways import acquisition_of
from medinr.config import load_task_config
from medinr.errors import ConfigError
from medinr.jobs.simulated import measure_slices
from medinr.operators import Gaussian, Identity, Rician, Weighting, cartesian_mask, undersampled_fourier
from medinr.solve.half_quadratic import PlugAndPlaySettings, half_quadratic_splitting
from medinr.solve.plug_and_play import plug_and_play, plug_and_play_solution
from medinr.solve.problem import Problem


class ZeroPrior:
    """Makes every image zero: with it the iteration has a closed form."""

    def denoise(self, image: torch.Tensor, level: float, orientation: int = 0) -> torch.Tensor:
        return torch.zeros_like(image)


class ReferencePrior:
    """Knows the image."""

    def __init__(self, reference: torch.Tensor) -> None:
        self.reference = reference

    def denoise(self, image: torch.Tensor, level: float, orientation: int = 0) -> torch.Tensor:
        return self.reference


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class HalvingPrior:
    """Halves every image, a little more in every orientation, and remembers which it was asked for."""

    def __init__(self) -> None:
        self.orientations: list[int] = []

    def denoise(self, image: torch.Tensor, level: float, orientation: int = 0) -> torch.Tensor:
        self.orientations.append(orientation)
        return (0.5 - 0.01 * orientation) * image


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("complex_image", [True, False])
def test_iterations_are_those_of_the_formula(start: bool, complex_image: bool, dense, monkeypatch) -> None:
    monkeypatch.setattr("medinr.solve.krylov.TOLERANCE", 1e-10)
    problem, prior, flat = dense.coils(complex_image), HalvingPrior(), dense.flat
    settings = PlugAndPlaySettings(
        iterations=4, sigma_start=0.9, sigma_end_factor=0.5, regularisation_weight=0.3, cg_iterations=200
    )
    kind = torch.complex128 if complex_image else torch.float64
    first = torch.randn(8, 6, generator=seeded(2), dtype=kind) if start else None
    found = plug_and_play(problem, prior, settings, start=first)
    matrix = dense.matrix_of(problem)
    image = 0.5 * flat(first) if first is not None else torch.zeros(matrix.shape[1], dtype=torch.float64)
    weight = torch.full(problem.data.shape, 1 / 0.3**2, dtype=torch.float64)
    for iteration, level in enumerate(settings.levels(problem.pixel_noise())):
        if iteration:
            image = (0.5 - 0.01 * (iteration - 1)) * image
        left = flat(problem.data) - matrix @ image
        residual = torch.complex(*left.chunk(2)).reshape(problem.data.shape)
        image = image + dense.exact_change(problem, weight, 0.3 / level**2, residual)
    torch.testing.assert_close(flat(found), image)


def test_the_denoiser_is_evaluated_only_when_its_answer_is_used(dense) -> None:
    problem, evaluated, final = dense.coils(), HalvingPrior(), HalvingPrior()
    seen: list[torch.Tensor] = []
    settings = PlugAndPlaySettings(iterations=3)
    image = plug_and_play(problem, evaluated, settings, observer=lambda iteration, image: seen.append(image))
    assert evaluated.orientations == [0, 1]
    assert torch.equal(seen[-1], image)
    assert len(seen) == 3
    seen.clear()
    ends_with_denoiser = replace(settings, final_step="denoiser")
    denoised = plug_and_play(problem, final, ends_with_denoiser, observer=lambda iteration, image: seen.append(image))
    assert final.orientations == [0, 1, 2]
    assert torch.equal(denoised, 0.48 * image)
    # Who watches is shown the image that is returned.
    assert torch.equal(seen[-1], denoised)
    assert len(seen) == 3


@pytest.mark.parametrize("start", [False, True])
def test_the_surrogate_of_other_noise_is_renewed_at_the_current_image(start: bool) -> None:
    noise = Rician(0.2)
    reference = torch.rand(9, 7, generator=seeded(), dtype=torch.float64)
    problem = Problem(noise.sample(reference, seeded(1)), Identity((9, 7)), noise, (1.0, 1.0), scale=1.0)
    settings = PlugAndPlaySettings(iterations=5, sigma_start=0.5)
    first = 0.1 * torch.rand(9, 7, generator=seeded(2), dtype=torch.float64) if start else None
    found = plug_and_play(problem, HalvingPrior(), settings, start=first)
    image, denoised = (problem.data, torch.zeros_like(problem.data)) if first is None else (first, 0.5 * first)
    for iteration, level in enumerate(settings.levels(problem.pixel_noise())):
        target, precision = noise.surrogate(image, problem.data)
        image = (precision * target + denoised / level**2) / (precision + 1 / level**2)
        denoised = (0.5 - 0.01 * iteration) * image
    torch.testing.assert_close(found, image, rtol=2e-3, atol=2e-3)


def test_pixel_noise_of_plain_denoising_is_sigma_in_solver_units() -> None:
    problem = Problem(torch.rand(9, 7), Identity((9, 7)), Gaussian(0.2), (1.0, 1.0), scale=4.0)
    assert problem.pixel_noise() == pytest.approx(0.2 / 4.0)


def test_pixel_noise_of_undersampled_k_space_is_that_of_its_samples() -> None:
    mask = cartesian_mask(32, 4.0, 0.1, "random", seed=0)
    operator = undersampled_fourier((32, 24), mask)
    data = torch.zeros(operator.range.shape, dtype=torch.complex64)
    problem = Problem(data, operator, Gaussian(0.01), (1.0, 1.0), complex_image=True, scale=1.0)
    assert problem.pixel_noise() == pytest.approx(0.01, rel=1e-5)


def test_data_consistency_weighs_denoised_image_and_measurement_by_their_variances() -> None:
    data = torch.rand(9, 7, generator=seeded())
    problem = Problem(data, Identity((9, 7)), Gaussian(0.1), (1.0, 1.0), scale=1.0)
    settings = PlugAndPlaySettings(iterations=1, sigma_start=0.2, sigma_end_factor=2.0, regularisation_weight=1.0)
    image = plug_and_play(problem, ZeroPrior(), settings)
    torch.testing.assert_close(image, data * (1 / 0.1**2) / (1 / 0.1**2 + 1 / 0.2**2))


def test_measurements_not_to_be_used_have_no_say() -> None:
    data = torch.rand(9, 7, generator=seeded())
    problem = Problem(data, Identity((9, 7)), Gaussian(0.1), (1.0, 1.0), scale=1.0)
    fitted = torch.rand(9, 7, generator=seeded(1)) < 0.5
    settings = PlugAndPlaySettings(iterations=4)
    image = plug_and_play(problem, ZeroPrior(), settings, fitted=fitted)
    assert image[~fitted].abs().max() == 0
    other = Problem(torch.where(fitted, data, 99.0), Identity((9, 7)), Gaussian(0.1), (1.0, 1.0), scale=1.0)
    torch.testing.assert_close(plug_and_play(other, ZeroPrior(), settings, fitted=fitted), image)


def test_unmeasured_pixels_come_from_the_denoiser_and_measured_ones_from_both() -> None:
    reference = torch.rand(9, 7, generator=seeded())
    weights = (torch.rand(9, 7, generator=seeded(2)) < 0.6).float()
    problem = Problem(weights * reference, Weighting(weights), Gaussian(0.05), (1.0, 1.0), scale=1.0)
    image = plug_and_play(problem, ReferencePrior(reference), PlugAndPlaySettings(iterations=5))
    torch.testing.assert_close(image, reference, rtol=1e-4, atol=1e-4)


def test_levels_fall_geometrically_from_first_to_the_noise() -> None:
    levels = PlugAndPlaySettings(iterations=3, sigma_start=0.4, sigma_end_factor=0.5).levels(pixel_noise=0.2)
    assert levels == pytest.approx([0.4, 0.2, 0.1])


@pytest.mark.parametrize(("noise", "factor"), [(0.001, 1.4), (0.003, 1.4), (3e-5**0.5, 0.99), (0.01, 0.7), (0.1, 0.7)])
def test_of_noisy_measurements_with_an_exact_operator_the_last_level_is_lower(noise, factor) -> None:
    settings = PlugAndPlaySettings(iterations=3, sigma_start=0.4, sigma_end_factor=1.4)
    assert settings.levels(noise, 0.5)[-1] == pytest.approx(factor * noise, rel=1e-3)
    assert settings.levels(noise)[-1] == pytest.approx(1.4 * noise)


def test_coil_sensitivities_are_not_exact(synthetic) -> None:
    scan = synthetic.phantom((1, 24, 20), geometry=synthetic.affine((3.0, 3.0, 3.0)))
    ends = []
    for coils in (1, 4):
        config = load_task_config("kspace", [f"simulation.coils={coils}"])
        ends.append(acquisition_of(measure_slices(scan, config, [0])[0]).problem(0).noisy_end)
    assert ends == [0.5, 1.0]


def test_nonsense_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="iterations"):
        PlugAndPlaySettings(iterations=-1)
    with pytest.raises(ConfigError, match="'both' is not one of balanced, data_consistency, denoiser"):
        PlugAndPlaySettings(final_step="both")


def test_a_solution_records_every_iteration_and_uses_every_measurement(family) -> None:
    mask = cartesian_mask(32, 2.5, 0.1, "equispaced", seed=1)
    operator, noise = undersampled_fourier((32, 32), mask), Gaussian(0.02)
    data = noise.sample(2.0 * operator(family.with_phase), seeded(3))
    problem = Problem(data, operator, noise, (1.0, 1.0), True, 2.0, group_axis=-2)
    settings, rows, seen = PlugAndPlaySettings(iterations=6), [], {}
    solution = plug_and_play_solution(
        problem,
        family.prior,
        settings,
        progress=rows.append,
        observer=lambda step, seconds, image: seen.update({step: image}),
        observe_every=2,
    )
    assert torch.equal(solution.image, problem.scale * plug_and_play(problem, family.prior, settings))
    assert solution.steps == tuple(rows)
    assert [(row.phase, row.step, row.planned) for row in rows] == [("plug_and_play", step, 6) for step in range(1, 7)]
    assert list(seen) == [2, 4, 6]
    assert torch.equal(seen[6], solution.image)
    assert rows[-1].residual == pytest.approx(solution.residual)
    assert solution.stopped_at == 6
    assert solution.reason == "all 6 iterations of plug-and-play were done"
    assert solution.settings["iterations"] == 6


def test_time_of_those_who_watch_does_not_count(dense) -> None:
    def slow(*_: object) -> None:
        time.sleep(0.05)

    started = time.perf_counter()
    settings = PlugAndPlaySettings(iterations=3)
    solution = plug_and_play_solution(dense.coils(), ZeroPrior(), settings, progress=slow, observer=slow)
    assert time.perf_counter() - started - solution.seconds > 6 * 0.05 - 0.01
    assert all(later.seconds - before.seconds < 0.05 for before, later in pairwise(solution.steps))


class Doubling:
    """A data-consistency step that doubles what was denoised."""

    def solve(self, denoised: torch.Tensor, level: float) -> torch.Tensor:
        return 2 * denoised


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("final_step", ["data_consistency", "denoiser"])
def test_one_loop_serves_images_of_any_shape_and_can_go_on(shape, final_step) -> None:
    """The denoiser adds a thousand and the number of the iteration, so that each image is known."""
    asked: list[tuple[float, int]] = []

    def denoise(image: torch.Tensor, level: float, iteration: int) -> torch.Tensor:
        asked.append((level, iteration))
        return image + 1000 + iteration

    levels = [0.4, 0.3, 0.2, 0.1]
    last_step = None if final_step == "data_consistency" else lambda kept, image, levels: denoise(image, levels[-1], 3)
    images = list(
        half_quadratic_splitting(Doubling(), denoise, levels, denoised=torch.ones(shape), last_step=last_step)
    )
    values = [2.0, 2 * 1002.0, 2 * (2004.0 + 1001), 2 * (6010.0 + 1002)]
    if final_step == "denoiser":
        values[-1] += 1003
    assert [image.unique().tolist() for image in images] == [[value] for value in values]
    assert all(image.shape == shape for image in images)
    evaluations = list(zip(levels, range(4), strict=True))
    assert asked == (evaluations if final_step == "denoiser" else evaluations[:3])
    # From the second iteration on, given what was denoised after it.
    later = half_quadratic_splitting(
        Doubling(), denoise, levels, denoised=images[1] + 1001, last_step=last_step, first=2
    )
    assert all(torch.equal(one, other) for one, other in zip(later, images[2:], strict=True))
