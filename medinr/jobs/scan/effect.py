"""How much of the full effect goes into a result, and which voxels keep their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

from medinr.io.padding import HU_FLOOR
from medinr.jobs.audit.finding import Finding
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Array, Volume

#: Default blend where the noise is not what the model was made for.
WEAK = 0.25

#: Findings of an audit after which noise is no longer that of a scanner.
_ALTERED = ("lossy", "block-artefacts", "windowed", "eight-bits", "sharpened")

#: Words of DICOM's ImageType for images that a filter or network has denoised.
_FILTERED_TYPES = frozenset(("FIL", "FILTERED", "DENOISED", "SMOOTHED", "DENOISE", "NLM", "DEEP_RESOLVE", "RECONDL"))

#: Width in pixels of the smallest block of equal values that counts as outside the field of view or blanked.
_BLOCK = 3


@dataclass(frozen=True)
class Blend:
    """How much of the full effect goes into a result.

    Attributes
    ----------
    value : float
        0 gives the input, 1 the full effect.
    reasons : tuple of str
        Why the default is weaker than the full effect, in words; none where it is not, or was told.
    """

    value: float = 1.0
    reasons: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons with what follows from them."""
        return tuple(
            f"{reason}; {100 * self.value:.0f} % of the effect is applied (--blend 1 for all)"
            for reason in self.reasons
        )


def choose_blend(told: float | None, volume: Volume, noise: ScanNoise, findings: Sequence[Finding]) -> Blend:
    """Take the blend that was told, else full effect, or little where something speaks against it.

    Parameters
    ----------
    told : float or None
    volume : Volume
    noise : ScanNoise
    findings : sequence of Finding
        Of the scan's audit.
    """
    if told is not None:
        return Blend(told)
    reasons = [] if noise.reliable else ["the noise could not be found reliably"]
    reasons += [finding.words for finding in findings if finding.code in _ALTERED]
    filtered = sorted({word.upper() for word in volume.provenance.facts.image_type} & _FILTERED_TYPES)
    reasons += [f"the image type says that it was filtered ({', '.join(filtered)})"] if filtered else []
    return Blend(WEAK, tuple(reasons)) if reasons else Blend()


def untouched(volume: Volume, mask: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Find the voxels that keep their values: outside the field of view of a CT, blanked to zero, outside the mask.

    Parameters
    ----------
    volume : Volume
    mask : ndarray of bool, shape (z, y, x), optional
        What is to be treated.

    Returns
    -------
    ndarray of bool, shape (z, y, x)
        Single voxels at the lowest value are noise; blocks of 3 x 3 of them are not.
    """
    kept = np.empty(volume.shape, np.bool_)
    for number, plane in enumerate(volume.array):
        blank = plane <= HU_FLOOR if volume.unit == "HU" else plane == 0
        # Beyond the edge of the image there is as little as at its edge.
        padded = np.pad(blank, _BLOCK, mode="edge")
        opened = binary_opening(padded, np.ones((_BLOCK, _BLOCK), np.bool_))
        kept[number] = opened[_BLOCK:-_BLOCK, _BLOCK:-_BLOCK]
    return kept if mask is None else kept | ~mask


def applied(values: Array, full: NDArray[Any], blend: float, kept: NDArray[np.bool_]) -> NDArray[Any]:
    """Give ``values + blend * (full - values)``, slice by slice, with the voxels that keep their values."""
    result = np.empty_like(values)
    for number, plane in enumerate(values):
        mixed = full[number] if blend == 1.0 else plane + np.float32(blend) * (full[number] - plane)
        result[number] = np.where(kept[number], plane, mixed)
    return result


def edge_correlation(result: Array, removed: Array, kept: NDArray[np.bool_]) -> float:
    """Correlate the size of the removed part with the steepness of the result, over bright voxels.

    About 0 where noise alone was removed; anatomy that was removed lies at edges.
    """
    size = np.abs(result).astype(np.float32) if np.iscomplexobj(result) else result
    floor = float(np.percentile(size, 1))
    bright = size > floor + 0.1 * (float(np.percentile(size, 99)) - floor)
    if min(size.shape[1:]) < 2:
        return 0.0
    along_y, along_x = np.gradient(size, axis=(1, 2))
    steepness = np.hypot(along_y, along_x)
    some = bright & ~kept
    if int(some.sum()) < 2 or not np.abs(removed[some]).any():
        return 0.0
    pair = np.stack([np.abs(removed[some]).astype(np.float64), steepness[some].astype(np.float64)])
    if (pair.std(axis=1) == 0).any():
        return 0.0
    return float(np.corrcoef(pair)[0, 1])
