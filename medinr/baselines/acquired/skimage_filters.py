"""Denoisers of scikit-image, slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import restoration

Array = NDArray[np.float32]

#: Sides of the patches of non-local means that are compared, and their largest distance, in pixels.
PATCH, DISTANCE = 5, 6


def estimate_sigma(volume: Array, coils: int) -> float:
    """scikit-image's estimate from the finest wavelet coefficients (Donoho & Johnstone 1994), mean over slices."""
    return float(np.mean([restoration.estimate_sigma(plane) for plane in volume]))


def nonlocal_means(volume: Array, sigma: float, strength: float = 0.6) -> Array:
    """Non-local means (Buades, Coll & Morel 2005); ``strength`` is the filter's, in units of sigma."""

    def smooth(plane: Array) -> NDArray[Any]:
        found: NDArray[Any] = restoration.denoise_nl_means(
            plane, patch_size=PATCH, patch_distance=DISTANCE, h=strength * sigma, sigma=sigma, fast_mode=True
        )
        return found

    return _each(volume, smooth) if sigma > 0 else volume.copy()


def total_variation(volume: Array, sigma: float, strength: float = 1.0) -> Array:
    """Total variation (Chambolle 2004); ``strength`` is its weight in units of sigma."""

    def smooth(plane: Array) -> NDArray[Any]:
        found: NDArray[Any] = restoration.denoise_tv_chambolle(plane, weight=strength, eps=1e-4, max_num_iter=200)
        return sigma * found

    # In units of sigma, since the iteration stops at a fixed change.
    return _each(volume / np.float32(sigma), smooth) if sigma > 0 else volume.copy()


def wavelet(volume: Array, sigma: float, strength: float = 1.0) -> Array:
    """Shrinkage of Daubechies-4 wavelets by BayesShrink (Chang et al. 2000), mean over shifts of the grid.

    ``strength`` is the standard deviation passed on, in units of sigma.
    """

    def smooth(plane: Array) -> NDArray[Any]:
        found: NDArray[Any] = restoration.cycle_spin(
            plane,
            func=restoration.denoise_wavelet,
            max_shifts=2,
            func_kw={"sigma": strength * sigma, "wavelet": "db4", "rescale_sigma": False},
            workers=1,
        )
        return found

    return _each(volume, smooth) if sigma > 0 else volume.copy()


def _each(volume: Array, smooth: Callable[[Array], NDArray[Any]]) -> Array:
    return np.stack([smooth(plane) for plane in volume]).astype(np.float32)
