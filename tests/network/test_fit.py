import math
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from medinr.acquisition.coarse_image import interpolate
from medinr.errors import ConfigError, ShapeError
from medinr.network import phases
from medinr.network.fit import fit
from medinr.network.image_domain import ImageDomainSettings
from medinr.network.settings import FitSettings
from medinr.network.stopping import StoppingSettings
from medinr.operators import (
    Decimation,
    Gaussian,
    Identity,
    LinearOperator,
    NoiseModel,
    ParallelBeam,
    Rician,
    TransmissionPoisson,
    cartesian_mask,
    downsampling,
    fbp,
    undersampled_fourier,
)
from medinr.solve.problem import Problem
from medinr.solve.solution import Step

SHAPE = (32, 32)
STOPPING = StoppingSettings(held_out=0.08, patience=15, at_least=10)

#: The network fitted to the measurement alone.
MEASUREMENT_DOMAIN = FitSettings(image_domain=ImageDomainSettings(passes=0), steps=40, tv_weight=0.3, stopping=STOPPING)

#: The network learning the plug-and-play reconstruction.
IMAGE_DOMAIN = FitSettings(image_domain=ImageDomainSettings(passes=8), stopping=STOPPING)

#: Vyas et al. 2024, with fewer and larger steps.
PUBLISHED = FitSettings(
    image_domain=ImageDomainSettings(passes=0),
    steps=60,
    head="random",
    head_every=0,
    optimiser=replace(MEASUREMENT_DOMAIN.optimiser, kind="adam", adam_rate=1e-3, schedule="constant"),
    stopping=StoppingSettings(held_out=0.0),
    refinement_iterations=0,
)


def _problem(operator: LinearOperator, noise: NoiseModel, image: Tensor, scale: float = 1.0, **facts) -> Problem:
    data = noise.sample(operator(image), torch.Generator().manual_seed(3))
    return Problem(data, operator, noise, (1.0, 1.0), image.is_complex(), scale, **facts)


def _denoising(image: Tensor, sigma: float = 0.1) -> Problem:
    return _problem(Identity(SHAPE), Gaussian(sigma), image)


def _k_space(image: Tensor) -> Problem:
    mask = cartesian_mask(SHAPE[0], 2.5, 0.1, "equispaced", seed=1)
    centre = tuple(i for i, line in enumerate(mask.lines) if abs(line - SHAPE[0] // 2) <= 2)
    operator = undersampled_fourier(SHAPE, mask)
    return _problem(operator, Gaussian(0.01), image, group_axis=-2, protected=centre)


def _projections(image: Tensor, views: int = 15) -> Problem:
    operator = ParallelBeam(SHAPE, (1.0, 1.0), torch.arange(views, dtype=torch.float64) * math.pi / views)
    return _problem(operator, TransmissionPoisson(3e3), 0.02 * image, scale=0.02, group_axis=-2)


def _coarse(image: Tensor) -> Problem:
    return _problem(downsampling(SHAPE, (1.0, 1.0), 2), Gaussian(0.01), image)


def _direct(task: str, problem: Problem) -> Tensor:
    """The image of each task's direct method: none, cubic splines, zero-filled, filtered back-projection."""
    grid = Decimation(SHAPE, 2)
    methods = {
        "denoise": lambda data: data,
        "superres": lambda data: interpolate(data, SHAPE, grid.factor, grid.offset),
        "kspace": problem.operator.H,
        "ct": lambda data: fbp(data, problem.operator),
    }
    return methods[task](problem.data)


@pytest.mark.parametrize("settings", [MEASUREMENT_DOMAIN, IMAGE_DOMAIN], ids=["measurement_domain", "image_domain"])
@pytest.mark.parametrize(
    ("task", "make", "gain"),
    [("denoise", _denoising, 5.0), ("superres", _coarse, 0.7), ("kspace", _k_space, 1.5), ("ct", _projections, 5.0)],
)
def test_an_unseen_slice_is_recovered_better_than_directly(family, settings, task, make, gain):
    problem = make(family.with_phase if task == "kspace" else family.unseen)
    before = family.psnr(_direct(task, problem) / problem.scale)
    prior = family.prior if settings is IMAGE_DOMAIN else None
    solution = fit(problem, family.trunk, family.length_scale, settings, prior=prior)
    assert family.psnr(solution.image / problem.scale) > before + gain
    assert solution.image.shape == SHAPE
    assert solution.image.is_complex() == (task == "kspace")
    assert solution.residual < 2.0


def test_rician_magnitudes_are_not_fitted_as_gaussian_ones(family):
    problem = _problem(Identity(SHAPE), Rician(0.1), family.unseen)
    wrong = replace(problem, noise=Gaussian(0.1))
    air = family.unseen < 0.01
    settings = replace(MEASUREMENT_DOMAIN, tv_weight=0.0)
    rician, gaussian = (
        float(fit(p, family.trunk, family.length_scale, settings).image[air].abs().mean()) for p in (problem, wrong)
    )
    # In air the mean magnitude is 0.125, and a Gaussian fit finds just that.
    assert gaussian > 0.11
    assert rician < 0.5 * gaussian


def _scaled(problem: Problem, factor: float) -> Problem:
    return replace(problem, data=factor * problem.data, noise=Gaussian(0.01 * factor), scale=factor)


@pytest.mark.parametrize(
    "settings", [MEASUREMENT_DOMAIN, IMAGE_DOMAIN, PUBLISHED], ids=["measurement_domain", "image_domain", "published"]
)
@pytest.mark.parametrize("power", [10, -10, -20])
def test_data_scaled_by_a_power_of_two_give_exactly_the_scaled_image(family, settings, power):
    # The arithmetic is the same, bit for bit, unless a constant somewhere knows of a scale.
    problem = _k_space(family.with_phase)
    prior = family.prior if settings is IMAGE_DOMAIN else None
    one, other = (
        fit(p, family.trunk, family.length_scale, settings, prior=prior)
        for p in (problem, _scaled(problem, 2.0**power))
    )
    assert torch.equal(other.image / 2.0**power, one.image)
    assert other.stopped_at == one.stopped_at


@pytest.mark.parametrize(
    "settings", [MEASUREMENT_DOMAIN, IMAGE_DOMAIN, PUBLISHED], ids=["measurement_domain", "image_domain", "published"]
)
@pytest.mark.parametrize("factor", [1e-3, 37.0])
def test_scaled_data_give_the_scaled_image(family, settings, factor):
    # Steps multiply rounding (Muon's orthogonalisation computes in bfloat16) until it decides which of two nearly equal
    # checks of the held-out measurements is the better one: few steps, and no checks.
    short = replace(settings, steps=min(settings.steps, 2), stopping=StoppingSettings(held_out=0.0))
    problem = _k_space(family.with_phase)
    prior = family.prior if settings is IMAGE_DOMAIN else None
    images = [
        fit(p, family.trunk, family.length_scale, short, prior=prior).image for p in (problem, _scaled(problem, factor))
    ]
    assert float((images[1] / factor - images[0]).abs().max()) <= 1e-2


@pytest.mark.parametrize(
    "settings", [MEASUREMENT_DOMAIN, IMAGE_DOMAIN, PUBLISHED], ids=["measurement_domain", "image_domain", "published"]
)
def test_the_trunk_is_copied_and_not_changed(family, settings):
    parameters = [*family.trunk.parameters(), *family.prior.denoiser.parameters()]
    before = [(parameter.detach().clone(), parameter.grad) for parameter in parameters]
    fit(_denoising(family.unseen), family.trunk, family.length_scale, settings, prior=family.prior)
    for parameter, (value, gradient) in zip(parameters, before, strict=True):
        assert torch.equal(parameter, value)
        assert parameter.grad is gradient


def test_the_published_recipe_runs_all_its_steps(family):
    problem = _k_space(family.with_phase)
    rows: list[Step] = []
    solution = fit(problem, family.trunk, family.length_scale, PUBLISHED, progress=rows.append)
    assert solution.reason == "all 60 steps were done"
    assert solution.stopped_at == 60
    assert solution.steps == tuple(rows)
    assert [row.step for row in rows] == list(range(61))
    assert all(row.rate == 1.0 and math.isnan(row.held_out) for row in rows)
    # From a random head: nothing is explained at first, much of it at last.
    assert rows[0].residual > 10 * rows[-1].residual
    assert solution.settings["head"] == "random"
    assert solution.settings["optimiser"]["kind"] == "adam"


def test_noise_without_an_image_stops_early_and_is_not_learned(family):
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    problem = Problem(noise, Identity(SHAPE), Gaussian(1.0), (1.0, 1.0), scale=1.0)
    settings = replace(MEASUREMENT_DOMAIN, steps=200, tv_weight=0.0)
    solution = fit(problem, family.trunk, family.length_scale, settings)
    last, stop = solution.steps[-1].step, solution.stopped_at
    assert last < 60
    assert last - stop == STOPPING.patience
    assert solution.reason == (
        f"held-out measurements were predicted best at step {stop} and no better in {last - stop} steps since"
    )
    best = min(solution.steps, key=lambda row: row.held_out)
    assert best.step == stop
    assert float(solution.image.std()) < 0.5 < float(problem.data.std())


def test_noise_is_not_learned_as_an_image_either(family):
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    problem = Problem(noise, Identity(SHAPE), Gaussian(1.0), (1.0, 1.0), scale=1.0)
    with pytest.raises(ConfigError, match="no denoiser prior"):
        fit(
            problem,
            family.trunk,
            family.length_scale,
            replace(IMAGE_DOMAIN, image_domain=ImageDomainSettings(passes=40)),
        )


def test_where_nothing_can_be_held_out_all_steps_are_done(family):
    mask = cartesian_mask(SHAPE[0], 4.0, 0.25)
    operator = undersampled_fourier(SHAPE, mask)
    protected = tuple(range(len(mask.lines)))
    problem = _problem(operator, Gaussian(0.01), family.with_phase, group_axis=-2, protected=protected)
    solution = fit(problem, family.trunk, family.length_scale, MEASUREMENT_DOMAIN)
    assert solution.reason == "all 40 steps were done"
    assert solution.stopped_at == 40
    assert solution.residual < 2.0


def test_without_held_out_measurements_noise_is_learned(family):
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    problem = Problem(noise, Identity(SHAPE), Gaussian(1.0), (1.0, 1.0), scale=1.0)
    settings = replace(MEASUREMENT_DOMAIN, steps=200, tv_weight=0.0, stopping=StoppingSettings(held_out=0.0))
    solution = fit(problem, family.trunk, family.length_scale, settings)
    assert solution.reason == "all 200 steps were done"
    assert float(solution.image.std()) > 0.7


@pytest.mark.parametrize("settings", [MEASUREMENT_DOMAIN, IMAGE_DOMAIN], ids=["measurement_domain", "image_domain"])
def test_same_seed_same_image_and_another_seed_another(family, settings):
    problem = _k_space(family.with_phase)
    prior = family.prior if settings is IMAGE_DOMAIN else None

    def run(seed: int) -> Tensor:
        return fit(problem, family.trunk, family.length_scale, replace(settings, seed=seed), prior=prior).image

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize(
    "settings", [MEASUREMENT_DOMAIN, IMAGE_DOMAIN, PUBLISHED], ids=["measurement_domain", "image_domain", "published"]
)
def test_who_watches_cannot_change_the_result(family, settings):
    problem = _k_space(family.with_phase)
    prior = family.prior if settings is IMAGE_DOMAIN else None

    def meddle(step: int, seconds: float, image: Tensor) -> None:
        seen.append((step, seconds))
        assert not image.requires_grad
        torch.rand(7)
        image.zero_()

    seen: list[tuple[int, float]] = []
    alone = fit(problem, family.trunk, family.length_scale, settings, prior=prior)
    watched = fit(
        problem, family.trunk, family.length_scale, settings, prior=prior, observer=meddle, progress=lambda _: None
    )
    assert torch.equal(alone.image, watched.image)
    assert watched.stopped_at == alone.stopped_at
    assert len(seen) >= 20
    assert seen == sorted(seen)


def test_time_of_the_observer_does_not_count(family):
    def slow(step: int, seconds: float, image: Tensor) -> None:
        time.sleep(0.05)

    started = time.perf_counter()
    settings = replace(PUBLISHED, steps=10)
    solution = fit(_denoising(family.unseen), family.trunk, family.length_scale, settings, observer=slow)
    assert time.perf_counter() - started - solution.seconds > 11 * 0.05 - 0.01


def test_the_last_head_uses_what_was_held_out(family):
    problem = _denoising(family.unseen, sigma=0.05)
    held = problem.draw_held_out(0.4, torch.Generator().manual_seed(0))
    tampered = replace(problem, data=torch.where(held, problem.data + 1.0, problem.data))
    settings = replace(MEASUREMENT_DOMAIN, steps=5, tv_weight=0.0, stopping=StoppingSettings(held_out=0.4, patience=50))
    found = [fit(p, family.trunk, family.length_scale, settings) for p in (problem, tampered)]
    # Up to the stop the fit has not seen them ...
    assert [row.residual for row in found[0].steps] == [row.residual for row in found[1].steps]
    assert found[0].steps[0].held_out < found[1].steps[0].held_out
    # ... and then it does.
    assert float((found[1].image - found[0].image)[held].mean()) > 0.1


def test_the_image_to_be_learned_does_not_depend_on_what_is_held_out(family, monkeypatch):
    problem = _k_space(family.with_phase)
    held = problem.draw_held_out(STOPPING.held_out, torch.Generator().manual_seed(0))
    tampered = replace(problem, data=torch.where(held, 1e3 * problem.data, problem.data))
    # One check of the held-out lines, so that they decide nothing.
    monkeypatch.setattr(phases, "HELD_OUT_CHECKS", 1)
    settings = replace(IMAGE_DOMAIN, image_domain=ImageDomainSettings(passes=2), refinement_iterations=0)
    first, second = (
        fit(p, family.trunk, family.length_scale, settings, prior=family.prior) for p in (problem, tampered)
    )
    assert torch.equal(first.image, second.image)
    assert first.steps[0].held_out < 0.1 * second.steps[0].held_out


def test_nothing_to_start_from_is_said_in_words(family):
    with pytest.raises(ConfigError, match=r"no denoiser prior.*--set network\.steps=100"):
        fit(_k_space(family.with_phase), family.trunk, family.length_scale, IMAGE_DOMAIN)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"head": "magic"}, "'magic' is not one of closed_form, random"), ({"steps": -1}, "negative")]
    + [({key: -1}, "negative") for key in ("head_every", "tv_weight", "refinement_iterations")],
)
def test_nonsense_settings(settings, words):
    with pytest.raises(ConfigError, match=words):
        FitSettings(**settings)


def test_volumes_are_refused_in_words(family):
    volume = Problem(torch.rand(3, *SHAPE), Identity((3, *SHAPE)), Gaussian(0.1), (1.0, 1.0, 1.0))
    with pytest.raises(
        ShapeError, match=r"for slices \(y, x\); the problem's image is a volume of shape \(3, 32, 32\)"
    ):
        fit(volume, family.trunk, family.length_scale, IMAGE_DOMAIN, prior=family.prior)
