import pytest
import torch

from medinr.errors import ConfigError
from medinr.operators import Gaussian, Identity, Weighting, cartesian_mask, undersampled_fourier
from medinr.solve.plug_and_play import PlugAndPlaySettings, conjugate_gradients, plug_and_play
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


def test_conjugate_gradients_solve_a_hermitian_system() -> None:
    root = torch.randn(6, 6, generator=seeded(), dtype=torch.complex128)
    matrix = root.mH @ root + torch.eye(6)
    right = torch.randn(6, generator=seeded(1), dtype=torch.complex128)
    x = conjugate_gradients(lambda v: matrix @ v, right, torch.zeros_like(right), 30)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, right), rtol=1e-5, atol=1e-5)


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
        PlugAndPlaySettings(iterations=0)
    with pytest.raises(ConfigError, match="'measurement' or 'prior'"):
        PlugAndPlaySettings(end="both")
