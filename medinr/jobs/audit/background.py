"""Findings on exact zeros: background set to zero, skull-stripped, defaced, masked; padding of CT.

Scanners set weak pixels to zero, so values rise gradually from the zeros. Software that removes skulls or faces cuts
through tissue, so tissue touches the zeros.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medinr.io.padding import HU_FLOOR
from medinr.jobs.audit.catalogue import found
from medinr.jobs.audit.finding import Finding
from medinr.jobs.audit.sample import ScanSample

#: Share of the pixels that are zero, in solid regions, from which the background was set to zero.
ZERO_SHARE = 0.10

#: A pixel above this share of the 99.5th percentile is tissue; next to zeros, one above this share of the median of
#: tissue has been cut.
_TISSUE = 0.1
_CUT_LEVEL = 0.3

#: Share of cut pixels among those next to zeros. Raw heads of a scanner: at most 0.009. With the face removed: 0.09 and
#: more. Skull-stripped: 0.24 and more.
CUT_SHARE = 0.04
STRIPPED_SHARE = 0.15

#: Cut pixels below which the share says nothing.
_LEAST_CUT = 100

#: Mean position of the cut, in standard deviations of the tissue from its centre: towards anterior, towards inferior.
#: Measured on heads cut below a plane through the face: 1.0 to 1.2 and 0.8 to 1.1.
_ANTERIOR = 0.6
_INFERIOR = 0.4

#: Share of CT pixels at the smallest value, when that is the padding value, from which it is named.
PADDING_SHARE = 0.01


def background_findings(sample: ScanSample) -> Iterator[Finding]:
    """Check exact zeros of MR, and padding of CT."""
    if sample.unit == "HU":
        if sample.low <= HU_FLOOR and (share := sample.share_at_low()) >= PADDING_SHARE:
            yield found(
                "padding", f"{100 * share:.0f} % of the pixels are at {sample.low:.0f} HU, around the field of view"
            )
        return
    if sample.modality == "CT":
        return
    planes = sample.magnitudes
    solid = np.stack([ndimage.binary_opening(plane == 0, iterations=2) for plane in planes])
    share = float(solid.mean())
    if not solid.any() or solid.all():
        return
    cut, rim, position = _cut(sample, planes, solid)
    if cut >= _LEAST_CUT and cut >= CUT_SHARE * rim:
        anterior, superior = position
        percent = f"{100 * cut / rim:.0f} % of the pixels beside exact zeros are tissue"
        if anterior >= _ANTERIOR and superior <= -_INFERIOR:
            yield found("defaced", f"the lower front was set to zero: {percent}")
        elif cut >= STRIPPED_SHARE * rim and _isolated(sample):
            yield found("skull-stripped", f"all but one object was set to zero (skull-stripped or masked): {percent}")
        else:
            yield found("masked", f"parts were set to zero: {percent}")
    elif share >= ZERO_SHARE:
        yield found("background-zero", f"{100 * share:.0f} % of the pixels are exactly zero, in solid regions")


def _cut(
    sample: ScanSample, planes: NDArray[np.float32], solid: NDArray[np.bool_]
) -> tuple[int, int, tuple[float, float]]:
    """Count cut pixels and pixels beside zeros, and locate the cut along anterior and superior."""
    tissue = planes > _TISSUE * np.percentile(planes, 99.5)
    if not tissue.any():
        return 0, 1, (0.0, 0.0)
    usual = float(np.median(planes[tissue]))
    rim = np.stack([ndimage.binary_dilation(zeros) for zeros in solid]) & ~solid
    cut = rim & (planes > _CUT_LEVEL * usual)
    if not cut.any():
        return 0, max(int(rim.sum()), 1), (0.0, 0.0)
    centre = _places(sample, tissue)
    spread = np.maximum(centre.std(axis=0), 1e-6)
    relative = ((_places(sample, cut) - centre.mean(axis=0)) / spread).mean(axis=0)
    return int(cut.sum()), int(rim.sum()), (float(relative[1]), float(relative[2]))


def _places(sample: ScanSample, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Positions in RAS mm of chosen pixels of the whole slices, shape (n, 3)."""
    plane, y, x = np.nonzero(chosen)
    z = np.array(sample.numbers)[plane]
    return np.stack([x, y, z], axis=1) @ sample.affine[:3, :3].T + sample.affine[:3, 3]


def _isolated(sample: ScanSample) -> bool:
    """Whether the object touches the end of the scan in no direction."""
    some = sample.coarse != 0
    ends = (some[0], some[-1], some[:, 0], some[:, -1], some[:, :, 0], some[:, :, -1])
    return not any(end.any() for end in ends)
