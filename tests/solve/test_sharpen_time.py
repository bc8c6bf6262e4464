"""The time of a finer grid is that of the denoiser's planes, of their own size, as often as there are iterations."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from medinr.solve import sharpen_time
from medinr.solve.sharpen_grid import grid_for
from medinr.solve.sharpen_settings import SharpenSettings
from medinr.solve.sharpen_time import sharpening_seconds
from medinr.volume import Volume

PLANE, PIXEL = 0.3, 1e-4


class Counting:
    """A denoiser on a clock of its own, which takes its time for a plane and for each of its pixels."""

    def __init__(self):
        self.clock, self.planes = 0.0, set()

    def denoise_all(self, planes, level, orientation):
        self.planes.add(tuple(planes.shape[1:]))
        self.clock += len(planes) * PLANE + planes.numel() * PIXEL
        return planes

    def denoise(self, plane, level, orientation):
        return self.denoise_all(plane.unsqueeze(0), level, orientation)[0]


@pytest.fixture
def counting(monkeypatch):
    found = Counting()
    monkeypatch.setattr(sharpen_time, "time", SimpleNamespace(perf_counter=lambda: found.clock))
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # so that time is not counted by two at once
    yield found
    torch.set_num_threads(before)


def scan(shape, spacing):
    return Volume(np.zeros(shape, np.float32), np.diag([*spacing, 1.0]), "MR")


@pytest.mark.parametrize(
    ("shape", "spacing", "factor", "planes"),
    [
        # Thick slices to cubic voxels: planes (z, x) and (z, y) by turns.
        ((10, 40, 30), (1.0, 1.0, 3.0), (1, 1, 3), [(30, 30), (30, 40)]),
        # Within slices: these alone.
        ((6, 20, 16), (1.0, 1.0, 4.0), (2, 2, 1), [(40, 32)]),
        # Cubic to finer cubic: all three.
        ((8, 12, 10), (1.0, 1.0, 1.0), (2, 2, 2), [(16, 20), (16, 24), (24, 20)]),
    ],
)
@pytest.mark.parametrize("iterations", [1, 5, 12])
def test_every_iteration_counts_with_its_own_planes(counting, shape, spacing, factor, planes, iterations):
    thick = scan(shape, spacing)
    grid = grid_for(thick, factor=factor)
    settings = SharpenSettings(iterations=iterations, precision="float32")
    expected = 0.0
    for iteration in range(iterations):
        y, x = planes[iteration % len(planes)]
        expected += grid.voxels / (y * x) * (PLANE + y * x * PIXEL)
    assert sharpening_seconds(thick, grid, counting, settings) == pytest.approx(expected, rel=1e-6)
    assert counting.planes == set(planes)


def test_of_large_planes_a_part_is_timed(counting):
    thick = scan((40, 600, 500), (1.0, 1.0, 3.0))
    grid = grid_for(thick, factor=(1, 1, 3))
    found = sharpening_seconds(thick, grid, counting, SharpenSettings(iterations=2, precision="float32"))
    assert all(0.9 * sharpen_time.MOST_PIXELS < y * x <= 1.02 * sharpen_time.MOST_PIXELS for y, x in counting.planes)
    # Planes of the part and of the whole have one shape, to within a pixel.
    assert {round(x / y, 1) for y, x in counting.planes} == {round(500 / 120, 1), round(600 / 120, 1)}
    a_pixel = PIXEL + PLANE / sharpen_time.MOST_PIXELS
    assert found == pytest.approx(2 * grid.voxels * a_pixel, rel=0.02)


def test_complex_scans_take_both_parts(counting):
    real = scan((10, 40, 30), (1.0, 1.0, 3.0))
    both = real.with_array(real.array.astype(np.complex64))
    grid, settings = grid_for(real, factor=(1, 1, 3)), SharpenSettings(iterations=3, precision="float32")
    once, twice = (sharpening_seconds(one, grid, counting, settings) for one in (real, both))
    assert twice == pytest.approx(2 * once, rel=1e-6)
