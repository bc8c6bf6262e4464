from dataclasses import replace

import pytest
import torch

from medinr.errors import ConfigError, ShapeError
from medinr.operators import Gaussian, Identity, cartesian_mask, undersampled_fourier
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.plug_and_play import plug_and_play
from medinr.solve.problem import Problem
from medinr.uncertainty.bootstrap import NORMAL_90, Move, UncertaintyParts, uncertainty, uncertainty_parts
from medinr.uncertainty.calibration import KnownError, calibrate
from medinr.uncertainty.settings import UncertaintySettings

PLUG_AND_PLAY = PlugAndPlaySettings(iterations=10)
SETTINGS = UncertaintySettings(repeats=3, iterations=10)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class ZeroPrior:
    """Makes every image zero: what is not measured is filled in as zero, without error."""

    def denoise(self, image: torch.Tensor, level: float, orientation: int = 0) -> torch.Tensor:
        return torch.zeros_like(image)


class IdlePrior:
    """Changes nothing."""

    def denoise(self, image: torch.Tensor, level: float, orientation: int = 0) -> torch.Tensor:
        return image


def lines(image: torch.Tensor, sigma: float = 0.005, seed: int = 1) -> Problem:
    """2.5-fold undersampled k-space of an image, which gets a phase."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in image.shape), indexing="ij")
    with_phase = torch.polar(image, 0.5 * x + 0.3 * y)
    operator = undersampled_fourier(image.shape, cartesian_mask(image.shape[0], 2.5, 0.15, "variable", 0))
    noise = Gaussian(sigma)
    return Problem(noise.sample(operator(with_phase), seeded(seed)), operator, noise, (1.0, 1.0), True, scale=1.0)


@pytest.mark.parametrize("repeat", range(4))
def test_moves_are_undone_exactly_and_keep_magnitudes(repeat):
    move = Move.draw(repeat, seeded(repeat))
    image = torch.randn(7, 6, generator=seeded(), dtype=torch.complex128)
    torch.testing.assert_close(move.back(move(image)), image)
    real = image.real.contiguous()
    assert torch.equal(move.back(move(real)), real)
    torch.testing.assert_close(move(image).abs().flatten().sort()[0], image.abs().flatten().sort()[0])


def test_cycles_of_phase_shift_k_space_by_whole_lines():
    image = torch.randn(8, 6, generator=seeded(), dtype=torch.complex128)
    spectrum, moved = (torch.fft.fft2(part) for part in (image, Move((), (0, 0), (2, -1))(image)))
    torch.testing.assert_close(moved, torch.roll(spectrum, (2, -1), (0, 1)))


def test_of_plain_noise_it_is_the_noise():
    sigma = 0.1
    data = 1 + sigma * torch.randn(48, 48, generator=seeded())
    problem = Problem(data, Identity((48, 48)), Gaussian(sigma), (1.0, 1.0), scale=1.0)
    found = uncertainty_parts(problem, data, IdlePrior(), PLUG_AND_PLAY, replace(SETTINGS, repeats=8))
    # 8 x 48 x 48 draws: 1 % and a little for the edges.
    assert found.spread.mean().sqrt() == pytest.approx(sigma, rel=0.04)
    assert found.noise**0.5 == pytest.approx(sigma, rel=1e-4)
    assert not found.detail.any()


def test_what_is_not_measured_is_uncertain_although_the_method_repeats_itself():
    """An image whose unmeasured lines are zero comes back without error, unless it is moved in k-space."""
    reference = torch.rand(32, 24, generator=seeded())
    problem = lines(reference, sigma=1e-4)
    image = problem.adjoint(problem.data)
    found = uncertainty_parts(
        problem, image, ZeroPrior(), replace(PLUG_AND_PLAY, regularisation_weight=1e-6), replace(SETTINGS, repeats=4)
    )
    assert found.spread.mean().sqrt() > 20 * 1e-4


def test_the_parts_are_weighed_as_variances():
    parts = UncertaintyParts(torch.full((2, 3), 4.0), torch.full((2, 3), 9.0), 16.0)
    deviation = parts.deviation(UncertaintySettings(weights=(1.0, 2.0, 3.0)))
    torch.testing.assert_close(deviation, torch.full((2, 3), (4.0 + 36 + 144) ** 0.5))


def test_it_is_repeatable_real_and_in_the_unit_of_the_image(family):
    problem = lines(family.unseen)
    image = plug_and_play(problem, family.prior, PLUG_AND_PLAY)
    found = uncertainty(problem, image, family.prior, PLUG_AND_PLAY, SETTINGS)
    assert found.shape == family.unseen.shape
    assert found.dtype == torch.float32
    assert (found > 0).all()
    assert torch.equal(uncertainty(problem, image, family.prior, PLUG_AND_PLAY, SETTINGS), found)
    other = uncertainty(problem, image, family.prior, PLUG_AND_PLAY, SETTINGS, seed=1)
    assert not torch.equal(other, found)
    # The same scan in other units.
    scaled = replace(problem, data=problem.data * 50, noise=Gaussian(50 * 0.005), scale=50.0)
    torch.testing.assert_close(
        uncertainty(scaled, image, family.prior, PLUG_AND_PLAY, SETTINGS), found, rtol=1e-2, atol=1e-4
    )


def test_more_noise_means_more_uncertainty(family):
    means = []
    for sigma in (0.01, 0.1):
        problem = lines(family.unseen, sigma)
        image = plug_and_play(problem, family.prior, PLUG_AND_PLAY)
        means.append(uncertainty(problem, image, family.prior, PLUG_AND_PLAY, SETTINGS).mean())
    assert means[1] > 2 * means[0]


def known(family, image: torch.Tensor, seed: int) -> KnownError:
    problem = lines(image, sigma=0.03, seed=seed)
    found = plug_and_play(problem, family.prior, PLUG_AND_PLAY)
    parts = uncertainty_parts(problem, found, family.prior, PLUG_AND_PLAY, SETTINGS)
    return KnownError(parts, (found.abs() - image).abs(), image > 0.3)


def test_weights_found_on_some_members_hold_for_another(family):
    settings = calibrate([known(family, image, n) for n, image in enumerate(family.members[:4])], SETTINGS)
    covered, ratio = [], []
    for seed in (11, 12, 13):
        fresh = known(family, family.unseen, seed)
        sigma = fresh.parts.deviation(settings)[fresh.body]
        error = fresh.error[fresh.body]
        covered.append(float((error <= NORMAL_90 * sigma).float().mean()))
        ratio.append(float(settings.mean_error * sigma.mean() / error.mean()))
    assert 0.83 < sum(covered) / 3 < 0.96
    assert 0.75 < sum(ratio) / 3 < 1.33


def test_calibration_finds_the_weights_that_made_the_errors():
    drawn = [torch.rand(80, 80, generator=seeded(n), dtype=torch.float64) ** 4 + 1e-3 for n in (1, 2)]
    parts, true = UncertaintyParts(drawn[0], drawn[1], 0.01), UncertaintySettings(weights=(1.5, 0.5, 2.0))
    errors = parts.deviation(true) * torch.randn(80, 80, generator=seeded(3), dtype=torch.float64)
    body = torch.ones(80, 80, dtype=torch.bool)
    found = calibrate([KnownError(parts, errors.abs(), body)], SETTINGS)
    spread, _, noise = found.weights
    assert spread == pytest.approx(1.5, rel=0.15)
    assert noise == pytest.approx(2.0, rel=0.15)
    assert found.mean_error == pytest.approx(0.798, rel=0.03)
    covered = (errors.abs() <= NORMAL_90 * parts.deviation(found)).double().mean()
    assert covered == pytest.approx(0.9, abs=1e-3)
    assert (found.repeats, found.iterations) == (SETTINGS.repeats, SETTINGS.iterations)


def test_refusals_say_what_to_do(family):
    with pytest.raises(ConfigError, match=r"repeats is 0.*better 4"):
        uncertainty(lines(family.unseen), family.unseen, family.prior, PLUG_AND_PLAY, UncertaintySettings())
    volume = Problem(torch.rand(3, 8, 8), Identity((3, 8, 8)), Gaussian(0.1), (1.0, 1.0, 1.0))
    with pytest.raises(ShapeError, match=r"for slices \(y, x\); the problem's image is a volume"):
        uncertainty(volume, volume.data, family.prior, PLUG_AND_PLAY, SETTINGS)
    for wrong in ({"repeats": -1}, {"iterations": 0}, {"weights": (-1.0, 0.5, 0.3)}, {"weights": (0.0, 0.0, 0.0)}):
        with pytest.raises(ConfigError, match="uncertainty wants"):
            UncertaintySettings(**wrong)
    for name in ("mean_error", "detail_level"):
        with pytest.raises(ConfigError, match="wants mean_error and detail_level above 0"):
            UncertaintySettings(**{name: 0.0})
    with pytest.raises(ShapeError, match="Calibration wants"):
        calibrate([], SETTINGS)
