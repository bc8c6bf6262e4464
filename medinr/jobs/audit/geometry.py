"""Findings on the grid of voxels: oblique, sheared, gaps, overlap, thick slices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medinr.jobs.audit.catalogue import found
from medinr.jobs.audit.finding import Finding
from medinr.jobs.audit.sample import ScanSample

#: Slices tilted by fewer degrees than this against the patient's axes count as straight: positioning is no finer.
STRAIGHT_DEGREES = 0.5

#: Cosine between voxel axes (0.1 degrees off a right angle) above which a grid is sheared; rounding stays far below.
SHEAR_COSINE = 0.002

#: Slice distance over thickness outside which slices leave gaps or overlap; headers round both to 1 %.
GAP_RATIO = 1.05
OVERLAP_RATIO = 0.95

#: Above this ratio, slices were probably left out: MR protocols leave gaps of 10 to 30 %.
WIDE_GAP_RATIO = 1.5

#: Slice distance over pixel spacing from which planes across the slices are of little use.
THICK_RATIO = 3.0


def oblique_degrees(sample: ScanSample) -> float:
    """Angle in degrees between the direction from slice to slice and the nearest axis of the patient."""
    axis = sample.affine[:3, 2] / np.linalg.norm(sample.affine[:3, 2])
    return float(np.degrees(np.arccos(min(1.0, np.abs(axis).max()))))


def geometry_findings(sample: ScanSample) -> Iterator[Finding]:
    """Check the affine and the slice thickness."""
    degrees = oblique_degrees(sample)
    if degrees >= STRAIGHT_DEGREES:
        yield found("oblique", f"slices are oblique by {degrees:.0f} degrees")
    axes = sample.affine[:3, :3] / np.linalg.norm(sample.affine[:3, :3], axis=0)
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > SHEAR_COSINE:
        lean = float(np.degrees(np.arcsin(min(1.0, cosine))))
        yield found("sheared", f"voxel axes are {lean:.1f} degrees off a right angle")
    yield from _thickness(sample)
    dx, dy, dz = sample.spacing
    if sample.shape[0] > 1 and dz >= THICK_RATIO * max(dx, dy):
        yield found("thick-slices", f"slices are {dz:.2f} mm apart, pixels {max(dx, dy):.2f} mm")


def _thickness(sample: ScanSample) -> Iterator[Finding]:
    thickness, apart = sample.facts.thickness, sample.spacing[2]
    if not thickness or sample.shape[0] == 1:
        return
    words = f"slices are {apart:.2f} mm apart and {thickness:.2f} mm thick"
    if apart > GAP_RATIO * thickness:
        yield found("gaps", words, "caution" if apart > WIDE_GAP_RATIO * thickness else None)
    elif apart < OVERLAP_RATIO * thickness:
        yield found("overlap", words)
