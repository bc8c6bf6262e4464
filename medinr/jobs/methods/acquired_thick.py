"""Methods for scans of thick slices of which only the file is given: each has the whole scan, and gives one plane.

What they are given says nothing of slice profile or noise. Seconds are the plane's share, estimates included.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from medinr.acquisition.acquired_thick import AcquiredThick
from medinr.errors import ConfigError
from medinr.jobs.methods.acquired import described
from medinr.jobs.methods.input import MethodInput, Outcome
from medinr.jobs.scan.in_memory import open_in_memory
from medinr.jobs.scan.methods import DEFAULT_METHOD
from medinr.jobs.scan.superres import refined
from medinr.jobs.scan.target import WantedGrid, plan_grid


def by_linear(case: MethodInput) -> Outcome:
    """Linear interpolation."""
    return Outcome(require_thick(case).interpolated(case.problem.data, 1))


def by_scan_superres(case: MethodInput) -> Outcome:
    """What `medinr superres --like` does, on a band of planes; the noise is found in the whole scan."""
    return by_superres_networks(DEFAULT_METHOD, case)


def by_superres_networks(method: str, case: MethodInput) -> Outcome:
    """Do the same by a method of `medinr.jobs.scan.methods.SHARPENERS`."""
    acquisition, started = require_thick(case), time.perf_counter()
    opened = open_in_memory(acquisition.scan, model=case.model)
    band, scan = acquisition.band(case.position), acquisition.scan
    affine = scan.affine.copy()
    affine[:3, 3] += band.start * affine[:3, 1]
    part = replace(scan, array=scan.array[:, band.start : band.stop].copy(), affine=affine)
    grid, _ = plan_grid(part, WantedGrid(like=acquisition.grid(band)), None)
    noise = opened.noise
    if noise.sigma_map is not None:
        noise = replace(noise, sigma_map=noise.sigma_map[:, band.start : band.stop])
    found, residual = refined(part, grid, noise, opened.model, method=method, blend=opened.blend.value)
    seconds = (time.perf_counter() - started) / len(band)
    plane = torch.from_numpy(found.array[:, case.position - band.start].copy())
    effect = "" if opened.blend.value == 1 else f", effect {opened.blend.value:g}"
    return Outcome(plane, seconds, reason=f"{described(noise)}; residual {residual:.2f} of it{effect}")


def require_thick(case: MethodInput) -> AcquiredThick:
    """Return the acquisition of a thick scan (raises `ConfigError` for another)."""
    if not isinstance(case.acquisition, AcquiredThick):
        raise ConfigError(
            f"This method is for scans of thick slices as they were acquired; got a measurement of "
            f"{case.acquisition.task}."
        )
    return case.acquisition
