"""Volumes of a scan denoised, together or one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.jobs.scan.effect import applied, untouched
from medinr.jobs.scan.kept import KeptVolumes
from medinr.jobs.scan.methods import DENOISERS, Progress, require_method
from medinr.jobs.scan.prepare import ScanJob
from medinr.jobs.scan.series import SeriesPlan, denoise_together
from medinr.jobs.scan.volumes import treat_volumes
from medinr.models.model import Model
from medinr.noise.scan_noise import ScanNoise
from medinr.solve.unfinished import Unfinished
from medinr.volume import Volume


def denoised(
    volume: Volume,
    noise: ScanNoise,
    model: Model,
    *,
    method: str,
    blend: float = 1.0,
    mask: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
    unfinished: Unfinished | None = None,
) -> NDArray[Any]:
    """Denoise one volume.

    Parameters
    ----------
    volume : Volume
    noise : ScanNoise
    model : Model
    method : str
        Of `medinr.jobs.scan.methods.DENOISERS`.
    blend : float
        0 gives the input, 1 the full effect.
    mask : ndarray of bool, shape (z, y, x), optional
        What is treated.
    progress : callable, optional
    unfinished : Unfinished, optional
        State of a run that was stopped.

    Returns
    -------
    ndarray, shape (z, y, x)
        Values outside the field of view, of a blanked background and outside the mask are those of the scan.
    """
    full = DENOISERS[require_method(method, DENOISERS)](volume, noise, model, progress, unfinished)
    return applied(volume.array, full, blend, untouched(volume, mask))


def denoise_volumes(job: ScanJob, plan: SeriesPlan, kept: KeptVolumes, progress: Progress | None = None) -> None:
    """Denoise every volume of a job that is not kept yet, and keep each as soon as it is there.

    Parameters
    ----------
    job : ScanJob
    plan : SeriesPlan
    kept : KeptVolumes
    progress : callable, optional
        Called with slices done and slices in all, over all volumes.
    """
    if plan.groups:
        denoise_together(job, plan, kept, progress)
        return

    def treat(volume: Volume, report: Progress, unfinished: Unfinished) -> tuple[NDArray[Any], dict[str, float]]:
        values = denoised(
            volume,
            job.noise,
            job.model,
            method=job.request.method,
            blend=job.blend.value,
            mask=job.mask,
            progress=report,
            unfinished=unfinished,
        )
        return values, {}

    treat_volumes(job.source, kept, job.source.first.shape[0], treat, progress)
