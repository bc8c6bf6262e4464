import pytest
import torch
from torch import Tensor

from medinr.network.head import RIDGES, generalised_cross_validation, project_features, solve_head
from medinr.operators import (
    Gaussian,
    Identity,
    LinearOperator,
    ParallelBeam,
    birdcage_maps,
    cartesian_mask,
    downsampling,
    undersampled_fourier,
)
from medinr.solve.problem import Problem

SHAPE = (9, 8)
P = 11


def _random(*shape: int, seed: int, complex_: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.complex128 if complex_ else torch.float64)


def _fourier(coils: int = 0) -> LinearOperator:
    maps = birdcage_maps(SHAPE, coils).to(torch.complex128) if coils else None
    return undersampled_fourier(SHAPE, cartesian_mask(SHAPE[0], 1.5, 0.2, seed=2), maps)


CASES = {
    "identity": (Identity(SHAPE), False),
    "complex identity": (Identity(SHAPE), True),
    "k-space": (_fourier(), True),
    "k-space, coils": (_fourier(3), True),
    "k-space of a real image": (_fourier(3), False),
    "coarse": (downsampling((18, 16), (1.0, 1.3), 2), False),
    "projections": (ParallelBeam(SHAPE, (1.0, 1.2), torch.arange(7) * 0.45, 13), False),
}


def _problem(name: str, scale: float = 1.7) -> Problem:
    operator, complex_image = CASES[name]
    complex_data = complex_image or operator.domain.kind == "complex"
    data = _random(*operator.range.shape, seed=3, complex_=complex_data)
    return Problem(data, operator, Gaussian(0.2), (1.0, 1.0), complex_image, scale)


def _features(problem: Problem, p: int = P) -> Tensor:
    features = _random(problem.shape[0] * problem.shape[1], p, seed=1)
    features[:, -1] = 1.0
    return features


def _dense(problem: Problem, features: Tensor) -> Tensor:
    """``A Phi`` column by column; real and imaginary rows stacked when a real head meets complex data."""
    columns = [problem.predict(f.reshape(problem.shape)).reshape(-1) for f in features.T]
    matrix = torch.stack(columns, dim=1)
    return torch.cat([matrix.real, matrix.imag]) if _is_split(problem) else matrix


def _target(problem: Problem, data: Tensor) -> Tensor:
    flat = data.reshape(-1, 1)
    return torch.cat([flat.real, flat.imag]) if _is_split(problem) else flat


def _is_split(problem: Problem) -> bool:
    return problem.data.is_complex() and not problem.complex_image


@pytest.mark.parametrize("name", CASES)
def test_closed_form_is_least_squares(name):
    problem = _problem(name)
    features = _features(problem)
    weight = torch.rand(problem.data.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64) + 0.1
    weight[..., ::5] = 0.0  # held out
    projected = project_features(problem, features)
    assert projected.values.shape == (problem.data.numel(), P)
    matrix, right, energy = projected.normal_equations(problem.data, weight)
    found = solve_head(matrix, right, 0.0)

    root = weight.reshape(-1, 1).sqrt()
    root = torch.cat([root, root]) if _is_split(problem) else root
    dense, target = _dense(problem, features), _target(problem, problem.data)
    wanted = torch.linalg.lstsq((root * dense).to(target.dtype), root * target).solution
    assert found.is_complex() == problem.complex_image
    torch.testing.assert_close(found, wanted.to(found.dtype), rtol=1e-8, atol=1e-10)
    assert energy == pytest.approx(float((root * target).abs().square().sum()), rel=1e-12)


@pytest.mark.parametrize("name", ["k-space", "projections"])
def test_ridge_and_curvature_enter_as_written(name):
    problem = _problem(name)
    features = _features(problem)
    matrix, right, _ = project_features(problem, features).normal_equations(
        problem.data, torch.ones(()).expand(problem.data.shape)
    )
    root = _random(P, P, seed=8)
    curvature, ridge = root @ root.T, 0.37
    found = solve_head(matrix + curvature, right, ridge)
    dense, target = _dense(problem, features), _target(problem, problem.data)
    stacked = torch.cat([dense, root.T.to(dense.dtype), ridge**0.5 * torch.eye(P, dtype=dense.dtype)])
    wanted = torch.linalg.lstsq(stacked, torch.cat([target, torch.zeros(2 * P, 1, dtype=target.dtype)])).solution
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)


def test_more_features_than_a_batch_and_rows_than_a_block(monkeypatch):
    problem = _problem("projections")
    features = _features(problem)
    whole = project_features(problem, features).values
    monkeypatch.setattr("medinr.network.head.BATCH", 3)
    torch.testing.assert_close(project_features(problem, features).values, whole)

    tall = _problem("identity", 1.0)
    big = Problem(torch.rand(100, 90, dtype=torch.float64), Identity((100, 90)), tall.noise, (1.0, 1.0), scale=1.0)
    columns = _random(9000, 4, seed=2)
    matrix, right, _ = project_features(big, columns).normal_equations(big.data, torch.ones(100, 90))
    torch.testing.assert_close(matrix, columns.T @ columns)
    torch.testing.assert_close(right, columns.T @ big.data.reshape(-1, 1))


def test_singular_equations_are_still_solved():
    features = _random(30, 5, seed=0)
    features[:, 4] = features[:, 3]
    target = _random(30, 1, seed=1)
    found = solve_head(features.T @ features, features.T @ target, 0.0)
    best = torch.linalg.lstsq(features[:, :4], target).solution
    torch.testing.assert_close(features @ found, features[:, :4] @ best, rtol=1e-4, atol=1e-4)
    assert torch.equal(solve_head(torch.zeros(3, 3).double(), torch.zeros(3, 1).double(), 0.0), torch.zeros(3, 1))


def _score(matrix: Tensor, curvature: Tensor, dense: Tensor, target: Tensor, ridge: float) -> float:
    """Score of one ridge through the hat matrix, written out."""
    hat = dense @ torch.linalg.solve(matrix + curvature + ridge * torch.eye(len(matrix)), dense.mH)
    residual = float((target - hat @ target).abs().square().sum())
    count = len(target)
    return count * residual / (count - float(hat.diagonal().real.sum())) ** 2


@pytest.mark.parametrize("name", ["identity", "k-space", "coarse", "projections"])
@pytest.mark.parametrize("with_curvature", [False, True])
def test_cross_validation_minimises_its_score(name, with_curvature):
    problem = _problem(name)
    # Features that decay, as those of a trunk do, and data with signal in the first of them.
    features = _features(problem) * torch.logspace(0, -4, P, dtype=torch.float64)
    reference = (features[:, :3] @ torch.ones(3, 1, dtype=torch.float64)).reshape(problem.shape)
    clean = problem.predict(reference)
    data = clean + 0.3 * _random(*clean.shape, seed=9, complex_=clean.is_complex())
    matrix, right, energy = project_features(problem, features).normal_equations(
        data, torch.ones(()).expand(data.shape)
    )
    root = 0.1 * _random(P, P, seed=5)
    curvature = root @ root.T if with_curvature else torch.zeros(P, P, dtype=torch.float64)
    found = generalised_cross_validation(matrix, right, energy, curvature, data.numel())

    mean = float(torch.linalg.eigvalsh(matrix + curvature).mean())
    dense, target = _dense(problem, features), data.reshape(-1, 1)
    scores = [_score(matrix, curvature, dense, target, float(r) * mean) for r in RIDGES]
    index = min(range(len(scores)), key=scores.__getitem__)
    mine = _score(matrix, curvature, dense, target, found)
    assert mine == pytest.approx(scores[index], rel=1e-6)
    if not with_curvature:
        assert max(scores) > 1.01 * scores[index]  # the choice matters here


def test_ridge_grows_with_the_noise_and_helps():
    problem = _problem("identity", 1.0)
    features = _random(72, 60, seed=6) * torch.logspace(0, -3, 60, dtype=torch.float64)
    reference = features @ torch.ones(60, 1, dtype=torch.float64)
    noise = _random(72, 1, seed=7)
    ridges, errors = [], []
    for sigma in (1e-6, 0.01, 1.0):
        data = reference + sigma * noise
        matrix, right, energy = project_features(problem, features).normal_equations(data, torch.ones(72, 1))
        curvature = torch.zeros_like(matrix)
        ridges.append(generalised_cross_validation(matrix, right, energy, curvature, 72))
        chosen, plain = solve_head(matrix, right, ridges[-1]), solve_head(matrix, right, 0.0)
        errors.append([float((features @ w - reference).norm()) for w in (chosen, plain)])
    assert ridges[0] < 0.01 * ridges[1] < 0.01 * ridges[2]
    assert errors[2][0] < 0.7 * errors[2][1]
    assert errors[0][0] < 2 * errors[0][1]
