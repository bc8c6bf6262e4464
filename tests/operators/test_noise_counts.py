import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, poisson

from medinr.errors import ConfigError, IntensityError
from medinr.operators import Poisson, TransmissionPoisson
from medinr.operators.noise.counts import RATE_FLOOR

DOUBLE = torch.float64


@pytest.mark.parametrize("mean", [0.3, 4.0, 500.0])
@pytest.mark.parametrize("gain", [1.0, 0.02])
def test_emission_moments(mean, gain, generator):
    n = 200_000
    drawn = Poisson(gain).sample(torch.full((n,), mean * gain, dtype=DOUBLE), generator)
    assert float(drawn.mean()) == pytest.approx(mean * gain, abs=5 * gain * math.sqrt(mean / n))
    assert float(drawn.var()) == pytest.approx(gain**2 * mean, rel=0.03)
    assert float((drawn == 0).double().mean()) == pytest.approx(poisson(mean).pmf(0), abs=0.005)


@pytest.mark.parametrize("level", [0.5, 10.0, 1e4])
def test_emission_likelihood_is_that_of_scipy(level, generator):
    gain = 0.3
    first, second = (level * (0.5 + torch.rand(40, generator=generator, dtype=DOUBLE)) for _ in range(2))
    counts = torch.poisson(first, generator=generator)
    model = Poisson(gain)

    def ours(rate):
        return float(model.negative_log_likelihood(gain * rate, gain * counts))

    def scipys(rate):
        return -poisson(rate.numpy()).logpmf(counts.numpy()).sum()

    assert ours(first) - ours(second) == pytest.approx(scipys(first) - scipys(second), rel=1e-9)


def test_emission_likelihood_goes_on_below_zero():
    model = Poisson(2.0)
    prediction = torch.tensor([0.0, -1.0, 0.0, 3.0, 0.5 * RATE_FLOOR], dtype=DOUBLE, requires_grad=True)
    data = torch.tensor([0.0, 2.0, 4.0, 0.0, 6.0], dtype=DOUBLE)
    assert torch.autograd.gradcheck(lambda p: model.negative_log_likelihood(p, data), prediction)
    (slope,) = torch.autograd.grad(model.negative_log_likelihood(prediction, data), prediction)
    assert slope.isfinite().all()
    assert slope[1] < slope[2] < 0 < slope[0]  # counts pull up, and from further below more
    edge = torch.tensor([2.0 * RATE_FLOOR], dtype=DOUBLE)
    around = [
        torch.func.grad(lambda p: model.negative_log_likelihood(p, torch.ones(1, dtype=DOUBLE)))(edge + step)
        for step in (-1e-9, 1e-9)
    ]
    torch.testing.assert_close(*around, rtol=1e-6, atol=0)


def test_emission_surrogate_has_the_slope_of_the_likelihood(generator):
    model = Poisson(0.4)
    prediction = (1.0 + 5.0 * torch.rand(20, generator=generator, dtype=DOUBLE)).requires_grad_()
    data = model.sample(prediction.detach(), generator)
    target, precision = model.surrogate(prediction, data)
    (slope,) = torch.autograd.grad(model.negative_log_likelihood(prediction, data), prediction)
    torch.testing.assert_close(slope, (precision * (prediction - target)).detach())
    assert model.surrogate(torch.zeros(3), torch.ones(3))[1].isfinite().all()


def test_negative_means_are_refused():
    with pytest.raises(IntensityError, match=r"at least 0; got -0\.5"):
        Poisson().sample(torch.tensor([1.0, -0.5]))
    with pytest.raises(ConfigError, match="positive, finite gain"):
        Poisson(0.0)


def test_electronic_noise_adds_its_variance(generator):
    photons, path, electronic, n = 1e4, 2.0, 20.0, 200_000
    drawn = TransmissionPoisson(photons, electronic).sample(torch.full((n,), path, dtype=DOUBLE), generator)
    counts = photons * torch.exp(-drawn)
    expected = photons * math.exp(-path)
    assert float(counts.mean()) == pytest.approx(expected, abs=5 * math.sqrt((expected + electronic**2) / n))
    assert float(counts.var()) == pytest.approx(expected + electronic**2, rel=0.02)


def test_shifted_poisson_is_close_to_the_compound_likelihood(generator):
    """Both are least at the same line integral, to a small part of its uncertainty."""
    photons, electronic, path = 400.0, 4.0, 1.5
    model = TransmissionPoisson(photons, electronic)
    data = model.sample(torch.full((300,), path, dtype=DOUBLE), generator)
    measured = photons * torch.exp(-data).numpy()
    candidates = torch.linspace(1.46, 1.54, 33, dtype=DOUBLE)
    shifted = [float(model.negative_log_likelihood(c.expand_as(data), data)) for c in candidates]

    # The exact density sums over all counts that the read-out may have blurred.
    counts = np.arange(250)
    read_out = norm(counts, electronic).pdf(measured[:, None])
    exact = [-np.log(read_out @ poisson(photons * math.exp(-float(c))).pmf(counts)).sum() for c in candidates]
    uncertainty = math.sqrt(photons * math.exp(-path) + electronic**2) / (photons * math.exp(-path)) / math.sqrt(300)
    assert abs(float(candidates[int(np.argmin(shifted))] - candidates[int(np.argmin(exact))])) < 0.5 * uncertainty
    np.testing.assert_allclose(np.array(shifted) - min(shifted), np.array(exact) - min(exact), atol=0.5)


@pytest.mark.parametrize("electronic", [0.0, 3.0])
def test_transmission_is_finite_without_a_count(electronic):
    model = TransmissionPoisson(50.0, electronic)
    data = torch.tensor([float("inf"), 3.0, 0.1], dtype=DOUBLE)
    prediction = torch.tensor([0.0, 40.0, -1.0], dtype=DOUBLE, requires_grad=True)
    loss = model.negative_log_likelihood(prediction, data)
    assert loss.isfinite()
    assert torch.autograd.gradcheck(lambda p: model.negative_log_likelihood(p, data), prediction)
    target, precision = model.surrogate(prediction.detach(), data)
    assert target.isfinite().all()
    assert precision.isfinite().all()
    assert precision[0] == 0.0


def test_transmission_surrogate_is_the_second_order_expansion():
    model, data = TransmissionPoisson(500.0, 7.0), torch.tensor([0.5, 2.0, 6.0], dtype=DOUBLE)
    target, precision = model.surrogate(data, data)
    hessian = torch.autograd.functional.hessian(lambda p: model.negative_log_likelihood(p, data), data)
    torch.testing.assert_close(hessian, torch.diag(precision))
    torch.testing.assert_close(target, data)


def test_no_electronic_noise_is_the_limit(generator):
    data, prediction = (torch.rand(20, generator=generator, dtype=DOUBLE) for _ in range(2))
    zero = torch.zeros_like(prediction)
    losses = [
        m.negative_log_likelihood(prediction, data) - m.negative_log_likelihood(zero, data)
        for m in (TransmissionPoisson(100.0), TransmissionPoisson(100.0, 1e-6))
    ]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_impossible_electronic_noise_is_refused(bad):
    with pytest.raises(ConfigError, match="electronic noise of at least 0"):
        TransmissionPoisson(100.0, bad)
