"""Findings on scans that were interpolated to the grid of a template."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medinr.jobs.audit.catalogue import found
from medinr.jobs.audit.finding import Finding
from medinr.jobs.audit.sample import ScanSample

#: Grids of templates to which brains are aligned: voxels along (x, y, z), their size in mm, and the name.
TEMPLATES = (
    ((182, 218, 182), 1.0, "MNI152, 1 mm"),
    ((91, 109, 91), 2.0, "MNI152, 2 mm"),
    ((181, 217, 181), 1.0, "ICBM152, 1 mm"),
    ((193, 229, 193), 1.0, "MNI152 2009, 1 mm"),
    ((197, 233, 189), 1.0, "MNI152 2009, 1 mm"),
    ((155, 240, 240), 1.0, "SRI24, 1 mm"),
    ((240, 240, 155), 1.0, "SRI24, 1 mm"),
    ((256, 256, 256), 1.0, "FreeSurfer, 1 mm"),
)

#: A voxel size, or the cosine of an axis, is exact to within this; scanners give neither so round.
EXACT = 1e-5


def grid_findings(sample: ScanSample) -> Iterator[Finding]:
    """Check whether the grid is a template's, or one that no scanner chooses."""
    depth, height, width = sample.shape
    spacing = np.array(sample.spacing)
    for size, voxel, name in TEMPLATES:
        if (width, height, depth) == size and np.abs(spacing - voxel).max() < 1e-3:
            yield found("resampled", f"the grid is that of the template {name}")
            return
    if _aligned_isotropic(sample) and not _whole_numbers(sample):
        yield found(
            "resampled", f"voxels are cubes of {spacing[0]:g} mm along the patient's axes, values are fractions"
        )


def _aligned_isotropic(sample: ScanSample) -> bool:
    spacing = np.array(sample.spacing)
    cosines = np.abs(sample.affine[:3, :3] / spacing)
    aligned = np.abs(np.sort(cosines, axis=0) - [[0.0], [0.0], [1.0]]).max() < EXACT
    halves = np.round(2 * spacing) / 2
    exact = halves[0] > 0 and np.abs(spacing - halves[0]).max() < EXACT
    return bool(aligned and exact and sample.shape[0] > 1)


def _whole_numbers(sample: ScanSample) -> bool:
    values = sample.magnitudes
    return bool(np.array_equal(values, np.rint(values)))
