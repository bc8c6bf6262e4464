"""Conjugate gradients on least-squares problems, beside direct solutions."""

import pytest
import torch

from medinr.operators import Gaussian, ParallelBeam, Weighting
from medinr.solve.krylov import TOLERANCE, cgls
from medinr.solve.problem import Problem


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Counted(Weighting):
    """Counts how often it is applied."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__(weights)
        self.count = 0

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return super()._apply(x)


@pytest.mark.parametrize("complex_image", [True, False])
def test_it_solves_its_normal_equations(complex_image: bool, dense, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medinr.solve.krylov.TOLERANCE", 1e-10)
    problem = dense.coils(complex_image)
    weight = torch.rand(problem.data.shape, generator=seeded(1), dtype=torch.float64)
    change, left = cgls(problem, problem.data, 200, weight=weight, regularisation=0.7)
    torch.testing.assert_close(dense.flat(change), dense.exact_change(problem, weight, 0.7, problem.data))
    torch.testing.assert_close(left, problem.data - problem.predict(change))


def test_it_ends_when_its_gradient_has_gone(dense) -> None:
    problem = dense.coils()
    weight = torch.rand(problem.data.shape, generator=seeded(1), dtype=torch.float64)
    change, left = cgls(problem, problem.data, 200, weight=weight, regularisation=0.7)
    gradient = problem.adjoint(weight * left) - 0.7 * change
    assert gradient.norm() <= TOLERANCE * problem.adjoint(weight * problem.data).norm()
    short, _ = cgls(problem, problem.data, 2, weight=weight, regularisation=0.7)
    assert (problem.adjoint(weight * (problem.data - problem.predict(short))) - 0.7 * short).norm() > gradient.norm()
    nothing, left = cgls(problem, torch.zeros_like(problem.data), 5, weight=weight, regularisation=0.7)
    assert nothing.abs().max() == 0
    assert left.abs().max() == 0


def test_where_all_is_measured_equally_well_one_iteration_is_enough() -> None:
    operator = Counted((torch.rand(9, 7, generator=seeded()) < 0.6).float())
    problem = Problem(torch.rand(9, 7, generator=seeded(1)), operator, Gaussian(0.1), (1.0, 1.0), scale=1.0)
    weight = torch.full((9, 7), 100.0)
    change, _ = cgls(problem, problem.data, 6, weight=weight, regularisation=3.0)
    assert operator.count == 1
    torch.testing.assert_close(change, operator.weights * problem.data * 100 / 103)


def projections(views: int) -> Problem:
    """Views of a 6 x 5 image with 9 elements each, in double precision: data are random, so no image explains them."""
    angles = torch.arange(views, dtype=torch.float64) * (torch.pi / views)
    operator = ParallelBeam((6, 5), (1.0, 1.0), angles, 9, 1.0)
    data = torch.randn(views, 9, generator=seeded(), dtype=torch.float64)
    return Problem(data, operator, Gaussian(0.3), (1.0, 1.0), scale=1.7)


@pytest.mark.parametrize("regularisation", [0.0, 2.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_of_more_measurements_than_pixels_it_is_the_dense_least_squares_solution(
    dense, monkeypatch: pytest.MonkeyPatch, weighted: bool, regularisation: float
) -> None:
    monkeypatch.setattr("medinr.solve.krylov.TOLERANCE", 1e-12)
    problem = projections(12)
    weight = torch.rand(problem.data.shape, generator=seeded(1), dtype=torch.float64) + 0.1
    given = {"weight": weight} if weighted else {}
    change, left = cgls(problem, problem.data, 400, regularisation=regularisation, **given)
    # sqrt(w) A d = sqrt(w) y, sqrt(regularisation) d = 0
    root = weight.sqrt() if weighted else torch.ones_like(weight)
    matrix, rows = dense.matrix_of(problem), regularisation**0.5 * torch.eye(30, dtype=torch.float64)
    system = torch.cat([root.reshape(-1, 1) * matrix, rows])
    right = torch.cat([(root * problem.data).reshape(-1), torch.zeros(30, dtype=torch.float64)])
    wanted = torch.linalg.lstsq(system, right.unsqueeze(1), driver="gelsd").solution[:, 0]
    torch.testing.assert_close(change.reshape(-1), wanted, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(left.reshape(-1), problem.data.reshape(-1) - matrix @ wanted, rtol=1e-6, atol=1e-8)
    assert float(left.norm()) > 0.3 * float(problem.data.norm())


@pytest.mark.parametrize("weighted", [False, True])
def test_of_fewer_measurements_than_pixels_it_is_the_solution_of_smallest_norm(
    dense, monkeypatch: pytest.MonkeyPatch, weighted: bool
) -> None:
    monkeypatch.setattr("medinr.solve.krylov.TOLERANCE", 1e-12)
    problem = projections(2)
    weight = torch.rand(problem.data.shape, generator=seeded(1), dtype=torch.float64) + 0.1
    given = {"weight": weight} if weighted else {}
    change, _ = cgls(problem, problem.data, 400, **given)
    root = (weight if weighted else torch.ones_like(weight)).sqrt().reshape(-1, 1)
    matrix = dense.matrix_of(problem)
    wanted = torch.linalg.pinv(root * matrix, rtol=1e-10) @ (root * problem.data.reshape(-1, 1))
    torch.testing.assert_close(change.reshape(-1), wanted[:, 0], rtol=1e-5, atol=1e-7)
    assert torch.linalg.matrix_rank(matrix) < 30


def test_a_residual_that_can_be_explained_shrinks_to_the_tolerance_that_is_asked_for() -> None:
    problem = projections(12)
    explained = problem.predict(torch.randn(6, 5, generator=seeded(2), dtype=torch.float64))
    sizes = []
    for tolerance in (1e-1, 1e-3, 1e-9):
        change, left = cgls(problem, explained, 400, residual_tolerance=tolerance)
        sizes.append(float(left.norm() / explained.norm()))
        assert sizes[-1] <= tolerance
        torch.testing.assert_close(left, explained - problem.predict(change), rtol=0, atol=1e-10)
    assert sizes[0] > sizes[1] > sizes[2]
    # Fewer iterations where less is asked: the first residual is far above what the last wants.
    assert sizes[0] > 1e-3
    _, left = cgls(problem, explained, 1, residual_tolerance=1e-9)
    assert float(left.norm() / explained.norm()) > 1e-3


def test_nothing_to_explain_is_explained_by_nothing() -> None:
    problem = projections(2)
    for tolerance in (None, 1e-3):
        change, left = cgls(problem, torch.zeros_like(problem.data), 5, residual_tolerance=tolerance)
        assert not change.any()
        assert not left.any()
