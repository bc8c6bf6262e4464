"""Our operators inside DeepInverse: its own tests of a physics, its solvers, its noise."""

import math

import pytest
import torch

from medinr.errors import ShapeError
from medinr.operators import (
    Coils,
    Fourier,
    GaussianPSF,
    LinearOperator,
    ParallelBeam,
    Space,
    birdcage_maps,
    cartesian_mask,
    from_deepinv,
    operator_report,
    to_deepinv,
    undersampled_fourier,
)

OPERATORS = {
    "parallel beam": lambda: ParallelBeam((9, 8), (1.0, 1.0), [0.0, 0.4, 1.0, 2.0]),
    "k-space": lambda: undersampled_fourier((9, 8), (1, 4, 5, 7)),
    "k-space, three coils": lambda: undersampled_fourier((9, 8), (1, 4, 5, 7), birdcage_maps((9, 8), 3)),
    "volume": lambda: GaussianPSF((4, 5, 6), (1.0, 1.0, 1.0), 2.0),
}

MIXED = {"real to complex": lambda: _Real((9, 8)), "complex to real": lambda: _Real((9, 8)).H}


class _Real(LinearOperator):
    """Real images as complex ones."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.domain, self.range = Space(shape, "real"), Space(shape, "complex")

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        return torch.complex(x, torch.zeros_like(x))

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return y.real


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def image() -> torch.Tensor:
    """A disc with a hole, ``(1, 1, 24, 24)``."""
    y, x = torch.meshgrid(torch.arange(24.0) - 11.5, torch.arange(24.0) - 11.5, indexing="ij")
    return ((x**2 + y**2 < 81.0).float() - 0.5 * ((x - 2) ** 2 + y**2 < 16.0).float())[None, None]


@pytest.mark.parametrize("make", (OPERATORS | MIXED).values(), ids=OPERATORS | MIXED)
def test_a_physics_by_its_own_tests(deepinv, make):
    operator = make()
    physics = to_deepinv(operator)
    assert isinstance(physics, deepinv.physics.LinearPhysics)
    channels = 2 if operator.domain.kind == "complex" else 1
    assert physics.img_size == (channels, *operator.domain.shape)
    x = _draw(2, *physics.img_size)
    assert physics.A(x).shape == (2, 2 if operator.range.kind == "complex" else 1, *operator.range.shape)
    assert float(physics.adjointness_test(x, num_samples=4)) < 1e-12
    norm = float(physics.compute_sqnorm(x[:1], max_iter=500, tol=1e-4, verbose=False)) ** 0.5
    assert norm == pytest.approx(operator.norm(500), rel=0.01)


@pytest.mark.parametrize("make", OPERATORS.values(), ids=OPERATORS)
def test_there_and_back(deepinv, make):
    operator = make()
    again = from_deepinv(to_deepinv(operator), operator.domain.shape, operator.domain.kind == "complex")
    report = operator_report(again)
    assert report.ok, str(report)
    x = _draw(2, *operator.domain.shape)
    x = torch.complex(x, _draw(2, *operator.domain.shape, seed=1)) if operator.domain.kind == "complex" else x
    torch.testing.assert_close(again(x), operator(x))


def test_channels_of_a_real_operator_are_images(deepinv):
    operator = ParallelBeam((9, 8), (1.0, 1.0), [0.0, 0.4, 1.0])
    x = _draw(2, 3, 9, 8)
    torch.testing.assert_close(to_deepinv(operator).A(x), operator(x))


def test_images_that_do_not_fit(deepinv):
    physics = to_deepinv(Fourier((9, 8)))
    with pytest.raises(ShapeError, match=r"\(batch, 2, 9, 8\); got \(1, 1, 9, 8\)"):
        physics.A(_draw(1, 1, 9, 8))
    with pytest.raises(ShapeError, match=r"got \(2, 9, 8\)"):
        physics.A(_draw(2, 9, 8))


def test_its_noise_comes_with_its_physics(deepinv):
    operator = Fourier((32, 32))
    physics = to_deepinv(operator, noise_model=deepinv.physics.GaussianNoise(sigma=0.1))
    x = torch.zeros(1, 2, 32, 32)
    assert float(physics(x).std()) == pytest.approx(0.1, rel=0.1)


def test_its_pseudo_inverse_finds_the_image(deepinv):
    maps = birdcage_maps((12, 10), 4, dtype=torch.complex128)
    operator = undersampled_fourier((12, 10), range(0, 12, 2), maps)
    x = _draw(1, 2, 12, 10)
    physics = to_deepinv(operator, max_iter=200, tol=1e-8)
    torch.testing.assert_close(physics.A_dagger(physics.A(x)), x, rtol=0.0, atol=1e-4)


def _error(estimate: torch.Tensor, reference: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(estimate - reference) / torch.linalg.vector_norm(reference))


def test_tikhonov_from_projections_solves_the_normal_equations(deepinv, image):
    operator = ParallelBeam((24, 24), (1.0, 1.0), [math.pi * k / 10 for k in range(10)])
    operator = (1.0 / operator.norm()) * operator
    data = operator(image)
    solver = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.data_fidelity.L2(),
        prior=deepinv.optim.prior.Tikhonov(),
        lambda_reg=0.1,
        stepsize=1.0,
        max_iter=200,
    )
    found = solver(data, to_deepinv(operator))
    torch.testing.assert_close(operator.normal(found) + 0.1 * found, operator.H(data), rtol=0.0, atol=1e-4)


def test_total_variation_from_projections(deepinv, image):
    operator = ParallelBeam((24, 24), (1.0, 1.0), [math.pi * k / 10 for k in range(10)])
    physics = to_deepinv((1.0 / operator.norm()) * operator)
    data = physics.A(image)
    solver = deepinv.optim.FISTA(
        data_fidelity=deepinv.optim.data_fidelity.L2(),
        prior=deepinv.optim.prior.TVPrior(n_it_max=20),
        lambda_reg=3e-3,
        stepsize=1.0,
        max_iter=100,
    )
    found = solver(data, physics)
    assert found.shape == image.shape
    assert _error(found, image) < 0.75 * _error(physics.A_dagger(data), image)


def test_total_variation_from_k_space(deepinv, image):
    mask = cartesian_mask(24, 2, 0.2, "variable", seed=0)
    operator = undersampled_fourier((24, 24), mask)
    physics = to_deepinv(operator)
    reference = torch.cat([image, 0.3 * image], dim=1)
    data = physics.A(reference)
    solver = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.data_fidelity.L2(),
        prior=deepinv.optim.prior.TVPrior(n_it_max=20),
        lambda_reg=3e-3,
        stepsize=1.0,
        max_iter=100,
    )
    zero_filled = physics.A_adjoint(data)
    assert _error(solver(data, physics), reference) < 0.75 * _error(zero_filled, reference)


def test_gradients_pass_through(deepinv):
    operator = Coils(birdcage_maps((6, 5), 3, dtype=torch.complex128))
    physics = to_deepinv(operator)
    x, y = _draw(2, 2, 6, 5).requires_grad_(), _draw(2, 2, 3, 6, 5, seed=1)
    (gradient,) = torch.autograd.grad(physics.A(x), x, y)
    torch.testing.assert_close(gradient, physics.A_adjoint(y))
