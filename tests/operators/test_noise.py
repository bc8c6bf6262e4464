import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rice

from medinr.errors import ConfigError, ShapeError
from medinr.operators import Gaussian, Rician, TransmissionPoisson

DOUBLE = torch.float64


def _full(value, n=200_000, dtype=DOUBLE):
    return torch.full((n,), value, dtype=dtype)


def test_gaussian_moments(generator):
    drawn = Gaussian(0.3).sample(_full(2.0), generator)
    assert float(drawn.mean()) == pytest.approx(2.0, abs=5 * 0.3 / math.sqrt(drawn.numel()))
    assert float(drawn.std()) == pytest.approx(0.3, rel=0.01)


def test_complex_gaussian_has_sigma_per_part(generator):
    drawn = Gaussian(0.3).sample(_full(1 - 1j, dtype=torch.complex128), generator)
    assert float(drawn.real.std()) == pytest.approx(0.3, rel=0.01)
    assert float(drawn.imag.std()) == pytest.approx(0.3, rel=0.01)
    assert complex(drawn.mean()) == pytest.approx(1 - 1j, abs=0.01)


@pytest.mark.parametrize("amplitude", [0.0, 0.5, 3.0])
def test_rician_moments(amplitude, generator):
    sigma = 0.7
    drawn = Rician(sigma).sample(_full(amplitude), generator)
    theory = rice(amplitude / sigma, scale=sigma)
    assert float(drawn.mean()) == pytest.approx(theory.mean(), rel=0.01)
    assert float(drawn.std()) == pytest.approx(theory.std(), rel=0.01)
    assert float(Rician(sigma).mean(torch.tensor(amplitude, dtype=DOUBLE))) == pytest.approx(theory.mean())


def test_poisson_moments(generator):
    photons, path = 1e4, 1.5
    drawn = TransmissionPoisson(photons).sample(_full(path), generator)
    expected_counts = photons * math.exp(-path)
    assert float(drawn.mean()) == pytest.approx(path, abs=2e-3)
    assert float(drawn.std()) == pytest.approx(1 / math.sqrt(expected_counts), rel=0.02)


def test_rays_without_photons_stay_finite(generator):
    drawn = TransmissionPoisson(10.0).sample(_full(20.0, 100), generator)
    assert float(drawn.max()) == pytest.approx(math.log(10.0 / 0.5))


@pytest.mark.parametrize("model", [Gaussian(0.2), Rician(0.2), TransmissionPoisson(1e3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_keep_dtype_and_repeat_with_the_seed(model, dtype):
    clean = torch.rand(4, 5, dtype=dtype)
    first, second = (model.sample(clean, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.dtype == dtype
    assert torch.equal(first, second)


def test_rician_likelihood_is_that_of_scipy(generator):
    sigma = 0.4
    data = torch.rand(50, generator=generator, dtype=DOUBLE) * 3 + 0.01
    first, second = (torch.rand(50, generator=generator, dtype=DOUBLE) * 3 for _ in range(2))
    model = Rician(sigma)
    ours = model.negative_log_likelihood(first, data) - model.negative_log_likelihood(second, data)

    def scipy_loss(prediction):
        return -rice.logpdf(data.numpy(), prediction.numpy() / sigma, scale=sigma).sum()

    assert float(ours) == pytest.approx(scipy_loss(first) - scipy_loss(second), rel=1e-9)


def test_rician_likelihood_survives_high_signal():
    model, data = Rician(1e-3), torch.tensor([5.0])
    assert model.negative_log_likelihood(torch.tensor([5.0]), data).isfinite()
    assert model.surrogate(torch.tensor([5.0]), data)[0].item() == pytest.approx(5.0, rel=1e-4)


@pytest.mark.parametrize(
    ("model", "data"),
    [(Gaussian(0.5), [0.3, -1.0]), (Rician(0.5), [0.2, 1.7]), (TransmissionPoisson(200.0), [0.2, 1.7])],
)
def test_likelihoods_have_their_gradient(model, data):
    data = torch.tensor(data, dtype=DOUBLE)
    prediction = torch.tensor([0.4, 0.9], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: model.negative_log_likelihood(p, data), prediction)


@settings(max_examples=100, deadline=None)
@given(
    at=st.floats(-4, 4),
    elsewhere=st.floats(-4, 4),
    measured=st.floats(0.01, 4),
    sigma=st.floats(0.1, 2),
)
def test_rician_surrogate_lies_above_and_touches(at, elsewhere, measured, sigma):
    model = Rician(sigma)
    at, elsewhere, data = (torch.tensor([v], dtype=DOUBLE) for v in (at, elsewhere, measured))
    target, precision = model.surrogate(at, data)

    def quadratic(x):
        return 0.5 * (precision * (x - target).square()).sum()

    loss = model.negative_log_likelihood
    assert loss(elsewhere, data) - loss(at, data) <= quadratic(elsewhere) - quadratic(at) + 1e-9

    at.requires_grad_()
    (slope,) = torch.autograd.grad(loss(at, data), at)
    torch.testing.assert_close(slope, (precision * (at - target)).detach())


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gaussian_surrogate_is_the_likelihood(dtype, generator):
    data, prediction = (torch.randn(20, dtype=dtype, generator=generator) for _ in range(2))
    model = Gaussian(0.3)
    target, precision = model.surrogate(prediction, data)
    quadratic = 0.5 * (precision * (prediction - target).abs().square()).sum()
    torch.testing.assert_close(quadratic, model.negative_log_likelihood(prediction, data))


def test_poisson_surrogate_is_the_second_order_expansion():
    model, data = TransmissionPoisson(500.0), torch.tensor([0.5, 2.0], dtype=DOUBLE)
    target, precision = model.surrogate(data, data)
    hessian = torch.autograd.functional.hessian(lambda p: model.negative_log_likelihood(p, data), data)
    torch.testing.assert_close(hessian, torch.diag(precision))
    torch.testing.assert_close(target, data)


def test_debias_undoes_the_mean():
    model = Rician(0.6)
    clean = torch.linspace(0.05, 30, 100, dtype=DOUBLE)
    torch.testing.assert_close(model.debias(model.mean(clean)), clean, rtol=1e-6, atol=1e-6)
    below = torch.tensor([-1.0, 0.0, 0.6, 0.6 * math.sqrt(math.pi / 2)], dtype=DOUBLE)
    assert model.debias(below).abs().max() < 1e-6


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("model", [Gaussian, Rician, TransmissionPoisson])
def test_impossible_parameters_are_refused(model, bad):
    with pytest.raises(ConfigError, match="positive, finite"):
        model(bad)


def test_wrong_data_are_refused():
    with pytest.raises(ShapeError, match=r"\(3,\) and \(4,\)"):
        Gaussian(1.0).negative_log_likelihood(torch.zeros(3), torch.zeros(4))
    with pytest.raises(ShapeError, match="Take the magnitude"):
        Rician(1.0).sample(torch.zeros(3, dtype=torch.complex64))
