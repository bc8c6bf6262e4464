import math

import pytest
import torch

from medinr.errors import ConfigError, GeometryError
from medinr.models.checkpoint import load_model_for
from medinr.operators import FanBeam, Gaussian, Identity, ParallelBeam
from medinr.solve.grids import on_coarser_grid, resampled, stages
from medinr.solve.half_quadratic import PlugAndPlaySettings, carried_on
from medinr.solve.plug_and_play import plug_and_play
from medinr.solve.problem import Problem


def bumps(shape: tuple[int, int], spacing: tuple[float, float]) -> torch.Tensor:
    """A smooth image given in mm, whatever its grid."""
    y, x = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True))
    at = [(0.0, 0.0, 22.0, 1.0), (15.0, -20.0, 12.0, 0.5), (-25.0, 10.0, 10.0, -0.3)]
    image = sum(v * torch.exp(-((y[:, None] - a) ** 2 + (x - b) ** 2) / (2 * w * w)) for a, b, w, v in at)
    return image.float()


def problem_of(shape: tuple[int, int] = (128, 128), beam: str = "parallel", views: int = 40) -> Problem:
    spacing, width = (1.0, 1.0), 200
    angles = torch.arange(views) * ((math.pi if beam == "parallel" else 2 * math.pi) / views)
    operator: ParallelBeam | FanBeam = ParallelBeam(shape, spacing, angles, width, 1.0)
    if beam == "fan":
        operator = FanBeam(shape, spacing, angles, 400.0, 700.0, width, 2.0)
    noise = Gaussian(0.3)
    data = noise.sample(operator(bumps(shape, spacing)), torch.Generator().manual_seed(0))
    return Problem(data, operator, noise, spacing, scale=1.0, group_axis=-2)


@pytest.mark.parametrize("beam", ["parallel", "fan"])
@pytest.mark.parametrize("shape", [(128, 128), (129, 127)])
def test_larger_pixels_have_the_same_projections_of_smooth_images(beam: str, shape: tuple[int, int]):
    problem = problem_of(shape, beam)
    coarse = on_coarser_grid(problem, 2)
    assert coarse.shape == (math.ceil(shape[0] / 2), math.ceil(shape[1] / 2))
    assert coarse.spacing == (2.0, 2.0)
    fine_rays = problem.predict(bumps(shape, (1.0, 1.0)))
    coarse_rays = coarse.predict(bumps((coarse.shape[0], coarse.shape[1]), (2.0, 2.0)))
    assert float((fine_rays - coarse_rays).abs().max()) < 0.01 * float(fine_rays.abs().max())
    assert problem.operator.domain.shape == shape


def test_a_projector_has_no_smaller_pixels():
    with pytest.raises(GeometryError, match="factor of 1 or more; got 0"):
        ParallelBeam((8, 8), (1, 1), [0.0]).coarser(0)


@pytest.mark.parametrize("shape", [(128, 128), (129, 127)])
def test_images_move_between_grids_without_a_shift(shape: tuple[int, int]):
    problem = problem_of(shape)
    coarse = on_coarser_grid(problem, 2)
    image, smaller = bumps(shape, (1.0, 1.0)), bumps((coarse.shape[0], coarse.shape[1]), (2.0, 2.0))
    inside = (slice(4, -4), slice(4, -4))
    torch.testing.assert_close(resampled(smaller, coarse, problem)[inside], image[inside], rtol=0, atol=8e-3)
    torch.testing.assert_close(resampled(image, problem, coarse)[inside], smaller[inside], rtol=0, atol=8e-3)
    assert resampled(image, problem, problem) is image


LEVELS = [0.3, 0.13, 0.11, 0.07, 0.05, 0.02]


def test_pixels_become_smaller_as_levels_fall():
    big = problem_of((256, 256), views=4)
    assert stages(big, LEVELS, 0.06, 1) == [(4, 0, 2), (2, 2, 4), (1, 4, 6)]
    assert stages(big, LEVELS, 0.06, 4) == [(4, 0, 2), (1, 2, 6)]
    assert stages(big, LEVELS, 0.0, 1) == [(1, 0, 6)]
    assert stages(problem_of(views=4), LEVELS, 0.06, 1) == [(2, 0, 4), (1, 4, 6)]
    assert stages(problem_of((100, 256), views=4), LEVELS, 0.06, 1) == [(1, 0, 6)]


def test_what_is_no_projection_keeps_its_pixels():
    problem = Problem(torch.ones(256, 256), Identity((256, 256)), Gaussian(0.1), (1.0, 1.0), scale=1.0)
    assert stages(problem, LEVELS, 0.06, 1) == [(1, 0, 6)]


def test_an_image_is_carried_on_by_a_share_of_its_change():
    one, two = torch.tensor([1.0]), torch.tensor([3.0])
    assert carried_on(two, one, 0.5) == 4.0
    assert carried_on(two, None, 0.5) is two
    assert carried_on(two, one, 0.0) is two


@pytest.mark.parametrize("setting", [{"momentum": 1.0}, {"momentum": -0.1}, {"coarse_above": -1.0}])
def test_nonsense_is_refused(setting: dict[str, float]):
    with pytest.raises(ConfigError, match="momentum of 0 or more and below 1"):
        PlugAndPlaySettings(**setting)


def test_a_balanced_last_step_wants_no_momentum():
    with pytest.raises(ConfigError, match="Set momentum to 0"):
        PlugAndPlaySettings(momentum=0.5, final_step="balanced")


def test_coarse_grids_and_momentum_get_as_far_in_fewer_iterations():
    problem = problem_of()
    image = bumps((128, 128), (1.0, 1.0))
    prior = load_model_for("chest_ct", "CT").prior
    slow = PlugAndPlaySettings(iterations=24, sigma_start=0.3, regularisation_weight=0.1, cg_iterations=16)
    quick = PlugAndPlaySettings(
        iterations=12,
        sigma_start=0.3,
        regularisation_weight=0.1,
        cg_iterations=16,
        momentum=0.6,
        coarse_above=0.06,
    )
    shapes: list[tuple[int, ...]] = []
    found = plug_and_play(problem, prior, quick, observer=lambda _, seen: shapes.append(tuple(seen.shape)))
    assert shapes == [(128, 128)] * 12
    errors = [float((x - image).square().mean().sqrt()) for x in (found, plug_and_play(problem, prior, slow))]
    assert errors[0] < 1.05 * errors[1]
