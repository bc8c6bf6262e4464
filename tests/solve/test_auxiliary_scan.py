"""What another scan of the same anatomy does to a reconstruction, where it is right and where it is wrong."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from medinr.operators import Gaussian, cartesian_mask, undersampled_fourier
from medinr.priors.auxiliary_scan import AuxiliaryScanPrior
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.held_out_comparison import gain_db, predict_held_out
from medinr.solve.plug_and_play import plug_and_play
from medinr.solve.problem import Problem

SETTINGS = PlugAndPlaySettings(iterations=20, regularisation_weight=0.1)


def k_space(image: Tensor, sigma: float = 0.01) -> Problem:
    """Every fourth line of k-space and a few in its centre."""
    mask = cartesian_mask(32, 4, 0.12, "equispaced", seed=1)
    operator = undersampled_fourier((32, 32), mask)
    centre = tuple(number for number, line in enumerate(mask.lines) if abs(line - 16) <= 2)
    noise = Gaussian(sigma)
    data = noise.sample(operator(image), torch.Generator().manual_seed(3))
    return Problem(data, operator, noise, (1.0, 1.0), True, group_axis=-2, protected=centre, scale=1.0)


def other_contrast(image: Tensor) -> Tensor:
    """The same anatomy, dark where it was bright."""
    return 0.2 + (image > 0.05) * (0.9 - 0.6 * image)


def with_lesion(image: Tensor) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    spot = torch.sigmoid(2 * (3 - torch.hypot(y - 21, x - 12)))
    return image + 0.4 * spot, spot > 0.5


def inside(image: Tensor, reference: Tensor, where: Tensor) -> float:
    return float((image.abs() - reference)[where].square().mean().sqrt())


def test_another_contrast_of_the_same_anatomy_is_worth_more_than_a_decibel(family):
    problem = k_space(family.with_phase)
    auxiliary = AuxiliaryScanPrior(family.prior, other_contrast(family.unseen).unsqueeze(0))
    without, given = (plug_and_play(problem, prior, SETTINGS) for prior in (family.prior, auxiliary))
    assert family.psnr(given) > family.psnr(without) + 1


def test_a_lesion_that_the_auxiliary_scan_does_not_show_survives(family):
    """Six pixels in an image of 32: by default nearly all of its contrast stays, at half the trust all of it."""
    reference, lesion = with_lesion(family.unseen)
    problem = k_space(torch.polar(reference, family.with_phase.angle()))
    auxiliary = AuxiliaryScanPrior(family.prior, family.unseen.unsqueeze(0))
    without, given, careful = (
        plug_and_play(problem, prior, SETTINGS) for prior in (family.prior, auxiliary, replace(auxiliary, trust=0.5))
    )
    contrast = (reference - family.unseen)[lesion].mean()
    assert (given.abs() - family.unseen)[lesion].mean() > 0.8 * contrast
    assert inside(careful, reference, lesion) <= 1.1 * inside(without, reference, lesion)


def test_a_lesion_that_is_gone_is_not_copied(family):
    previous, lesion = with_lesion(family.unseen)
    problem = k_space(family.with_phase)
    auxiliary = AuxiliaryScanPrior(family.prior, previous.unsqueeze(0))
    without, given = (plug_and_play(problem, prior, SETTINGS) for prior in (family.prior, auxiliary))
    assert inside(given, family.unseen, lesion) <= 1.05 * inside(without, family.unseen, lesion) + 0.005


class ConstantPrior:
    """Gives one image whatever it denoises."""

    def __init__(self, image: Tensor) -> None:
        self.image = image

    def denoise(self, image: Tensor, level: float, orientation: int = 0) -> Tensor:
        return self.image


def test_who_knows_the_reference_wins_the_comparison_and_who_knows_something_else_loses_it(family):
    problem = k_space(family.with_phase, sigma=0.001)

    def predictions(prior) -> list:
        return [predict_held_out(problem, prior, replace(SETTINGS, iterations=10), seed) for seed in range(4)]

    plain = predictions(family.prior)
    assert gain_db(plain, predictions(ConstantPrior(family.with_phase))) > 10
    assert gain_db(plain, predictions(ConstantPrior(family.with_phase.flip(0)))) < 0


def test_priors_that_predict_alike_gain_nothing(family):
    problem = k_space(family.with_phase)
    first = [predict_held_out(problem, family.prior, replace(SETTINGS, iterations=2), 0)]
    assert gain_db(first, first) == 0
    assert gain_db(first, [replace(first[0], residual=first[0].residual / 10)]) == pytest.approx(20)
