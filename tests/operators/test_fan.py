import math

import pytest
import torch

from medinr.errors import GeometryError, ShapeError
from medinr.operators import FanBeam, ParallelBeam


def _turn(count, span=2 * math.pi):
    return torch.arange(count, dtype=torch.float64) * span / count


def _blob(shape, spacing, centre, width):
    y, x = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * d for n, d in zip(shape, spacing, strict=True))
    return torch.exp(-((x[None] - centre[0]) ** 2 + (y[:, None] - centre[1]) ** 2) / (2 * width**2))


@pytest.mark.parametrize("curved", [False, True])
def test_a_point_falls_where_the_source_throws_its_shadow(curved):
    shape, spacing, point = (81, 61), (0.7, 1.1), (9.0, -5.0)
    fan = FanBeam(shape, spacing, _turn(16), 70.0, 120.0, 200, 0.8, curved=curved, detector_offset=4.0)
    sinogram = fan(_blob(shape, spacing, point, 1.5))
    found = (sinogram * fan.offsets).sum(-1) / sinogram.sum(-1)
    theta = fan.angles
    source = torch.stack([-70.0 * theta.sin(), -70.0 * theta.cos()])
    ray = torch.tensor(point, dtype=torch.float64)[:, None] - source
    across = ray[0] * theta.cos() - ray[1] * theta.sin()
    along = ray[0] * theta.sin() + ray[1] * theta.cos()
    expected = 120.0 * (torch.atan2(across, along) if curved else across / along)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_the_source_starts_above_and_moves_counterclockwise():
    # Near the source things look larger: at 0 that is the top of the image, at pi/2 its left.
    fan = FanBeam((81, 81), (1.0, 1.0), [0.0, math.pi / 2], 100.0, 150.0, 300, 0.7)

    def width(centre):
        shadow = fan(_blob((81, 81), (1.0, 1.0), centre, 2.0))
        mean = (shadow * fan.offsets).sum(-1) / shadow.sum(-1)
        return ((shadow * (fan.offsets - mean[:, None]) ** 2).sum(-1) / shadow.sum(-1)).sqrt()

    assert width((0.0, -30.0))[0] > 1.5 * width((0.0, 30.0))[0]
    assert width((-30.0, 0.0))[1] > 1.5 * width((30.0, 0.0))[1]


def test_a_distant_source_makes_parallel_beams():
    shape, spacing, far = (40, 53), (1.2, 0.9), 1e9
    image = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    angles = torch.tensor([0.0, 0.4, 1.6, 2.9, 4.5], dtype=torch.float64)
    parallel = ParallelBeam(shape, spacing, angles, 80, 0.8, centre=-3.0)(image)
    for curved in (False, True):
        fan = FanBeam(shape, spacing, angles, far, far, 80, 0.8, detector_offset=3.0, curved=curved)
        torch.testing.assert_close(fan(image), parallel, atol=1e-4, rtol=0)


@pytest.mark.parametrize("curved", [False, True])
def test_every_ray_is_one_of_a_parallel_scan(curved):
    shape, spacing = (41, 37), (0.9, 1.1)
    image = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fan = FanBeam(shape, spacing, [0.7, 2.9], 45.0, 80.0, 9, 6.0, curved=curved, detector_offset=2.0)
    sinogram = fan(image)
    for view, angle in enumerate(fan.angles.tolist()):
        for element, gamma in enumerate(fan.fan_angles.tolist()):
            s = 45.0 * math.sin(gamma)
            ray = ParallelBeam(shape, spacing, [angle + gamma], 1, 1.0, centre=-s)(image)
            torch.testing.assert_close(sinogram[view, element], ray[0, 0])


def test_rebinning_a_fine_parallel_scan_gives_the_fan():
    shape, spacing = (64, 64), (1.0, 1.0)
    image = _blob(shape, spacing, (6.0, -4.0), 5.0) + 0.5 * _blob(shape, spacing, (-9.0, 8.0), 3.0)
    parallel = ParallelBeam(shape, spacing, _turn(720), 256, 0.5)
    fan = FanBeam(shape, spacing, _turn(12), 60.0, 100.0, 90, 1.3)
    phi, s = fan.lines()
    # Bilinear interpolation in (phi, s), phi beyond the turn taken from its start.
    sinogram = torch.cat([parallel(image), parallel(image)[:1]])
    at_view = torch.remainder(phi, 2 * math.pi) / (2 * math.pi) * 720
    at_element = s / 0.5 + 255 / 2
    grid = torch.stack([at_element / 255 * 2 - 1, at_view / 720 * 2 - 1], dim=-1)
    rebinned = torch.nn.functional.grid_sample(sinogram[None, None], grid[None], align_corners=True)[0, 0]
    assert float((rebinned - fan(image)).abs().max()) < 0.005 * float(rebinned.max())


def test_agrees_with_astra_by_the_documented_turn():
    # astra-toolbox 2.5.0: fanflat, 6 elements of 4, angles 0.3 and 2, 60 to the axis and 40 on, line_fanflat.
    rows = [[0.368, 1.256, 3.33, 6.781, 10.529, 12.451], [1.887, 3.939, 6.856, 9.935, 12.014, 12.148]]
    theirs = torch.tensor(rows, dtype=torch.float64)
    image = _blob((41, 31), (1.0, 1.0), (5.0, -7.0), 5.0)
    ours = FanBeam((41, 31), (1.0, 1.0), torch.tensor([0.3, 2.0]) + math.pi, 60.0, 100.0, 6, 4.0)(image).flip(-1)
    torch.testing.assert_close(ours, theirs, atol=0.05, rtol=0)


def test_opposite_rays_are_equal():
    image = torch.rand(31, 31, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    fan = FanBeam((31, 31), (1, 1), [0.3], 40.0, 60.0, 21, 1.5, curved=True)
    seen = fan(image)[0]
    for element, gamma in enumerate(fan.fan_angles.tolist()):
        back = FanBeam((31, 31), (1, 1), [0.3 + math.pi + 2 * gamma], 40.0, 60.0, 21, 1.5, curved=True)
        torch.testing.assert_close(back(image)[0, 20 - element], seen[element])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"spacing": (1.0, 0.0)}, GeometryError, "positive pixel sizes"),
        ({"shape": (4,)}, ShapeError, r"shape \(y, x\)"),
        ({"angles": []}, GeometryError, "finite angles"),
        ({"source_origin": -1.0}, GeometryError, "source to the axis"),
        ({"source_detector": float("inf")}, GeometryError, "source to the detector"),
        ({"source_detector": 8.0}, GeometryError, "swapped"),
        ({"source_origin": 2.0}, GeometryError, "outside the image"),
        ({"detector_count": 0}, GeometryError, "one detector element"),
        ({"detector_spacing": 0.0}, GeometryError, "positive detector spacing"),
        ({"detector_offset": float("nan")}, GeometryError, "finite detector offset"),
        ({"curved": True, "detector_count": 100}, GeometryError, "half a rotation"),
    ],
)
def test_impossible_geometry_is_refused(changes, error, words):
    good = {
        "shape": (4, 4),
        "spacing": (1.0, 1.0),
        "angles": [0.0],
        "source_origin": 10.0,
        "source_detector": 20.0,
        "detector_count": 6,
        "detector_spacing": 1.0,
    }
    assert FanBeam(**good).range.shape == (1, 6)
    with pytest.raises(error, match=words):
        FanBeam(**{**good, **changes})
