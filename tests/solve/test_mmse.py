"""A measured image is denoised once: cleaner, unbiased in air, and blind to what is held out."""

from dataclasses import replace

import pytest
import torch

from medinr.errors import ConfigError
from medinr.operators import Gaussian, Identity, Poisson, Rician, cartesian_mask, undersampled_fourier
from medinr.priors.auxiliary_scan import AuxiliaryScanPrior
from medinr.priors.denoiser import DenoiserSettings, LocalDenoiser
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.mmse import REMAINING_NOISE, mmse_denoise, mmse_denoise_planes
from medinr.solve.planes import PlaneByPlane
from medinr.solve.plug_and_play import plug_and_play, plug_and_play_solution
from medinr.solve.problem import Problem

SIGMA = 0.08
ONCE = PlugAndPlaySettings(iterations=0)


def measured(image, noise, seed=0, scale=1.0):
    data = noise.sample(image, torch.Generator().manual_seed(seed))
    return Problem(data, Identity(tuple(image.shape)), noise, (1.0,) * image.ndim, image.is_complex(), scale)


def test_one_evaluation_takes_the_noise_away(family):
    problem = measured(family.unseen, Rician(SIGMA))
    assert family.psnr(mmse_denoise(problem, family.prior)) > family.psnr(problem.data) + 3.0


def test_air_is_at_zero_where_the_mean_magnitude_is_not(family):
    air = torch.zeros(32, 32)
    problem = measured(air, Rician(SIGMA))
    floor = float(problem.data.mean())
    assert floor > 1.2 * SIGMA
    assert float(mmse_denoise(problem, family.prior).mean()) < 0.4 * floor


def blank_magnitude_denoiser(family, removed):
    """A denoiser that removes all there is stands for one that was trained on Rician noise: no bias is left."""
    blank = LocalDenoiser(DenoiserSettings(4, 1))
    torch.nn.init.zeros_(blank.convolutions[0].weight)
    blank.convolutions[0].weight.data[0, 0, 1, 1] = removed
    return replace(family.prior, magnitude_denoiser=blank)


@pytest.mark.parametrize("auxiliary", [False, True])
def test_magnitudes_are_denoised_by_who_was_trained_on_them(family, auxiliary):
    prior = blank_magnitude_denoiser(family, 1.5)  # image - 1.5 image: below zero
    if auxiliary:
        prior = AuxiliaryScanPrior(prior, torch.zeros_like(family.unseen).unsqueeze(0), trust=1e-9)
    assert not mmse_denoise(measured(family.unseen, Rician(SIGMA)), prior).any()
    gaussian = measured(family.unseen, Gaussian(SIGMA))
    torch.testing.assert_close(mmse_denoise(gaussian, prior), mmse_denoise(gaussian, family.prior), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [0.25, 4.0])
def test_units_do_not_matter(family, scale):
    plain = measured(family.unseen, Gaussian(SIGMA))
    scaled = Problem(scale * plain.data, plain.operator, Gaussian(scale * SIGMA), (1.0, 1.0), False, scale)
    torch.testing.assert_close(mmse_denoise(scaled, family.prior), mmse_denoise(plain, family.prior))


def test_rotating_the_image_rotates_the_result(family):
    problem = measured(family.unseen, Gaussian(SIGMA))
    rotated = replace(problem, data=torch.rot90(problem.data).contiguous())
    torch.testing.assert_close(mmse_denoise(rotated, family.prior), torch.rot90(mmse_denoise(problem, family.prior)))


@pytest.mark.parametrize("noise", [Gaussian(SIGMA), Rician(SIGMA)], ids=["gaussian", "rician"])
def test_what_is_held_out_is_not_used(family, noise):
    problem = measured(family.unseen, noise)
    fitted = torch.rand(problem.shape, generator=torch.Generator().manual_seed(1)) > 0.2
    image = mmse_denoise(problem, family.prior, fitted)
    other = replace(problem, data=torch.where(fitted, problem.data, 7.0))
    assert torch.equal(mmse_denoise(other, family.prior, fitted), image)
    assert family.psnr(image) > family.psnr(problem.data)


def test_complex_images_keep_their_phase(family):
    problem = measured(family.with_phase, Gaussian(SIGMA))
    image = mmse_denoise(problem, family.prior, torch.ones(problem.shape, dtype=torch.bool))
    errors = [float((found - family.with_phase).abs().square().mean()) for found in (image, problem.data)]
    assert errors[0] < 0.5 * errors[1]


def test_plug_and_play_without_iterations_is_that_evaluation(family):
    problem = measured(family.unseen, Rician(SIGMA), scale=2.0)
    solution = plug_and_play_solution(problem, family.prior, ONCE)
    assert torch.equal(solution.image, 2.0 * mmse_denoise(problem, family.prior))
    assert solution.reason == "the image was denoised once, at its own noise level"
    assert [(row.phase, row.step, row.planned) for row in solution.steps] == [("plug_and_play", 1, 1)]
    assert solution.stopped_at == 1
    assert solution.residual == pytest.approx(1.0, abs=0.3)


def test_other_measurements_are_refused(family):
    operator = undersampled_fourier((32, 32), cartesian_mask(32, 2.0, 0.1, "equispaced", seed=0))
    k_space = Problem(operator(family.with_phase), operator, Gaussian(SIGMA), (1.0, 1.0), True, scale=1.0)
    with pytest.raises(ConfigError, match=r"plug_and_play\.iterations=40"):
        mmse_denoise(k_space, family.prior)
    counts = measured(100 * family.unseen + 1, Poisson())
    with pytest.raises(ConfigError, match="pixel to pixel"):
        mmse_denoise(counts, family.prior)


def volume(family, complex_image=False):
    """Six slices of the unseen member, each a little brighter and, if complex, with a phase of its own."""
    image = family.with_phase if complex_image else family.unseen
    ramp = [0.9 + 0.03 * k for k in range(6)]
    phasors = torch.exp(0.5j * torch.arange(6)).reshape(-1, 1, 1) if complex_image else 1
    return torch.stack([factor * image for factor in ramp]) * phasors


def rms(image):
    return float(image.abs().square().mean().sqrt())


@pytest.mark.parametrize("complex_image", [False, True])
def test_a_volume_is_denoised_from_every_side(family, complex_image):
    reference = volume(family, complex_image)
    problem = measured(reference, Gaussian(SIGMA), scale=2.0)
    found = 2 * mmse_denoise(problem, family.prior)
    slices = [measured(image, Gaussian(SIGMA), scale=2.0) for image in reference]
    each = [replace(one, data=data) for one, data in zip(slices, problem.data, strict=True)]
    one_by_one = torch.stack([2 * mmse_denoise(one, family.prior) for one in each])
    assert found.shape == reference.shape
    assert found.is_complex() == complex_image
    assert rms(found - reference) < 0.9 * rms(one_by_one - reference)
    assert torch.equal(plug_and_play(problem, family.prior, ONCE), found / 2)


def test_a_volume_is_evaluated_in_all_three_planes_and_all_orientations_twice():
    """A denoiser that takes off a share of the level everywhere says which levels it was asked for, and how often."""
    asked = []

    class LevelPrior:
        def denoise(self, image, level, orientation=0):
            asked.append((level, orientation, tuple(image.shape)))
            return image - level

        def denoise_all(self, images, level, orientation=0):
            return torch.stack([self.denoise(image, level, orientation) for image in images])

    images = torch.rand(2, 3, 4)
    found = mmse_denoise_planes(images, 0.5, PlaneByPlane(LevelPrior()))
    torch.testing.assert_close(found, images - 0.5 - REMAINING_NOISE * 0.5)
    planes = [(3, 4)] * 2, [(2, 4)] * 3, [(2, 3)] * 4
    wanted = [
        (level, orientation, shape)
        for level in (0.5, REMAINING_NOISE * 0.5)
        for axis in range(3)
        for orientation in range(8)
        for shape in planes[axis]
    ]
    assert sorted(asked) == sorted(wanted)


def test_a_volume_of_magnitudes_is_denoised_by_who_was_trained_on_them(family):
    prior = blank_magnitude_denoiser(family, 1.0)
    assert not mmse_denoise(measured(volume(family), Rician(SIGMA)), prior).any()
    gaussian = measured(volume(family), Gaussian(SIGMA))
    assert torch.equal(mmse_denoise(gaussian, prior), mmse_denoise(gaussian, family.prior))


def test_a_volume_of_magnitudes_loses_its_bias_in_air(family):
    problem = measured(torch.zeros(6, 32, 32), Rician(SIGMA))
    floor = float(problem.data.mean())
    assert floor > 1.2 * SIGMA
    assert float(mmse_denoise(problem, family.prior).mean()) < 0.4 * floor


def test_of_a_volume_nothing_is_held_out_and_no_auxiliary_scan_is_used(family):
    problem = measured(volume(family), Gaussian(SIGMA))
    with pytest.raises(ConfigError, match="as a whole, by a denoiser prior"):
        mmse_denoise(problem, family.prior, torch.ones(problem.shape, dtype=torch.bool))
    with pytest.raises(ConfigError, match="as a whole, by a denoiser prior"):
        mmse_denoise(problem, AuxiliaryScanPrior(family.prior, family.unseen.unsqueeze(0)))
