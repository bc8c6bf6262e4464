"""The largest eigenvalue by power iteration, beside all eigenvalues."""

import math

import pytest
import torch

from medinr.operators import Gaussian, LinearOperator, ParallelBeam, Space, TransmissionPoisson, Weighting
from medinr.operators.power_iteration import largest_eigenvalue
from medinr.solve.problem import Problem


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def symmetric(kind: torch.dtype) -> torch.Tensor:
    root = torch.randn(9, 7, generator=seeded(), dtype=kind)
    return root.mH @ root


@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
def test_it_is_the_largest_of_all_eigenvalues(kind):
    matrix = symmetric(kind)
    wanted = float(torch.linalg.eigvalsh(matrix)[-1])
    start = torch.randn(7, generator=seeded(1), dtype=kind)
    assert largest_eigenvalue(lambda x: matrix @ x, start, 300) == pytest.approx(wanted, rel=1e-10)


def test_it_comes_from_below_and_closer_with_every_iteration():
    matrix = symmetric(torch.float64)
    wanted = float(torch.linalg.eigvalsh(matrix)[-1])
    start = torch.randn(7, generator=seeded(1), dtype=torch.float64)
    found = [largest_eigenvalue(lambda x: matrix @ x, start, count) for count in (1, 2, 5, 20)]
    assert found == sorted(found)
    assert 0 < found[0] < 0.99 * wanted
    assert found[-1] <= wanted * (1 + 1e-12)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 4)])
def test_images_of_any_shape_and_the_length_of_the_start_do_not_matter(shape):
    weights = torch.rand(shape, generator=seeded(), dtype=torch.float64)
    start = torch.rand(shape, generator=seeded(1), dtype=torch.float64)
    found, longer = (largest_eigenvalue(lambda x: weights * x, factor * start, 2000) for factor in (1.0, 1e6))
    assert found == pytest.approx(float(weights.max()), rel=1e-6)
    assert longer == pytest.approx(found, rel=1e-12)


def test_of_a_map_to_zero_it_is_zero():
    asked = []

    def to_zero(x: torch.Tensor) -> torch.Tensor:
        asked.append(x)
        return 0 * x

    assert largest_eigenvalue(to_zero, torch.ones(3), 10) == 0.0
    assert len(asked) == 1
    assert largest_eigenvalue(to_zero, torch.zeros(3), 10) == 0.0
    # A map that takes the start away only after an iteration.
    nilpotent = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    assert largest_eigenvalue(lambda x: nilpotent @ x, torch.tensor([1.0, 1.0]), 10) == 0.0


class Matrix(LinearOperator):
    """A dense matrix on images of one row."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix = matrix
        kind = "complex" if matrix.is_complex() else "real"
        self.domain, self.range = Space((1, matrix.shape[1]), kind), Space((1, matrix.shape[0]), kind)

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.matrix.mT

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return y @ self.matrix.conj()


@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
def test_the_norm_of_an_operator_is_the_root_of_it(kind):
    matrix = torch.randn(9, 7, generator=seeded(), dtype=kind)
    wanted = math.sqrt(float(torch.linalg.eigvalsh(matrix.mH @ matrix)[-1]))
    assert Matrix(matrix).norm(iterations=400) == pytest.approx(wanted, rel=1e-10)
    assert Matrix(0 * matrix).norm() == 0.0


def test_the_noise_of_projections_is_that_of_their_best_measured_component(dense):
    """Twenty iterations: the first component of projections stands far above the others."""
    angles = torch.arange(8, dtype=torch.float64) * (math.pi / 8)
    operator = ParallelBeam((6, 5), (1.0, 1.0), angles, 9, 1.0)
    data = torch.rand(8, 9, generator=seeded(), dtype=torch.float64)
    problem = Problem(data, operator, TransmissionPoisson(100.0), (1.0, 1.0), scale=0.3)
    matrix = dense.matrix_of(problem)
    precision = 100 * torch.exp(-data).reshape(-1, 1)
    wanted = float(torch.linalg.eigvalsh(matrix.T @ (precision * matrix))[-1]) ** -0.5
    assert problem.pixel_noise() == pytest.approx(wanted, rel=1e-4)


def test_weights_of_the_noise_count():
    plain = Problem(torch.zeros(3, 3), Weighting(torch.ones(3, 3)), Gaussian(0.2), (1.0, 1.0), scale=1.0)
    stronger = Problem(torch.zeros(3, 3), Weighting(4 * torch.ones(3, 3)), Gaussian(0.2), (1.0, 1.0), scale=1.0)
    assert plain.pixel_noise() == pytest.approx(4 * stronger.pixel_noise(), rel=1e-6)
    assert plain.pixel_noise() == pytest.approx(0.2, rel=1e-6)
