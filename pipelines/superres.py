"""Scan in, the same scan on a finer grid out: NIfTI, derived DICOM, pictures, result.json."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from medinr.io.scan import read_scan
from medinr.jobs.scan.methods import SHARPENERS, Progress
from medinr.jobs.scan.prepare import open_job, require_output
from medinr.jobs.scan.request import ScanRequest
from medinr.jobs.scan.result import ScanOutcome
from medinr.jobs.scan.superres import forecast_refinement, refine_volumes
from medinr.jobs.scan.target import WantedGrid, plan_grid
from medinr.jobs.scan.write_refined import write_refined


def superres(
    request: ScanRequest,
    *,
    spacing: tuple[float, ...] | None = None,
    factor: tuple[float, ...] | None = None,
    like: Path | None = None,
    slice_thickness: float | None = None,
    announce: Callable[[str], None] = lambda words: None,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> ScanOutcome | None:
    """Bring every volume of a scan, as it was acquired, to a finer grid.

    Parameters
    ----------
    request : ScanRequest
        An unfinished run of the same request in the same folder is continued where it was.
    spacing : tuple of float, optional
        Of the voxels wanted, in mm: cubic, or along (x, y, z).
    factor : tuple of float, optional
        Times finer along all axes, or along (x, y, z).
    like : Path, optional
        A scan whose grid is wanted. Exactly one of the three is given.
    slice_thickness : float, optional
        In mm, as acquired; by default the header's, or the distance of the slices.
    announce : callable
        Gets a line for everything that is found before the work begins.
    progress : callable, optional
        Called with steps done and steps in all.
    dry_run : bool
        Stop after that, without writing anything.

    Returns
    -------
    ScanOutcome or None
        None of a dry run.

    Raises
    ------
    InputError
        When the scan cannot be treated, or nothing can be written, before anything is computed.
    """
    started = time.perf_counter()
    require_output(request)
    wanted = WantedGrid(spacing, factor, None if like is None else read_scan(like))
    job = open_job(request, SHARPENERS, announce, lambda scan: plan_grid(scan, wanted, slice_thickness))
    grid, notes = plan_grid(job.source.first, wanted, slice_thickness)
    expected = forecast_refinement(job, grid)
    for words in (*(f"note: {note}" for note in notes), *(f"Warning: {words}" for words in job.warnings)):
        announce(words)
    announce(f"{grid.words}: this takes {expected.words}")
    if dry_run:
        return None
    kept = job.kept({"command": "superres", **grid.facts})
    refine_volumes(job, grid, kept, progress)
    return write_refined(job, grid, kept, expected, time.perf_counter() - started, notes)
