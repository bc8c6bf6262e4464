"""A measured image is looked at once: cleaner, unbiased in air, and blind to what is held out."""

from dataclasses import replace

import pytest
import torch

from medinr.errors import ConfigError
from medinr.operators import Gaussian, Identity, Poisson, Rician, cartesian_mask, undersampled_fourier
from medinr.prior.companion import CompanionPrior
from medinr.prior.denoiser import DenoiserSettings, LocalDenoiser
from medinr.solve.direct import denoise_once
from medinr.solve.fit import FitSettings, fit
from medinr.solve.imitate import ImitationSettings
from medinr.solve.plug_and_play import PlugAndPlaySettings
from medinr.solve.problem import Problem

SIGMA = 0.08
ONCE = PlugAndPlaySettings(iterations=0)


def measured(image, noise, seed=0, scale=1.0):
    data = noise.sample(image, torch.Generator().manual_seed(seed))
    return Problem(data, Identity(tuple(image.shape)), noise, (1.0, 1.0), image.is_complex(), scale)


def test_one_look_takes_the_noise_away(family):
    problem = measured(family.unseen, Rician(SIGMA))
    assert family.psnr(denoise_once(problem, family.prior)) > family.psnr(problem.data) + 3.0


def test_air_is_at_zero_where_the_mean_magnitude_is_not(family):
    air = torch.zeros(32, 32)
    problem = measured(air, Rician(SIGMA))
    floor = float(problem.data.mean())
    assert floor > 1.2 * SIGMA
    assert float(denoise_once(problem, family.prior).mean()) < 0.4 * floor


@pytest.mark.parametrize("companion", [False, True])
def test_magnitudes_are_looked_at_by_who_was_trained_on_them(family, companion):
    """Who removes all there is stands for whoever was trained on Rician noise: nothing is left to take a bias from."""
    blank = LocalDenoiser(DenoiserSettings(4, 1))
    torch.nn.init.zeros_(blank.convolutions[0].weight)
    blank.convolutions[0].weight.data[0, 0, 1, 1] = 1.5  # image - 1.5 image: below zero
    prior = replace(family.prior, on_magnitudes=blank)
    if companion:
        prior = CompanionPrior(prior, torch.zeros_like(family.unseen).unsqueeze(0), trust=1e-9)
    assert not denoise_once(measured(family.unseen, Rician(SIGMA)), prior).any()
    gaussian = measured(family.unseen, Gaussian(SIGMA))
    torch.testing.assert_close(denoise_once(gaussian, prior), denoise_once(gaussian, family.prior), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_units_do_not_matter(family, scale):
    plain = measured(family.unseen, Gaussian(SIGMA))
    scaled = Problem(scale * plain.data, plain.operator, Gaussian(scale * SIGMA), (1.0, 1.0), False, scale)
    torch.testing.assert_close(denoise_once(scaled, family.prior), denoise_once(plain, family.prior))


def test_turning_the_image_turns_the_result(family):
    problem = measured(family.unseen, Gaussian(SIGMA))
    turned = replace(problem, data=torch.rot90(problem.data).contiguous())
    torch.testing.assert_close(denoise_once(turned, family.prior), torch.rot90(denoise_once(problem, family.prior)))


@pytest.mark.parametrize("noise", [Gaussian(SIGMA), Rician(SIGMA)], ids=["gaussian", "rician"])
def test_what_is_held_out_is_not_looked_at(family, noise):
    problem = measured(family.unseen, noise)
    fitted = torch.rand(problem.shape, generator=torch.Generator().manual_seed(1)) > 0.2
    image = denoise_once(problem, family.prior, fitted)
    other = replace(problem, data=torch.where(fitted, problem.data, 7.0))
    assert torch.equal(denoise_once(other, family.prior, fitted), image)
    assert family.psnr(image) > family.psnr(problem.data)


def test_complex_images_keep_their_phase(family):
    problem = measured(family.turned, Gaussian(SIGMA))
    image = denoise_once(problem, family.prior, torch.ones(problem.shape, dtype=torch.bool))
    errors = [float((found - family.turned).abs().square().mean()) for found in (image, problem.data)]
    assert errors[0] < 0.5 * errors[1]


def test_a_fit_without_network_is_that_look(family):
    settings = FitSettings(guide=ONCE, imitation=ImitationSettings(passes=0))
    problem = measured(family.unseen, Rician(SIGMA), scale=2.0)
    solution = fit(problem, family.trunk, family.length_scale, settings, prior=family.prior)
    assert torch.equal(solution.image, 2.0 * denoise_once(problem, family.prior))
    assert "no network" in solution.reason
    assert [(row.phase, row.step, row.planned) for row in solution.steps] == [("guide", 1, 1)]
    assert solution.residual == pytest.approx(1.0, abs=0.3)


def test_other_measurements_are_refused(family):
    operator = undersampled_fourier((32, 32), cartesian_mask(32, 2.0, 0.1, "equispaced", seed=0))
    k_space = Problem(operator(family.turned), operator, Gaussian(SIGMA), (1.0, 1.0), True)
    with pytest.raises(ConfigError, match="iterations=40"):
        denoise_once(k_space, family.prior)
    counts = measured(100 * family.unseen + 1, Poisson())
    with pytest.raises(ConfigError, match="pixel to pixel"):
        denoise_once(counts, family.prior)
