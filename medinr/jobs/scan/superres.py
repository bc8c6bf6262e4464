"""Volumes of a scan brought to a finer grid, one after the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.data.resample import continued_onto
from medinr.io.padding import HU_FLOOR
from medinr.jobs.scan.forecast import SMALL_PART, Forecast, forecast, memory
from medinr.jobs.scan.kept import KeptVolumes
from medinr.jobs.scan.methods import DEFAULT_METHOD, SHARPENERS, Progress, denoiser_of, require_method
from medinr.jobs.scan.prepare import ScanJob
from medinr.jobs.scan.target import FinerGrid, kept_on_target
from medinr.jobs.scan.volumes import treat_volumes
from medinr.models.model import Model
from medinr.noise.scan_noise import ScanNoise
from medinr.solve.sharpen_grid import grid_for
from medinr.solve.sharpen_time import sharpening_seconds
from medinr.solve.unfinished import Unfinished
from medinr.volume import Volume

#: Steps per volume in a progress bar over all volumes.
STEPS = 100


def refined(
    volume: Volume,
    grid: FinerGrid,
    noise: ScanNoise,
    model: Model,
    *,
    method: str,
    blend: float = 1.0,
    mask: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
    unfinished: Unfinished | None = None,
) -> tuple[Volume, float]:
    """Bring one volume to a finer grid.

    Parameters
    ----------
    volume : Volume
    grid : FinerGrid
    noise : ScanNoise
    model : Model
    method : str
        Of `medinr.jobs.scan.methods.SHARPENERS`.
    blend : float
        0 gives cubic splines, 1 the full effect.
    mask : ndarray of bool, shape of the volume, optional
        What is treated; elsewhere cubic splines stand.
    progress : callable, optional
    unfinished : Unfinished, optional
        State of a run that was stopped.

    Returns
    -------
    volume : Volume
        With the provenance of the scan.
    residual : float
        Of the full effect: root mean square of what it leaves of the scan, over sigma.
    """
    sharpen = SHARPENERS[require_method(method, SHARPENERS)]
    sharpened = sharpen(volume, grid, noise, model, progress, unfinished)
    solved, residual = sharpened.volume, float(sharpened.residual)
    full = solved.array if grid.target.final_shape is None else continued_onto(solved, grid.affine, grid.shape).array
    blank, masked = kept_on_target(volume, grid.affine, grid.shape, mask)
    result: Any = full
    if blend != 1.0 or masked.any():
        plain = continued_onto(volume, grid.affine, grid.shape).array
        result = np.empty_like(full)
        for number, plane in enumerate(plain):
            mixed = plane + np.float32(blend) * (full[number] - plane)
            result[number] = np.where(masked[number], plane, mixed)
    elif blank.any():
        result = full.copy()
    result[blank] = HU_FLOOR if volume.unit == "HU" else 0
    return Volume(result, grid.affine, volume.modality, volume.unit, volume.provenance.cut_anew()), residual


def forecast_refinement(job: ScanJob, grid: FinerGrid) -> Forecast:
    """Time a part of what a job will do: planes of the denoiser, or by other methods a part of the scan refined."""
    target, scan = grid.target, job.source.first
    voxels = max(target.voxels, math.prod(grid.shape))
    if require_method(job.request.method, SHARPENERS) == DEFAULT_METHOD:
        # In a small part of the scan planes across the slices are so small that a pixel takes twice as long.
        seconds = sharpening_seconds(scan, target, denoiser_of(job.model))
        return Forecast(seconds * job.source.count, memory(scan, voxels))
    factor = tuple(old / new for old, new in zip(scan.spacing, target.spacing, strict=True))

    def treat(part: Volume, noise: ScanNoise) -> None:
        finer = FinerGrid(grid_for(part, factor=factor), grid.thickness)
        refined(part, finer, noise, job.model, method=job.request.method)

    return forecast(scan, job.noise, job.source.count, treat, voxels, SMALL_PART)


def refine_volumes(job: ScanJob, grid: FinerGrid, kept: KeptVolumes, progress: Progress | None = None) -> None:
    """Bring every volume of a job that is not kept yet to a finer grid, and keep each as soon as it is there.

    Parameters
    ----------
    job : ScanJob
    grid : FinerGrid
    kept : KeptVolumes
    progress : callable, optional
        Called with steps done and steps in all, over all volumes.
    """

    def treat(volume: Volume, report: Progress, unfinished: Unfinished) -> tuple[NDArray[Any], dict[str, float]]:
        found, residual = refined(
            volume,
            grid,
            job.noise,
            job.model,
            method=job.request.method,
            blend=job.blend.value,
            mask=job.mask,
            progress=report,
            unfinished=unfinished,
        )
        return found.array, {"residual": residual}

    treat_volumes(job.source, kept, STEPS, treat, progress)
