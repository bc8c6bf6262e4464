"""All checks of a scan, in the order in which their findings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from medinr.jobs.audit.background import background_findings
from medinr.jobs.audit.finding import Finding, by_severity
from medinr.jobs.audit.geometry import geometry_findings
from medinr.jobs.audit.grey_levels import grey_level_findings
from medinr.jobs.audit.grid import grid_findings
from medinr.jobs.audit.header import header_findings
from medinr.jobs.audit.kspace import kspace_findings
from medinr.jobs.audit.sample import ScanSample, sample_volume
from medinr.jobs.audit.slices import slice_findings
from medinr.volume import Volume

CHECKS: tuple[Callable[[ScanSample], Iterable[Finding]], ...] = (
    slice_findings,
    header_findings,
    kspace_findings,
    grid_findings,
    background_findings,
    grey_level_findings,
    geometry_findings,
)


def audit(sample: ScanSample) -> tuple[Finding, ...]:
    """Check what a scan went through before it came here.

    Parameters
    ----------
    sample : ScanSample
        `medinr.jobs.audit.sample.sample_scan` makes it of slices that come one at a time.

    Returns
    -------
    tuple of Finding
        The most severe first.
    """
    return by_severity([finding for check in CHECKS for finding in check(sample)])


def audit_volume(volume: Volume) -> tuple[Finding, ...]:
    """Do the same with a scan in memory."""
    return audit(sample_volume(volume))
