"""The noise of a scan as a denoiser is told it: one slice's maps, in the unit of the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medinr.noise.scan_noise import ScanNoise
from medinr.priors.scan_denoiser import NOISE_MAPS, WIDTHS


def noise_maps(noise: ScanNoise, number: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Describe the noise of a slice.

    Parameters
    ----------
    noise : ScanNoise
    number : int
        Of the slice.
    shape : (int, int)
        Of the slice, (y, x).

    Returns
    -------
    ndarray, shape (NOISE_MAPS, y, x)
        See `medinr.priors.scan_denoiser.NOISE_MAPS`; in the unit of the scan.
    """
    sigma = np.full(shape, noise.sigma, np.float32) if noise.sigma_map is None else noise.sigma_map[number]
    factors = [1.0, noise.floor, *(width * noise.left_by_mean(width) for width in WIDTHS)]
    assert len(factors) == NOISE_MAPS
    return np.stack([np.float32(factor) * sigma for factor in factors])
