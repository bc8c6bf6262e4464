"""What `medinr denoise` leaves in its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from medinr.jobs.scan.effect import edge_correlation, untouched
from medinr.jobs.scan.forecast import Forecast
from medinr.jobs.scan.kept import KeptVolumes
from medinr.jobs.scan.outputs import Treated, write_sigma, write_volumes
from medinr.jobs.scan.pictures import write_pictures
from medinr.jobs.scan.prepare import ScanJob
from medinr.jobs.scan.result import ScanOutcome, write_result
from medinr.jobs.scan.series import SeriesPlan

_LABELS = ("as it was acquired", "denoised", "removed (own scale)")


@dataclass
class _Removed:
    """Sums over the voxels that were treated, of all volumes."""

    voxels: int = 0
    squares: float = 0.0
    over_sigma: float = 0.0
    correlation: float = 0.0


def write_denoised(
    job: ScanJob, plan: SeriesPlan, kept: KeptVolumes, expected: Forecast, seconds: float
) -> ScanOutcome:
    """Write all outputs of a job whose volumes are kept, ``result.json`` last; the kept volumes are removed then.

    Parameters
    ----------
    job : ScanJob
    plan : SeriesPlan
        How the volumes were denoised.
    kept : KeptVolumes
    expected : Forecast
    seconds : float
        Wall time so far.
    """
    removed = _Removed()
    pictures: list[str] = []
    written = write_volumes(
        job, "denoised", "denoise", job.source.first, _treated(job, kept, removed, pictures), with_change=True
    )
    outcome = write_result(
        job,
        "denoise",
        expected,
        seconds,
        outputs=[*written.outputs, *write_sigma(job), *pictures],
        facts={"removed": _facts(removed)} | ({"series": plan.facts} if job.source.count > 1 else {}),
        dicom=written.dicom,
        notes=[*([plan.words] if plan.words else []), *written.notes],
    )
    kept.remove()
    return outcome


def _treated(job: ScanJob, kept: KeptVolumes, removed: _Removed, pictures: list[str]) -> Iterator[Treated]:
    middle = job.source.count // 2
    for number, before in enumerate(job.source.volumes()):
        values, _ = kept.required(number)
        after = before.with_array(values)
        change: Any = before.array - after.array
        _add(removed, job, before.array, change, number)
        if number == middle:
            pictures += _pictures(job, Treated(before, after, change), number)
        yield Treated(before, after, change)


def _add(removed: _Removed, job: ScanJob, values: Any, change: Any, number: int) -> None:
    noise = job.noise
    for plane in range(len(change)):
        some = change[plane] != 0
        squares = np.abs(change[plane][some].astype(np.complex128 if np.iscomplexobj(change) else np.float64)) ** 2
        removed.voxels += int(some.sum())
        removed.squares += float(squares.sum())
        if noise.sigma > 0:
            sigma = noise.sigma if noise.sigma_map is None else noise.sigma_map[plane][some]
            removed.over_sigma += float((squares / np.square(sigma)).sum())
    if number == 0:
        kept = untouched(job.source.first, job.mask)
        removed.correlation = edge_correlation(values - change, change, kept)


def _pictures(job: ScanJob, one: Treated, number: int) -> list[str]:
    noise = job.noise
    which = f", volume {number}" if job.source.count > 1 else ""
    title = f"Denoised{which}: sigma {noise.sigma:.4g} {one.before.unit}, {noise.kind}; blend {job.blend.value:g}"
    assert one.change is not None
    full = one.change / job.blend.value if job.blend.value > 0 else None
    return write_pictures(job.request.out, one.before, one.after, one.change, title, _LABELS, noise, full)


def _facts(removed: _Removed) -> dict[str, float | int]:
    count = max(1, removed.voxels)
    values = {
        "root_mean_square": math.sqrt(removed.squares / count),
        "root_mean_square_over_sigma": math.sqrt(removed.over_sigma / count),
        "correlation_with_edges": removed.correlation,
    }
    return {"voxels": removed.voxels, **{name: float(f"{value:.4g}") for name, value in values.items()}}
