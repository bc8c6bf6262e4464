import math

import mpmath
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chi, ncx2

from medinr.errors import ConfigError, ShapeError
from medinr.operators import NonCentralChi, Rician
from medinr.operators.noise.bessel import bessel_ratio, log_bessel_series, mean_root

DOUBLE = torch.float64
ARGUMENTS = torch.tensor([0.0, 1e-8, 1e-3, 0.5, 2.0, 19.9, 20.1, 97.0, 409.0, 411.0, 1e4, 1e6], dtype=DOUBLE)
ORDERS = [1, 2, 8, 33, 64]


@pytest.mark.parametrize("n", ORDERS)
def test_bessel_functions_are_those_of_mpmath(n):
    ratio, series = bessel_ratio(ARGUMENTS, n), log_bessel_series(ARGUMENTS, n)
    with mpmath.workdps(40):
        for z, r, s in zip(ARGUMENTS.tolist()[1:], ratio.tolist()[1:], series.tolist()[1:], strict=True):
            low = mpmath.besseli(n - 1, z)
            assert r == pytest.approx(float(mpmath.besseli(n, z) / low), rel=1e-10)
            expected = mpmath.log(mpmath.gamma(n) * (mpmath.mpf(2) / z) ** (n - 1) * low) - z
            assert s == pytest.approx(float(expected), rel=1e-10)
    assert ratio[0] == 0.0
    assert series[0] == 0.0


@pytest.mark.parametrize("n", ORDERS)
def test_mean_is_the_hypergeometric_function(n):
    for x in (0.0, 1e-6, 0.3, 5.0, 39.0, 41.0, 49.0, 51.0, 600.0, 679.0, 681.0, 1e6):
        expected = mpmath.sqrt(2) * mpmath.gammaprod([n + 0.5], [n]) * mpmath.hyp1f1(-0.5, n, -x)
        ours = mean_root(torch.tensor(math.sqrt(2 * x), dtype=DOUBLE), n)
        assert float(ours) == pytest.approx(float(expected), rel=1e-11)


@pytest.mark.parametrize("n", [1, 4, 20])
def test_bessel_functions_are_smooth_through_zero_and_the_seam(n):
    seam = max(20.0, n**2 / 10)
    z = torch.tensor([0.0, -0.3, 2.0, seam - 0.01, seam + 0.01], dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: bessel_ratio(v, n), z)
    away = z.detach()[1:].requires_grad_()  # log 0F1 - |z| has a kink at 0, which the likelihood takes away
    assert torch.autograd.gradcheck(lambda v: log_bessel_series(v, n), away)
    assert torch.autograd.gradgradcheck(lambda v: log_bessel_series(v, n), away)
    (slope,) = torch.autograd.grad(bessel_ratio(z, n)[0], z)
    assert slope[0] == pytest.approx(1 / (2 * n))


def _root_of_chi_square(amplitude, sigma, coils):
    """The non-central chi distribution as SciPy has it: that of the square."""
    return ncx2(2 * coils, (amplitude / sigma) ** 2, scale=sigma**2)


@pytest.mark.parametrize("coils", [1, 3, 12])
@pytest.mark.parametrize("amplitude", [0.0, 0.6, 30.0])
def test_moments(coils, amplitude, generator):
    sigma, n = 0.5, 50_000
    model = NonCentralChi(sigma, coils)
    drawn = model.sample(torch.full((n,), amplitude, dtype=DOUBLE), generator)
    theory = _root_of_chi_square(amplitude, sigma, coils) if amplitude else chi(2 * coils, scale=sigma)
    second = drawn.square() if amplitude else drawn
    assert float(second.mean()) == pytest.approx(theory.mean(), abs=5 * theory.std() / math.sqrt(n))
    assert float(second.std()) == pytest.approx(theory.std(), rel=0.02)
    assert float(drawn.mean()) == pytest.approx(float(model.mean(torch.tensor(amplitude, dtype=DOUBLE))), rel=5e-3)


@pytest.mark.parametrize("coils", [1, 2, 8, 32])
@pytest.mark.parametrize("sigma", [2.0, 0.3, 0.02])
def test_likelihood_is_that_of_scipy(coils, sigma, generator):
    data = torch.rand(40, generator=generator, dtype=DOUBLE) + 0.5 + sigma * math.sqrt(2 * coils)
    first, second = (data * (0.7 + 0.6 * torch.rand(40, generator=generator, dtype=DOUBLE)) for _ in range(2))
    model = NonCentralChi(sigma, coils)
    ours = model.negative_log_likelihood(first, data) - model.negative_log_likelihood(second, data)

    def scipy_loss(prediction):
        return -_root_of_chi_square(prediction.numpy(), sigma, coils).logpdf(data.numpy() ** 2).sum()

    assert float(ours) == pytest.approx(scipy_loss(first) - scipy_loss(second), rel=1e-8)


def test_one_coil_is_rician(generator):
    data, prediction = (torch.rand(30, generator=generator, dtype=DOUBLE) for _ in range(2))
    ours, rician = NonCentralChi(0.2, 1), Rician(0.2)
    zero = torch.zeros_like(prediction)
    losses = [
        m.negative_log_likelihood(prediction, data) - m.negative_log_likelihood(zero, data) for m in (ours, rician)
    ]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(ours.surrogate(prediction, data)[0], rician.surrogate(prediction, data)[0])
    torch.testing.assert_close(ours.mean(prediction), rician.mean(prediction))


@pytest.mark.parametrize("model", [Rician(0.5), NonCentralChi(0.5, 1), NonCentralChi(0.5, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_from_zero_to_very_bright(model, dtype):
    prediction = torch.tensor([0.0, 1e-20, -0.3, 1.0, 1e4], dtype=dtype, requires_grad=True)
    data = torch.tensor([2.0, 0.0, 2.0, 0.0, 1e4], dtype=dtype)
    model.negative_log_likelihood(prediction, data).backward()
    assert prediction.grad.isfinite().all()
    assert prediction.grad[0] == 0.0
    assert prediction.grad.dtype == dtype
    target, precision = model.surrogate(prediction.detach(), data)
    assert target.isfinite().all()
    assert precision.isfinite().all()


def test_likelihood_has_its_gradient():
    data = torch.tensor([0.2, 1.7, 4.0], dtype=DOUBLE)
    prediction = torch.tensor([0.4, -0.9, 3.5], dtype=DOUBLE, requires_grad=True)
    model = NonCentralChi(0.5, 4)
    assert torch.autograd.gradcheck(lambda p: model.negative_log_likelihood(p, data), prediction)
    assert torch.autograd.gradgradcheck(lambda p: model.negative_log_likelihood(p, data), prediction)
    assert torch.autograd.gradcheck(model.mean, prediction)


@settings(max_examples=60, deadline=None)
@example(at=5e-324, elsewhere=0.0, measured=0.5, sigma=1.0, coils=1)
@given(
    at=st.floats(-4, 4),
    elsewhere=st.floats(-4, 4),
    measured=st.floats(0.01, 4),
    sigma=st.floats(0.1, 2),
    coils=st.integers(1, 16),
)
def test_surrogate_lies_above_and_touches(at, elsewhere, measured, sigma, coils):
    model = NonCentralChi(sigma, coils)
    at, elsewhere, data = (torch.tensor([v], dtype=DOUBLE) for v in (at, elsewhere, measured))
    target, precision = model.surrogate(at, data)

    def quadratic(x):
        return 0.5 * (precision * (x - target).square()).sum()

    loss = model.negative_log_likelihood
    assert loss(elsewhere, data) - loss(at, data) <= quadratic(elsewhere) - quadratic(at) + 1e-9
    at.requires_grad_()
    (slope,) = torch.autograd.grad(loss(at, data), at)
    torch.testing.assert_close(slope, (precision * (at - target)).detach())


@pytest.mark.parametrize("coils", [1, 5, 32])
def test_debias_undoes_the_mean(coils):
    model = NonCentralChi(0.6, coils)
    clean = torch.linspace(0.1, 30, 50, dtype=DOUBLE)
    torch.testing.assert_close(model.debias(model.mean(clean)), clean, rtol=1e-6, atol=1e-6)
    below = torch.tensor([-1.0, 0.0, 0.9 * model.floor, model.floor], dtype=DOUBLE)
    assert model.debias(below).abs().max() < 1e-5
    assert model.floor == pytest.approx(chi(2 * coils, scale=0.6).mean())


def test_the_likelihood_does_not_pull_away_from_the_signal(generator):
    """The score has mean 0, and as variance the mean curvature (Fisher information)."""
    model, n = NonCentralChi(1.0, 4), 20_000
    prediction = torch.full((n,), 2.5, dtype=DOUBLE, requires_grad=True)
    data = model.sample(prediction.detach(), generator)
    loss = model.negative_log_likelihood(prediction, data)
    (score,) = torch.autograd.grad(loss, prediction, create_graph=True)
    (curvature,) = torch.autograd.grad(score.sum(), prediction)
    score = score.detach()
    assert abs(float(score.mean())) < 4 * float(score.std()) / math.sqrt(n)
    assert float(score.var()) == pytest.approx(float(curvature.mean()), rel=0.05)


@pytest.mark.parametrize("bad", [(0.0, 2), (float("nan"), 2), (1.0, 0), (1.0, 2.5)])
def test_impossible_parameters_are_refused(bad):
    with pytest.raises(ConfigError, match="NonCentralChi wants a"):
        NonCentralChi(*bad)


def test_complex_values_are_refused():
    with pytest.raises(ShapeError, match="Take the magnitude"):
        NonCentralChi(1.0, 2).mean(torch.zeros(3, dtype=torch.complex64))
