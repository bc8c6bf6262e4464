"""What an average over neighbouring pixels, and a filter along a series, leave of the noise of its volumes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from scipy.signal import convolve2d

from medinr.noise.scan_noise import ScanNoise
from medinr.noise.signal_bias import magnitude_model

#: Weights of the average along y and x that gives the smooth part of an image.
SMOOTHING = (0.25, 0.5, 0.25)

#: Signal over sigma up to which the expected magnitude is tabulated; above, its first terms are exact to 1e-5.
_REACH, _ENTRIES = 40.0, 4001

#: Sigma that no voxel is below, relative to that of the scan, so that it can be divided by.
_LEAST = 1e-3


@dataclass(frozen=True)
class BandNoise:
    """Noise of the smooth part of a slice beside that of the slice.

    Attributes
    ----------
    share : float
        Variance of the smooth part over that of the slice: 0.14 for independent pixels.
    pixels, smooth_pixels : float
        How many pixels of the slice, and of its smooth part, count as one that is independent: the sum of the squared
        autocorrelation.
    """

    share: float
    pixels: float
    smooth_pixels: float


def band_noise(noise: ScanNoise) -> BandNoise:
    """Describe the noise of the smooth part, by the autocorrelation of the noise of a scan.

    Parameters
    ----------
    noise : ScanNoise
    """
    table = np.ones((1, 1)) if noise.autocorrelation is None else noise.autocorrelation
    weights = np.convolve(SMOOTHING, SMOOTHING)
    smooth = convolve2d(table, np.outer(weights, weights))
    share = float(smooth[smooth.shape[0] // 2, smooth.shape[1] // 2])
    return BandNoise(share, float(np.square(table).sum()), float(np.square(smooth).sum()) / share**2)


def smooth_part(images: NDArray[Any]) -> NDArray[Any]:
    """Average images ``(..., y, x)`` over neighbouring pixels by `SMOOTHING`; of the same type."""
    along_y = convolve1d(images, SMOOTHING, axis=-2, mode="nearest")
    return np.asarray(convolve1d(along_y, SMOOTHING, axis=-1, mode="nearest"))


def sigma_of(noise: ScanNoise, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard deviation at every voxel, shape (z, y, x), nowhere zero."""
    sigma = np.full(shape, noise.sigma, np.float32) if noise.sigma_map is None else noise.sigma_map
    return np.maximum(sigma, np.float32(_LEAST * noise.sigma))


def noise_left(noise: ScanNoise, left: NDArray[np.floating]) -> ScanNoise:
    """Noise of a volume of a series that was filtered along the series.

    Sums over volumes are nearly Gaussian whatever the noise of each.

    Parameters
    ----------
    noise : ScanNoise
        Of a volume as it was acquired.
    left : ndarray, shape (z, y, x)
        Variance that is left at every voxel, as a share.
    """
    sigma = np.sqrt(left, dtype=np.float32) * sigma_of(noise, left.shape)
    return replace(noise, kind="gaussian", coils=1, sigma=float(np.median(sigma)), sigma_map=sigma)


def without_bias(magnitudes: NDArray[np.float32], noise: ScanNoise) -> NDArray[np.float32]:
    """Give the signal whose expected magnitude is the given one (Koay & Basser 2006), voxel by voxel.

    Parameters
    ----------
    magnitudes : ndarray, shape (z, y, x)
        Averages of magnitudes, almost without noise.
    noise : ScanNoise
        Of one volume as it was acquired; of Gaussian noise there is no bias.

    Returns
    -------
    ndarray, float32, shape (z, y, x)
        0 where the magnitude is below that of noise alone.
    """
    if noise.kind == "gaussian":
        return magnitudes
    signal = np.linspace(0.0, _REACH, _ENTRIES)
    means = magnitude_model(noise.coils).mean(torch.from_numpy(signal)).numpy()
    sigma = sigma_of(noise, magnitudes.shape)
    found = np.empty_like(magnitudes)
    for plane, (values, spread) in enumerate(zip(magnitudes, sigma, strict=True)):
        relative = values / spread
        far = np.sqrt(np.maximum(np.square(relative) - (2 * noise.coils - 1), 0.0))
        found[plane] = np.where(relative < means[-1], np.interp(relative, means, signal), far) * spread
    return found
