import math

import pytest
import sigpy.mri
import torch

from medinr.errors import ConfigError, ShapeError
from medinr.operators import (
    NonUniformFourier,
    cartesian_trajectory,
    iterative_density,
    radial_density,
    radial_trajectory,
    spiral_trajectory,
)


def _phantom(n):
    """An ellipse that holds a disc, well inside the field of view, with soft edges."""
    y, x = (cartesian_trajectory((n, n)) / n).unbind(-1)
    ellipse = torch.sigmoid(n * (0.33 - torch.hypot(y / 0.9, x)) / 2)
    disc = torch.sigmoid(n * (0.1 - torch.hypot(y - 0.1, x + 0.05)) / 2)
    return (ellipse + 0.5 * disc).to(torch.complex128)


def test_cartesian_trajectory_counts_from_the_centre():
    trajectory = cartesian_trajectory((4, 3))
    assert trajectory.shape == (4, 3, 2)
    assert trajectory[0, 0].tolist() == [-2, -1]
    assert trajectory[2, 1].tolist() == [0, 0]


def test_spokes_pass_the_centre_at_equal_angles():
    trajectory = radial_trajectory(4, 10, (20, 20))
    torch.testing.assert_close(trajectory[:, 5], torch.zeros(4, 2, dtype=torch.float64))
    torch.testing.assert_close(trajectory[0, :, 1], torch.arange(-10.0, 10, 2, dtype=torch.float64))
    angle = torch.atan2(trajectory[:, -1, 0], trajectory[:, -1, 1])
    torch.testing.assert_close(angle, math.pi / 4 * torch.arange(4, dtype=torch.float64))


def test_golden_angle_is_that_of_the_paper():
    trajectory = radial_trajectory(3, 8, (8, 8), golden=True)
    angle = torch.atan2(trajectory[1, -1, 0], trajectory[1, -1, 1])
    assert math.degrees(float(angle)) == pytest.approx(111.246, abs=1e-3)


def test_golden_angle_is_half_that_of_sigpy_the_other_way_round():
    """SigPy's spokes start in the centre, so its angle divides the full circle, ours the half circle of diameters."""
    theirs = torch.from_numpy(sigpy.mri.radial((7, 8, 2), (16, 16), golden=True))[:, -1]
    ours = radial_trajectory(7, 16, (16, 16), golden=True)[:, -1]
    angle, half = (torch.atan2(k[:, 0], k[:, 1]) for k in (theirs, ours))
    one = torch.polar(torch.ones(7, dtype=torch.float64), angle + 2 * half)
    torch.testing.assert_close(one, torch.ones_like(one))


def test_a_rectangle_of_square_pixels_has_the_same_reach_along_both_axes():
    trajectory = radial_trajectory(2, 8, (20, 10))
    assert float(trajectory[0, :, 1].min()) == -5
    assert float(trajectory[1, :, 0].min()) == -10


def test_spirals_run_outwards_at_constant_speed():
    trajectory = spiral_trajectory(3, 900, (32, 32), turns=5)
    radius = torch.linalg.vector_norm(trajectory, dim=-1)
    assert float(radius[:, 0].max()) == 0
    torch.testing.assert_close(radius[:, -1], torch.full((3,), 16.0, dtype=torch.float64))
    assert bool((radius.diff(dim=1) > 0).all())
    steps = torch.linalg.vector_norm(trajectory.diff(dim=1), dim=-1)[:, 3:]
    assert float(steps.max() / steps.min()) < 1.02
    # An Archimedean spiral's radius is proportional to its angle: five turns, each 16 / 5 further out.
    complex_path = torch.view_as_complex(trajectory[0].flip(-1).contiguous())[1:]
    turned = torch.cumsum((complex_path[1:] / complex_path[:-1]).angle(), 0)
    first = float(complex_path[0].angle())
    torch.testing.assert_close(radius[0, 2:], (turned + first) / (2 * math.pi) * 16 / 5, rtol=1e-4, atol=1e-4)


def test_interleaves_are_turned_copies():
    trajectory = spiral_trajectory(4, 100, (32, 32), turns=3)
    first = torch.view_as_complex(trajectory[0].flip(-1).contiguous())
    second = torch.view_as_complex(trajectory[1].flip(-1).contiguous())
    torch.testing.assert_close(second, 1j * first)


def test_variable_density_spirals_are_denser_near_the_centre():
    """Share of the turns inside half the radius: a half, or the root of a half."""
    for density, share in ((1.0, 0.5), (2.0, 0.5**0.5)):
        path = torch.view_as_complex(spiral_trajectory(1, 4000, (64, 64), 8, density)[0].flip(-1).contiguous())[1:]
        turned = torch.cumsum((path[1:] / path[:-1]).angle(), 0) / (2 * math.pi)
        outside = turned[-1] - turned[path[1:].abs() <= 16][-1]
        assert float(outside) == pytest.approx(8 * (1 - share), abs=0.05)


def test_radial_density_is_the_area_of_the_disc():
    for golden in (False, True):
        trajectory = radial_trajectory(13, 20, (20, 20), golden)
        weights = radial_density(trajectory, (20, 20))
        # The outermost sample at -10 reaches to -10.5, the one at 9 to 9.5.
        expected = math.pi * (10.5**2 + 9.5**2) / 2
        assert float(weights.sum()) == pytest.approx(expected)
        assert bool((weights > 0).all())


def test_radial_density_of_equal_spokes_grows_with_the_radius():
    weights = radial_density(radial_trajectory(10, 16, (16, 16)), (16, 16))
    torch.testing.assert_close(weights[:, 12], torch.full((10,), 4 * math.pi / 10, dtype=torch.float64))
    torch.testing.assert_close(weights[:, 8], torch.full((10,), math.pi / 40, dtype=torch.float64))


def test_iterative_density_of_a_cartesian_scan_is_one():
    for shape in ((9, 8), (5, 4, 6)):
        weights = iterative_density(cartesian_trajectory(shape), shape, 5)
        torch.testing.assert_close(weights, torch.ones(shape, dtype=torch.float64), rtol=0, atol=1e-4)


def test_iterative_density_halves_what_is_measured_twice():
    trajectory = cartesian_trajectory((6, 8))
    twice = torch.cat([trajectory.reshape(-1, 2), trajectory.reshape(-1, 2)[:10]])
    weights = iterative_density(twice, (6, 8), 10)
    torch.testing.assert_close(weights[10:48], torch.ones(38, dtype=torch.float64), rtol=0, atol=1e-4)
    torch.testing.assert_close(weights[:10], torch.full((10,), 0.5, dtype=torch.float64), rtol=0, atol=1e-4)


@pytest.mark.parametrize("path", ["radial", "golden", "spiral"])
def test_density_compensation_makes_the_adjoint_an_inverse(path):
    n = 48
    image = _phantom(n)
    trajectory = {
        "radial": lambda: radial_trajectory(80, 2 * n, (n, n)),
        "golden": lambda: radial_trajectory(89, 2 * n, (n, n), golden=True),
        "spiral": lambda: spiral_trajectory(4, 900, (n, n), turns=8),
    }[path]()
    transform = NonUniformFourier((n, n), trajectory)

    def error(weights):
        return float((transform.H(weights * transform(image)) - image).norm() / image.norm())

    assert error(iterative_density(trajectory, (n, n))) < 0.05
    if path != "spiral":
        assert error(radial_density(trajectory, (n, n))) < 0.05
    assert error(torch.ones(trajectory.shape[:-1])) > 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: radial_trajectory(0, 4, (4, 4)),
        lambda: radial_trajectory(4, 0, (4, 4)),
        lambda: spiral_trajectory(1, 1, (4, 4), 2),
        lambda: spiral_trajectory(1, 10, (4, 4), 0),
        lambda: spiral_trajectory(1, 10, (4, 4), 2, math.nan),
        lambda: iterative_density(torch.zeros(3, 2), (4, 4), 0),
        lambda: radial_density(spiral_trajectory(2, 20, (8, 8), 2), (8, 8)),
    ],
)
def test_impossible_paths_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_impossible_shapes_are_refused():
    with pytest.raises(ShapeError, match="other axes"):
        iterative_density(torch.zeros(3, 2), (4, 4, 4))
    with pytest.raises(ShapeError, match=r"\(spoke, readout, 2\)"):
        radial_density(torch.zeros(3, 2), (4, 4))
