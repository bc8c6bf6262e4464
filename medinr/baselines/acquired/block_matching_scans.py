"""BM3D slice by slice (Makinen, Azzari & Foi 2020) and BM4D (Maggioni et al. 2013), by the authors' packages.

Both are free for non-commercial use only, so nothing else depends on them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medinr.baselines.block_matching import EXTRA
from medinr.operators.adapters.libraries import require

Array = NDArray[np.float32]

#: Largest side of BM4D's blocks; it refuses smaller volumes.
_BLOCK = 8

#: Of a power spectrum, relative to its mean.
_LEAST_POWER = 1e-3


def bm3d_slices(volume: Array, sigma: float, strength: float = 1.0) -> Array:
    """Denoise every slice on its own.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x)
    sigma : float
    strength : float
        Standard deviation passed on, in units of sigma.

    Raises
    ------
    LibraryError
        When ``bm3d`` is not installed.
    """
    library = require("bm3d", EXTRA, "BM3D (free for non-commercial use only)")
    level = _not_zero(volume, strength * sigma)
    return np.stack([library.bm3d(plane.astype(np.float64), level) for plane in volume]).astype(np.float32)


def bm3d_coloured(
    volume: Array, sigma: float, strength: float = 1.0, autocorrelation: NDArray[np.float64] | None = None
) -> Array:
    """Denoise every slice on its own, told how the noise of neighbouring pixels correlates.

    Parameters
    ----------
    volume, sigma, strength
        As in `bm3d_slices`.
    autocorrelation : ndarray, shape (2 k + 1, 2 k + 1), optional
        As in `medinr.noise.scan_noise.ScanNoise`; without one, the noise is taken as white.

    Raises
    ------
    LibraryError
        When ``bm3d`` is not installed.
    """
    if autocorrelation is None:
        return bm3d_slices(volume, sigma, strength)
    library = require("bm3d", EXTRA, "BM3D (free for non-commercial use only)")
    spectrum = power_spectrum(autocorrelation, volume.shape[1:])
    # The package wants the variance of the coefficients of an unnormalised Fourier transform.
    level = spectrum * (_not_zero(volume, strength * sigma) ** 2 * spectrum.size)
    return np.stack([library.bm3d(plane.astype(np.float64), level) for plane in volume]).astype(np.float32)


def power_spectrum(autocorrelation: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Power spectrum of mean 1, shape (y, x), of noise with an autocorrelation; zero frequency first.

    A table that was cut off or estimated may have negative power: at least a thousandth of the mean is kept.
    """
    rows, columns = (size // 2 for size in autocorrelation.shape)
    whole = np.zeros(shape)
    for y in range(-rows, rows + 1):
        for x in range(-columns, columns + 1):
            whole[y % shape[0], x % shape[1]] += autocorrelation[y + rows, x + columns]
    power = np.maximum(np.fft.fft2(whole).real, _LEAST_POWER)
    spectrum: NDArray[np.float64] = power / power.mean()
    return spectrum


def bm4d_volume(volume: Array, sigma: float, strength: float = 1.0) -> Array:
    """Denoise with cubes of voxels; parameters as in `bm3d_slices` (raises `LibraryError` without ``bm4d``)."""
    library = require("bm4d", EXTRA, "BM4D (free for non-commercial use only)")
    missing = tuple(max(0, _BLOCK - size) for size in volume.shape)
    # Of a scan with fewer slices than a block, mirrored ones stand for those that are missing.
    whole = np.pad(volume.astype(np.float64), [(0, more) for more in missing], mode="symmetric")
    smooth = library.bm4d(whole, _not_zero(volume, strength * sigma))
    z, y, x = volume.shape
    return np.asarray(smooth, np.float32).reshape(whole.shape)[:z, :y, :x].copy()


def _not_zero(volume: Array, level: float) -> float:
    """Both divide by the noise level: a thousandth of a per mille of the largest value stands for none."""
    return max(float(level), 1e-6 * max(float(np.abs(volume).max()), 1e-12))
