import math

import pytest
import torch

from medinr.errors import ConfigError
from medinr.operators import (
    Gaussian,
    Identity,
    LinearOperator,
    ParallelBeam,
    SliceProfile,
    birdcage_maps,
    downsampling,
    undersampled_fourier,
)
from medinr.solve.problem import Problem
from medinr.uncertainty.null_space import null_space_part

SHAPE = (8, 6)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def posed(operator: LinearOperator, complex_image: bool, scale: float = 2.0) -> Problem:
    kind = torch.complex128 if operator.range.kind == "complex" else torch.float64
    data = torch.zeros(operator.range.shape, dtype=kind)
    return Problem(data, operator, Gaussian(0.3), (1.0, 1.0), complex_image, scale)


def image(complex_image: bool) -> torch.Tensor:
    kind = torch.complex128 if complex_image else torch.float64
    return torch.randn(SHAPE, generator=seeded(), dtype=kind)


def parallel_beam() -> ParallelBeam:
    angles = torch.arange(3, dtype=torch.float64) * (math.pi / 3)
    return ParallelBeam(SHAPE, (1.0, 1.0), angles, 9, 1.0)


OPERATORS = {
    "lines": (lambda: undersampled_fourier(SHAPE, [1, 3, 4, 6]), True),
    "coils": (lambda: undersampled_fourier(SHAPE, [1, 4, 6], birdcage_maps(SHAPE, 2).to(torch.complex128)), True),
    "coarse pixels": (lambda: downsampling(SHAPE, (1.0, 1.0), 2), False),
    "projections": (parallel_beam, False),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_part_is_the_orthogonal_projection_onto_what_is_not_measured(name):
    make, complex_image = OPERATORS[name]
    problem, x = posed(make(), complex_image), image(complex_image)
    unseen = null_space_part(problem, x, tolerance=1e-9)
    assert torch.linalg.vector_norm(problem.predict(unseen)) < 1e-6 * torch.linalg.vector_norm(problem.predict(x))
    # It is a part: what is left is orthogonal to it, and it has no other part itself.
    product = torch.vdot((x - unseen).flatten(), unseen.flatten()).abs()
    assert product < 1e-6 * torch.linalg.vector_norm(x) ** 2
    torch.testing.assert_close(null_space_part(problem, unseen, tolerance=1e-9), unseen, rtol=0, atol=1e-5)


def test_of_undersampled_lines_it_is_what_the_other_lines_say():
    lines = [1, 3, 4, 6]
    others = [line for line in range(SHAPE[0]) if line not in lines]
    problem, x = posed(undersampled_fourier(SHAPE, lines), True), image(True)
    rest = undersampled_fourier(SHAPE, others)
    torch.testing.assert_close(null_space_part(problem, x), rest.H(rest(x)), rtol=0, atol=1e-12)


def test_where_every_pixel_is_measured_nothing_is_left():
    x = image(False)
    assert null_space_part(posed(Identity(SHAPE), False), x).abs().max() < 1e-12


def test_an_image_of_nothing_has_no_parts():
    problem = posed(undersampled_fourier(SHAPE, [1, 3]), True)
    assert not null_space_part(problem, torch.zeros(SHAPE, dtype=torch.complex128)).any()


def test_it_is_linear_and_does_not_depend_on_unit_or_data():
    make, complex_image = OPERATORS["coils"]
    x = image(complex_image)
    unseen = null_space_part(posed(make(), complex_image), x, tolerance=1e-9)
    scaled = null_space_part(posed(make(), complex_image, scale=100.0), 7 * x, tolerance=1e-9)
    torch.testing.assert_close(scaled, 7 * unseen, rtol=0, atol=1e-5)


def test_of_thick_slices_it_is_what_changes_within_them():
    """A volume: slices of a rectangular profile are means, so what is left of them has the mean zero in each."""
    operator = SliceProfile((6, 3, 4), 1.0, 2.0, profile="rect")
    data = torch.zeros(operator.range.shape, dtype=torch.float64)
    x = torch.randn(6, 3, 4, generator=seeded(), dtype=torch.float64)
    unseen = null_space_part(Problem(data, operator, Gaussian(0.3), (1.0,) * 3, scale=1.0), x, tolerance=1e-9)
    means = x.reshape(3, 2, 3, 4).mean(1).repeat_interleave(2, dim=0)
    torch.testing.assert_close(unseen, x - means, rtol=0, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"tolerance": 0.0}, {"tolerance": 1.0}])
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match="null space"):
        null_space_part(posed(Identity(SHAPE), False), image(False), **wrong)
