import pytest
import torch

from medinr.errors import ConfigError
from medinr.operators import Gaussian, Identity, ParallelBeam, TransmissionPoisson
from medinr.solve.data_consistency import DataConsistency
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.solve.krylov import cgls
from medinr.solve.preconditioner import Preconditioner
from medinr.solve.problem import Problem


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disc(size: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    return torch.sigmoid(18 * (0.75 - torch.hypot(y, x))) * (1 + 0.2 * torch.sin(9 * x) * torch.cos(7 * y))


def low_dose(size: int = 48, views: int = 90, thickness: float = 6.0) -> Problem:
    """A disc that lets exp(-thickness) of the photons through its middle."""
    operator = ParallelBeam((size, size), (1.0, 1.0), torch.linspace(0, torch.pi, views + 1)[:-1])
    image = disc(size) * thickness / (0.75 * size)
    noise = TransmissionPoisson(1e5)
    return Problem(noise.sample(operator(image), seeded()), operator, noise, (1.0, 1.0), scale=float(image.max()))


def weights_of(problem: Problem) -> torch.Tensor:
    return problem.noise.surrogate(problem.data, problem.data)[1]


def test_of_an_image_measured_directly_it_is_the_inverse():
    problem = Problem(torch.rand(12, 9, generator=seeded()), Identity((12, 9)), Gaussian(0.1), (1.0, 1.0), scale=2.0)
    found = Preconditioner.measured(problem, torch.full((12, 9), 100.0))
    gradient = torch.randn(12, 9, generator=seeded(1))
    torch.testing.assert_close(found(gradient, 3.0), gradient / (2.0**2 * 100 + 3), rtol=1e-4, atol=1e-7)


def test_it_is_symmetric_and_positive_definite():
    problem = low_dose(12, 7)
    found = Preconditioner.measured(problem, weights_of(problem))
    columns = [found(unit.reshape(12, 12), 5.0).flatten() for unit in torch.eye(144)]
    matrix = torch.stack(columns, 1).double()
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-3, atol=1e-4 * float(matrix.abs().max()))
    assert torch.linalg.eigvalsh((matrix + matrix.T) / 2).min() > 0


def test_the_iterations_lead_to_the_same_image(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("medinr.solve.krylov.TOLERANCE", 1e-6)
    problem = low_dose(12, 20)
    weight, regularisation = weights_of(problem), 1000.0
    matrix = torch.stack([problem.predict(unit.reshape(12, 12)).flatten() for unit in torch.eye(144)], 1).double()
    normal = matrix.T @ (weight.flatten().double().unsqueeze(1) * matrix) + regularisation * torch.eye(144)
    wanted = torch.linalg.solve(normal, matrix.T @ (weight * problem.data).flatten().double()).reshape(12, 12)
    found = Preconditioner.measured(problem, weight)
    change, left = cgls(problem, problem.data, 100, weight=weight, regularisation=regularisation, preconditioner=found)
    torch.testing.assert_close(change.double(), wanted, rtol=0, atol=2e-3 * float(wanted.abs().max()))
    torch.testing.assert_close(left, problem.data - problem.predict(change), rtol=0, atol=1e-4)


@pytest.mark.parametrize("level", [0.03, 0.01])
def test_few_iterations_solve_projections_of_few_photons(level: float):
    problem = low_dose()
    given = {"weight": weights_of(problem), "regularisation": 1 / level**2}
    weight = given["weight"]
    assert weight.amax() > 200 * weight.amin()
    found = Preconditioner.measured(problem, weight)
    solved, _ = cgls(problem, problem.data, 400, preconditioner=found, **given)
    with_it, without = (
        (cgls(problem, problem.data, 8, preconditioner=one, **given)[0] - solved).norm() / solved.norm()
        for one in (found, None)
    )
    assert with_it < 0.3 * without


def test_pixels_that_no_ray_meets_do_no_harm(monkeypatch: pytest.MonkeyPatch):
    """Three elements in the middle of the detector see a third of the image."""
    monkeypatch.setattr("medinr.solve.krylov.TOLERANCE", 1e-6)
    operator = ParallelBeam((16, 16), (1.0, 1.0), [0.0, 0.7, 1.6], detector_count=3)
    problem = Problem(torch.ones(operator.range.shape), operator, Gaussian(0.1), (1.0, 1.0), scale=1.0)
    found = Preconditioner.measured(problem, weights_of(problem))
    change, _ = cgls(problem, problem.data, 30, weight=weights_of(problem), regularisation=1.0, preconditioner=found)
    assert torch.isfinite(change).all()
    assert operator.H(torch.ones(3, 3))[0, 15] == 0
    assert change[0, 15] == pytest.approx(0, abs=1e-3)
    seen = problem.predict(change)
    torch.testing.assert_close(seen, problem.data, rtol=0, atol=0.02)


def test_data_consistency_measures_it_once_and_only_where_levels_are_low(monkeypatch: pytest.MonkeyPatch):
    problem = low_dose(16, 10)
    asked: list[torch.Tensor] = []
    measured = Preconditioner.measured

    def remembered(problem: Problem, weight: torch.Tensor) -> Preconditioner:
        asked.append(weight)
        return measured(problem, weight)

    monkeypatch.setattr(Preconditioner, "measured", remembered)
    half = torch.arange(10).unsqueeze(1).expand(problem.data.shape) % 2 == 0
    for below, fitted in ((0.08, None), (0.08, half), (0.03, None)):
        consistency = PlugAndPlaySettings(coarse_above=below).consistency(problem, fitted)
        assert isinstance(consistency, DataConsistency)
        for level in (0.1, 0.06, 0.04):
            consistency.solve(torch.zeros(16, 16), level)
    assert len(asked) == 2
    torch.testing.assert_close(asked[1], weights_of(problem) * half)


@pytest.mark.parametrize("below", [-0.1, float("nan")])
def test_levels_below_zero_are_refused(below: float):
    with pytest.raises(ConfigError, match=r"coarse_above and .* of 0 or more"):
        PlugAndPlaySettings(coarse_above=below)


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 5)])
def test_what_is_no_projection_is_solved_without(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Preconditioner, "measured", lambda *_: pytest.fail("measured"))
    spacing = (1.0,) * len(shape)
    problem = Problem(
        torch.ones(shape, dtype=torch.complex64), Identity(shape), Gaussian(0.5), spacing, True, scale=1.0
    )
    change = PlugAndPlaySettings(coarse_above=1.0).consistency(problem).solve(torch.zeros(shape), 0.5)
    # Half from the measurement and half from the denoised image, as both are equally certain.
    torch.testing.assert_close(change, torch.full(shape, 0.5, dtype=torch.complex64))
