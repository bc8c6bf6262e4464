"""How long it will take to bring a scan to a finer grid, from a few planes of the size that are denoised then."""

from __future__ import annotations

import math
import time

import torch

from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.sharpen_grid import SAME_SPACING, TargetGrid
from medinr.solve.sharpen_planes import AlternatingPlanes, directions
from medinr.solve.sharpen_settings import SharpenSettings
from medinr.volume import Volume

#: Pixels of a plane that is timed, at most: a pixel of larger ones takes as long, one of much smaller ones twice that.
MOST_PIXELS = 2**15

#: Planes per thread that are timed, again and again for so many seconds in all, as other programs take their share.
_PLANES, _SECONDS = 4, 1.5

#: Noise level, which does not matter for the time.
_LEVEL = 0.1


@torch.no_grad()
def sharpening_seconds(
    volume: Volume, grid: TargetGrid, prior: DenoiserPrior, settings: SharpenSettings | None = None
) -> float:
    """Expect the time of `medinr.solve.sharpen_scan.sharpen_scan`, nearly all of which is the denoiser's.

    Parameters
    ----------
    volume : Volume
        The scan.
    grid : TargetGrid
    prior : DenoiserPrior
    settings : SharpenSettings, optional

    Returns
    -------
    float
        In seconds: of every direction as many iterations as there will be, of as many pixels.
    """
    settings = SharpenSettings() if settings is None else settings
    x, y, z = (new < old * (1 - SAME_SPACING) for new, old in zip(grid.spacing, volume.spacing, strict=True))
    axes = directions(grid.spacing, (z, y, x))
    planes = AlternatingPlanes(settings.with_precision(prior), axes)
    kind = torch.complex64 if volume.array.dtype.kind == "c" else torch.float32
    a_pixel = [_seconds_of_a_pixel(planes, grid.shape, kind, number) for number in range(len(axes))]
    return grid.voxels * sum(a_pixel[iteration % len(axes)] for iteration in range(settings.iterations))


def _seconds_of_a_pixel(
    planes: AlternatingPlanes, shape: tuple[int, int, int], kind: torch.dtype, iteration: int
) -> float:
    axis = planes.directions[iteration]
    whole = math.prod(shape) / shape[axis]
    share = min(1.0, math.sqrt(MOST_PIXELS / whole))
    size = [max(1, round(share * pixels)) for pixels in shape]
    size[axis] = min(shape[axis], _PLANES * torch.get_num_threads())
    slab = torch.rand(size, dtype=kind, generator=torch.Generator().manual_seed(0))
    # The first time libraries prepare for a size, and threads start.
    planes(slab, _LEVEL, iteration)
    started, rounds, seconds = time.perf_counter(), 0, 0.0
    while seconds < _SECONDS / len(planes.directions):
        planes(slab, _LEVEL, iteration)
        rounds, seconds = rounds + 1, time.perf_counter() - started
    return seconds / rounds / slab.numel()
