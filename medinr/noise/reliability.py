"""Whether an estimate of the noise can be believed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medinr.noise.object_noise import ObjectNoise

#: Sigma over the 99th percentile below which structure passes for noise.
LEAST_NOISE = 0.003

#: Share of the frequencies that hold noise alone, below which no noise was told from structure.
_LEAST_MEASURED = 0.15


def reasons_against(sigma: float, found: ObjectNoise, bright: float, planes: NDArray[np.generic]) -> Iterator[str]:
    """Reasons not to believe an estimate, in words; none where it can be believed.

    Parameters
    ----------
    sigma : float
    found : ObjectNoise
    bright : float
        99th percentile of the scan.
    planes : ndarray, shape (s, y, x)
        Slices that were looked at.
    """
    if sigma < LEAST_NOISE * bright:
        yield (
            f"There is almost no noise (sigma {sigma:.4g}, {100 * sigma / bright:.2f} % of the bright end): "
            "too little to tell it from fine structure."
        )
    elif found.spectrum.measured.mean() < _LEAST_MEASURED:
        yield (
            f"What varies in the smoothest parts looks like structure, not like noise (sigma is at most {sigma:.4g}): "
            "the scan was probably denoised, averaged or interpolated already."
        )
    step = quantisation_step(planes)
    if step > 0 and sigma < step:
        yield (
            f"The noise (sigma {sigma:.4g}) is below the distance of the grey levels ({step:.4g}): "
            "it cannot be told from rounding."
        )


def quantisation_step(planes: NDArray[np.generic]) -> float:
    """Distance of the grey levels where values are whole multiples of one; 0 where they are not.

    Parameters
    ----------
    planes : ndarray
    """
    if np.iscomplexobj(planes):
        return 0.0
    middle = np.asarray(planes[len(planes) // 2], dtype=np.float64)
    levels = np.unique(middle)
    if len(levels) < 3:
        return 0.0
    step = float(np.median(np.diff(levels)[: max(1, len(levels) // 2)]))
    multiples = (levels - levels[0]) / step
    return step if np.abs(multiples - np.round(multiples)).max() < 1e-3 else 0.0
