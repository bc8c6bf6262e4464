"""What `medinr superres` leaves in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medinr.data.resample import continued_onto
from medinr.jobs.scan.forecast import Forecast
from medinr.jobs.scan.kept import KeptVolumes
from medinr.jobs.scan.outputs import Treated, write_sigma, write_volumes
from medinr.jobs.scan.pictures import write_pictures
from medinr.jobs.scan.prepare import ScanJob
from medinr.jobs.scan.result import ScanOutcome, grid_facts, write_result
from medinr.jobs.scan.target import FinerGrid
from medinr.volume import Volume

_LABELS = ("as it was acquired", "finer grid", "finer grid - cubic splines (own scale)")

#: Residuals over sigma beyond this say that the result does not explain the scan.
MOST_RESIDUAL = 1.5


def write_refined(
    job: ScanJob,
    grid: FinerGrid,
    kept: KeptVolumes,
    expected: Forecast,
    seconds: float,
    notes: Sequence[str] = (),
) -> ScanOutcome:
    """Write all outputs of a job whose volumes are kept, ``result.json`` last; the kept volumes are removed then.

    Parameters
    ----------
    job : ScanJob
    grid : FinerGrid
    kept : KeptVolumes
    expected : Forecast
    seconds : float
        Wall time so far.
    notes : sequence of str
        On the grid.
    """
    first = job.source.first
    blank: Any = np.broadcast_to(first.array.dtype.type(0), grid.shape)
    like = replace(first, array=blank, affine=grid.affine, provenance=first.provenance.cut_anew())
    residuals: list[float] = []
    pictures: list[str] = []
    written = write_volumes(
        job, "sharpened", "superres", like, _treated(job, like, kept, residuals, pictures), with_change=False
    )
    worst = max(residuals)
    warnings = (
        [
            f"the result, measured again, differs from the scan by {worst:.2f} times its noise: parts of the scan are "
            "not explained (motion between slices, or another slice thickness?)"
        ]
        if worst > MOST_RESIDUAL
        else []
    )
    outcome = write_result(
        job,
        "superres",
        expected,
        seconds,
        outputs=[*written.outputs, *write_sigma(job), *pictures],
        facts={
            "result_grid": grid_facts(like),
            "slice_thickness_mm": grid.thickness,
            "residual_over_sigma": [float(f"{one:.4g}") for one in residuals],
        },
        dicom=written.dicom,
        notes=[*notes, *written.notes],
        warnings=warnings,
    )
    kept.remove()
    return outcome


def _treated(
    job: ScanJob, like: Volume, kept: KeptVolumes, residuals: list[float], pictures: list[str]
) -> Iterator[Treated]:
    middle = job.source.count // 2
    for number, before in enumerate(job.source.volumes()):
        values, facts = kept.required(number)
        residuals.append(facts["residual"])
        after = replace(like, array=values, provenance=before.provenance.cut_anew())
        if number == middle:
            pictures += _pictures(job, Treated(before, after), residuals[-1])
        yield Treated(before, after)


def _pictures(job: ScanJob, one: Treated, residual: float) -> list[str]:
    plain: Any = continued_onto(one.before, one.after.affine, one.after.shape).array
    x, y, z = one.after.spacing
    title = f"On a grid of {x:.2f} x {y:.2f} x {z:.2f} mm; residual {residual:.2f} x noise; blend {job.blend.value:g}"
    change = one.after.array - plain
    return write_pictures(job.request.out, one.before, one.after, change, title, _LABELS, job.noise, None)
