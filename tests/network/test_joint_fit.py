import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.network.fit import fit
from medinr.network.image_domain import ImageDomainSettings
from medinr.network.joint_fit import fit_jointly, fit_shared_trunk, fits_jointly, make_target, refine_slice
from medinr.network.kfac import KfacSettings
from medinr.network.settings import FitSettings
from medinr.network.stopping import StoppingSettings
from medinr.operators import Gaussian, Identity, cartesian_mask, undersampled_fourier
from medinr.priors.auxiliary_scan import AuxiliaryScanPrior
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.problem import Problem
from medinr.solve.solution import Step

SHAPE = (32, 32)
SETTINGS = FitSettings(
    plug_and_play=PlugAndPlaySettings(iterations=8),
    image_domain=ImageDomainSettings(passes=6.0, batch=256),
    stopping=StoppingSettings(held_out=0.08, patience=15, at_least=10),
    refinement_iterations=4,
)


def k_space(image: Tensor, seed: int = 3, scale: float = 1.0) -> Problem:
    operator = undersampled_fourier(SHAPE, cartesian_mask(SHAPE[0], 2.5, 0.1, "equispaced", seed=1))
    noise = Gaussian(0.01)
    data = noise.sample(operator(image), torch.Generator().manual_seed(seed))
    centre = tuple(range(4, 8))
    return Problem(data, operator, noise, (1.0, 1.0), image.is_complex(), scale, group_axis=-2, protected=centre)


def denoising(image: Tensor, seed: int = 3) -> Problem:
    noise = Gaussian(0.1)
    return Problem(
        noise.sample(image, torch.Generator().manual_seed(seed)), Identity(image.shape), noise, (1.0, 1.0), scale=1.0
    )


def images(family) -> list[Tensor]:
    """Three different complex slices, from one magnitude."""
    return [family.with_phase, family.with_phase.flip(0), 0.8 * family.with_phase.T.contiguous()]


def slices(family, draw: int = 0) -> list[Problem]:
    return [k_space(image, 10 * draw + seed) for seed, image in enumerate(images(family))]


@pytest.mark.parametrize("scale", [1.0, 4.0, 0.37])
@pytest.mark.parametrize("iterations", [0, 4])
def test_one_slice_comes_out_as_if_fitted_alone(family, scale, iterations):
    settings = replace(SETTINGS, refinement_iterations=iterations)
    problem = k_space(family.with_phase, scale=scale)
    (joint,) = fit_jointly([problem], family.trunk, family.length_scale, settings, prior=family.prior)
    alone = fit(problem, family.trunk, family.length_scale, settings, prior=family.prior)
    if scale == 0.37 and iterations:
        # The network's image went through the problem's units and back: a rounding before refinement.
        torch.testing.assert_close(joint.image, alone.image, rtol=1e-5, atol=1e-5)
        assert joint.residual == pytest.approx(alone.residual, rel=1e-4)
    else:
        assert torch.equal(joint.image, alone.image)
        assert joint.residual == alone.residual
    assert (joint.reason, joint.stopped_at, joint.settings) == (alone.reason, alone.stopped_at, alone.settings)
    assert [replace(row, seconds=0.0) for row in joint.steps] == [replace(row, seconds=0.0) for row in alone.steps]


def test_slices_fitted_jointly_are_as_good_as_alone(family):
    # One draw of noise and held-out lines says little: its difference is +-0.2 dB, and rounding decides the sign.
    losses = []
    for draw in range(6):
        problems, settings = slices(family, draw), replace(SETTINGS, seed=draw)
        joint = fit_jointly(problems, family.trunk, family.length_scale, settings, prior=family.prior)
        for problem, solution, image in zip(problems, joint, images(family), strict=True):
            alone = fit(problem, family.trunk, family.length_scale, settings, prior=family.prior)
            errors = [float((found.image - image).abs().square().mean()) for found in (solution, alone)]
            losses.append(10 * math.log10(errors[0] / errors[1]))
    assert sum(losses) / len(losses) < 0.05


def test_what_the_network_misses_is_known_and_refined(family):
    """Refinement begins at the network's error; iterations that know nothing of it would keep it."""
    problems = slices(family)
    targets = [make_target(problem, family.prior, SETTINGS) for problem in problems]
    poor = replace(SETTINGS, image_domain=ImageDomainSettings(passes=0.1, kfac=KfacSettings(trust=1e-6)))
    fitted = fit_shared_trunk(problems, targets, family.trunk, family.length_scale, poor)
    for problem, target, part, image in zip(problems, targets, fitted, images(family), strict=True):
        missed = (part.solution.image - target.image).abs().square().mean()
        assert part.error == pytest.approx(float(missed / 2) ** 0.5, rel=1e-5)
        assert part.error > 0.02
        plain = refine_slice(problem, replace(part, error=0.0), family.prior, SETTINGS)
        found = refine_slice(problem, part, family.prior, SETTINGS)
        errors = [float((solution.image - image).abs().square().mean()) for solution in (found, plain)]
        assert errors[0] < errors[1]


def test_the_order_of_slices_does_not_matter(family):
    problems = slices(family)
    forward = fit_jointly(problems, family.trunk, family.length_scale, SETTINGS, prior=family.prior)
    backward = fit_jointly(problems[::-1], family.trunk, family.length_scale, SETTINGS, prior=family.prior)
    for one, other in zip(forward, backward[::-1], strict=True):
        # Sums over heads are taken in another order, and the steps of the network carry that on.
        assert float((one.image - other.image).abs().square().mean()) < 1e-5
        assert one.stopped_at == other.stopped_at


def test_real_and_complex_slices_may_share_a_trunk(family):
    problems = [k_space(family.with_phase), denoising(family.unseen)]
    solutions = fit_jointly(problems, family.trunk, family.length_scale, SETTINGS, prior=family.prior)
    assert [solution.image.is_complex() for solution in solutions] == [True, False]
    assert all(family.psnr(solution.image) > 20 for solution in solutions)


def test_the_stop_is_the_mean_of_the_slices(family):
    problems = slices(family)
    rows: list[tuple[int, Step]] = []
    solutions = fit_jointly(
        problems,
        family.trunk,
        family.length_scale,
        SETTINGS,
        prior=family.prior,
        progress=lambda position, step: rows.append((position, step)),
    )
    for position, solution in enumerate(solutions):
        assert solution.steps == tuple(step for at, step in rows if at == position)
    means = {
        steps[0].step: sum(step.held_out for step in steps) / 3
        for steps in zip(*(solution.steps for solution in solutions), strict=True)
    }
    assert len({solution.stopped_at for solution in solutions}) == 1
    assert solutions[0].stopped_at == min(means, key=lambda step: means[step])


def test_seconds_are_the_own_part_and_a_share(family):
    problems = slices(family)
    targets = [make_target(problem, family.prior, SETTINGS) for problem in problems]
    targets[1] = replace(targets[1], seconds=targets[1].seconds + 1000)
    fitted = fit_shared_trunk(problems, targets, family.trunk, family.length_scale, SETTINGS)
    shares = [part.solution.seconds - target.seconds for part, target in zip(fitted, targets, strict=True)]
    assert shares[0] == pytest.approx(shares[1], abs=1e-6)
    assert fitted[1].solution.steps[0].seconds > 1000
    refined = refine_slice(problems[1], fitted[1], family.prior, SETTINGS)
    assert refined.seconds > fitted[1].solution.seconds
    assert refined.residual < fitted[1].solution.residual


def test_without_a_prior_images_themselves_can_be_learned(family):
    settings = replace(SETTINGS, stopping=StoppingSettings(held_out=0.0), refinement_iterations=0)
    problems = [denoising(family.unseen), denoising(family.unseen.flip(0), seed=4)]
    assert fits_jointly(problems, None, settings)
    solutions = fit_jointly(problems, family.trunk, family.length_scale, settings)
    steps = settings.planned(family.unseen.numel())
    assert all(solution.reason == f"all {steps} steps were done" for solution in solutions)
    assert all(math.isnan(row.held_out) for row in solutions[0].steps)


def test_the_trunk_is_copied_and_not_changed(family):
    before = [parameter.detach().clone() for parameter in family.trunk.parameters()]
    fit_jointly(slices(family), family.trunk, family.length_scale, SETTINGS, prior=family.prior)
    assert all(torch.equal(a, b) for a, b in zip(family.trunk.parameters(), before, strict=True))


def test_slices_of_other_grids_are_refused(family):
    small = denoising(family.unseen[:24])
    wide = replace(denoising(family.unseen), spacing=(1.0, 1.2))
    for other, words in ((small, r"number 1 from 0 has \(24, 32\)"), (wide, r"of \(1.0, 1.2\) mm")):
        problems = [denoising(family.unseen), other]
        assert not fits_jointly(problems, family.prior, SETTINGS)
        with pytest.raises(ShapeError, match=words):
            fit_jointly(problems, family.trunk, family.length_scale, SETTINGS, prior=family.prior)
    # Rounded to float32 in a file, a spacing is still the same.
    near = replace(denoising(family.unseen), spacing=(1.0000001, 1.0))
    assert fits_jointly([denoising(family.unseen), near], family.prior, SETTINGS)


def test_volumes_are_refused_alone_and_among_slices(family):
    volume = Problem(torch.rand(3, *SHAPE), Identity((3, *SHAPE)), Gaussian(0.1), (1.0, 1.0, 1.0))
    for problems in ([volume, volume], [denoising(family.unseen), volume], [volume, denoising(family.unseen)]):
        assert not fits_jointly(problems, family.prior, SETTINGS)
        with pytest.raises(ShapeError, match="slice"):
            fit_jointly(problems, family.trunk, family.length_scale, SETTINGS, prior=family.prior)


@pytest.mark.parametrize(
    ("change", "with_prior", "words"),
    [
        ({"steps": 5}, True, r"network\.steps is 5.*slice by slice"),
        ({"image_domain": ImageDomainSettings(passes=0)}, True, r"network\.image_domain\.passes is 0.*slice by slice"),
        ({}, False, r"no denoiser prior.*slice by slice"),
    ],
)
def test_settings_without_a_joint_fit_are_refused(family, change, with_prior, words):
    settings, prior = replace(SETTINGS, **change), family.prior if with_prior else None
    assert not fits_jointly(slices(family), prior, settings)
    with pytest.raises(ConfigError, match=words):
        fit_jointly(slices(family), family.trunk, family.length_scale, settings, prior=prior)


def test_no_slices_are_refused(family):
    with pytest.raises(ShapeError, match="got none"):
        fit_jointly([], family.trunk, family.length_scale, SETTINGS, prior=family.prior)


def test_an_auxiliary_scan_reaches_the_fit_of_one_slice_and_the_joint_fit(family):
    mask = cartesian_mask(32, 4, 0.12, "equispaced", seed=1)
    operator, noise = undersampled_fourier(SHAPE, mask), Gaussian(0.01)
    centre = tuple(number for number, line in enumerate(mask.lines) if abs(line - 16) <= 2)
    data = noise.sample(operator(family.with_phase), torch.Generator().manual_seed(3))
    problem = Problem(data, operator, noise, (1.0, 1.0), True, group_axis=-2, protected=centre, scale=1.0)
    settings = FitSettings(
        plug_and_play=PlugAndPlaySettings(iterations=20, regularisation_weight=0.1),
        image_domain=ImageDomainSettings(passes=6.0, batch=256),
        stopping=StoppingSettings(held_out=0.0),
        refinement_iterations=6,
    )
    # The same anatomy, dark where it was bright.
    contrast = 0.2 + (family.unseen > 0.05) * (0.9 - 0.6 * family.unseen)
    auxiliary = AuxiliaryScanPrior(family.prior, contrast.unsqueeze(0))
    without, given = (
        fit(problem, family.trunk, family.length_scale, settings, prior=prior) for prior in (family.prior, auxiliary)
    )
    assert family.psnr(given.image) > family.psnr(without.image) + 0.5
    targets = [make_target(problem, prior, settings) for prior in (auxiliary, family.prior)]
    fitted = fit_shared_trunk([problem, problem], targets, family.trunk, family.length_scale, settings)
    first, second = (
        refine_slice(problem, part, prior, settings).image
        for part, prior in zip(fitted, (auxiliary, family.prior), strict=True)
    )
    assert family.psnr(first) > family.psnr(second) + 0.5
