import pytest
import torch

from medinr.errors import ConfigError, ShapeError
from medinr.operators import Coils, CorrelatedGaussian, Gaussian, Prewhitening, birdcage_maps, coil_covariance

COILS = 3


@pytest.fixture
def covariance():
    factor = torch.randn(COILS, COILS, dtype=torch.complex128, generator=torch.Generator().manual_seed(5))
    return factor @ factor.mH + 0.1 * torch.eye(COILS)


def test_samples_have_the_covariance(covariance, generator):
    drawn = CorrelatedGaussian(covariance).sample(torch.zeros(COILS, 300, 300, dtype=torch.complex128), generator)
    scale = float(covariance.abs().max())
    torch.testing.assert_close(coil_covariance(drawn), covariance, rtol=0, atol=0.02 * scale)


def test_whitened_noise_is_white(covariance, generator):
    drawn = CorrelatedGaussian(covariance).sample(torch.zeros(COILS, 300, 300, dtype=torch.complex128), generator)
    white = Prewhitening(covariance, drawn.shape)(drawn)
    torch.testing.assert_close(coil_covariance(white), torch.eye(COILS).to(white), rtol=0, atol=0.02)


def test_the_likelihood_is_that_of_the_whitened_problem(covariance, generator):
    prediction, data = (torch.randn(2, COILS, 5, 4, dtype=torch.complex128, generator=generator) for _ in range(2))
    whitening = Prewhitening(covariance, (COILS, 5, 4))
    torch.testing.assert_close(
        CorrelatedGaussian(covariance).negative_log_likelihood(prediction, data),
        Gaussian(1.0).negative_log_likelihood(whitening(prediction), whitening(data)),
    )


def test_uncorrelated_coils_are_gaussian(generator):
    prediction, data = (torch.randn(COILS, 5, 4, dtype=torch.complex128, generator=generator) for _ in range(2))
    model = CorrelatedGaussian(0.09 * torch.eye(COILS))
    torch.testing.assert_close(
        model.negative_log_likelihood(prediction, data), Gaussian(0.3).negative_log_likelihood(prediction, data)
    )
    target, precision = model.surrogate(prediction, data)
    torch.testing.assert_close(target, data)
    torch.testing.assert_close(precision, torch.full((COILS, 5, 4), 1 / 0.09, dtype=torch.float64))


def test_surrogate_lies_above_and_touches(covariance, generator):
    at, elsewhere, data = (torch.randn(COILS, 5, 4, dtype=torch.complex128, generator=generator) for _ in range(3))
    model = CorrelatedGaussian(covariance)
    target, precision = model.surrogate(at, data)

    def quadratic(x):
        return 0.5 * (precision * (x - target).abs().square()).sum()

    loss = model.negative_log_likelihood
    assert loss(elsewhere, data) - loss(at, data) <= quadratic(elsewhere) - quadratic(at)
    at.requires_grad_()
    (slope,) = torch.autograd.grad(loss(at, data), at)
    torch.testing.assert_close(slope, (precision * (at - target)).detach())


def test_whitening_makes_the_weighted_least_squares(covariance, generator):
    """The normal operator of the whitened model is A.H covariance^-1 A."""
    coils = Coils(birdcage_maps((5, 4), COILS, dtype=torch.complex128))
    x = torch.randn(5, 4, dtype=torch.complex128, generator=generator)
    ours = (Prewhitening(covariance, (COILS, 5, 4)) @ coils).normal(x)
    inverse = torch.linalg.inv(covariance)
    torch.testing.assert_close(ours, coils.H(torch.einsum("ij,jyx->iyx", inverse, coils(x))))


def test_single_precision_stays_single(covariance, generator):
    model = CorrelatedGaussian(covariance.to(torch.complex64))
    drawn = model.sample(torch.zeros(COILS, 4, 4, dtype=torch.complex64), generator)
    assert drawn.dtype == torch.complex64
    target, precision = model.surrogate(drawn, drawn)
    assert (target.dtype, precision.dtype) == (torch.complex64, torch.float32)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (torch.zeros(2, 3), "square matrix"),
        (torch.tensor([[1.0, 1j], [1j, 1.0]]), "conjugate transpose"),
        (torch.diag(torch.tensor([1.0, 0.0])), "positive definite"),
        (torch.diag(torch.tensor([1.0, -2.0])), "positive definite"),
    ],
)
def test_impossible_covariances_are_refused(bad, named):
    with pytest.raises(ConfigError, match=named):
        CorrelatedGaussian(bad)
    with pytest.raises(ConfigError, match=named):
        Prewhitening(bad, (len(bad), 4, 4))


def test_wrong_shapes_are_refused(covariance):
    with pytest.raises(ShapeError, match=r"complex values \(\.\.\., 3, ky, kx\)"):
        CorrelatedGaussian(covariance).sample(torch.zeros(2, 4, 4, dtype=torch.complex64))
    with pytest.raises(ShapeError, match=r"complex values"):
        CorrelatedGaussian(covariance).sample(torch.zeros(3, 4, 4))
    with pytest.raises(ShapeError, match=r"shape \(coil, ky, kx\); got \(2, 4, 4\)"):
        Prewhitening(covariance, (2, 4, 4))
    with pytest.raises(ShapeError, match="more samples than coils"):
        coil_covariance(torch.zeros(4, 3, dtype=torch.complex64))
