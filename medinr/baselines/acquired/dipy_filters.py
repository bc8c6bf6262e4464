"""Non-local means and 4D denoisers of DIPY (Garyfallidis et al. 2014)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.operators.adapters.libraries import require

Array = NDArray[np.float32]

#: A b-value above Patch2Self's threshold, so that it takes all volumes as alike.
_B_VALUE = 1000.0


def _part(module: str) -> Any:
    # Asked for first, so that a missing library is told by its own name.
    require("dipy", "dipy", "Comparison with DIPY")
    return require(f"dipy.denoise.{module}", "dipy", "Comparison with DIPY")


def estimate_sigma(volume: Array, coils: int) -> float:
    """DIPY's estimate from local differences (Coupe et al. 2008), corrected for magnitudes where there are coils."""
    corrected = min(coils, 64)
    found = _part("noise_estimate").estimate_sigma(volume.astype(np.float64), N=corrected)
    return float(np.mean(found))


def nonlocal_means(
    volume: Array,
    sigma: float,
    strength: float = 1.0,
    method: str = "classic",
    patch_radius: int = 1,
    block_radius: int = 2,
    rician: bool = True,
) -> Array:
    """Non-local means of a volume (Descoteaux et al. 2008; blockwise: Coupe et al. 2008, 2012).

    Parameters
    ----------
    volume : ndarray, shape (z, y, x)
    sigma : float
    strength : float
        Standard deviation passed on, in units of sigma.
    method : {"classic", "blockwise"}
        Measured on brain scans at 5 % noise, the blockwise one, DIPY's default since 1.12, has up to 3 dB less.
    patch_radius, block_radius : int
        Of compared patches and of the search, in voxels.
    rician : bool
        Take the bias of Rician noise out.

    Raises
    ------
    LibraryError
        When DIPY is not installed.
    """
    smooth = _part("nlmeans").nlmeans(
        volume.astype(np.float64),
        sigma=strength * sigma,
        patch_radius=patch_radius,
        block_radius=block_radius,
        method=method,
        rician=rician,
        num_threads=1,
    )
    return np.asarray(smooth, np.float32)


def local_pca(series: Array, sigma: float, patch_radius: Sequence[int] = (0, 2, 2), tau_factor: float = 2.3) -> Array:
    """Shrink principal components of patches of a series below a threshold of the noise (Manjon et al. 2013).

    Parameters
    ----------
    series : ndarray, shape (t, z, y, x)
    sigma : float
    patch_radius : sequence of int
        Along (z, y, x).
    tau_factor : float
        Threshold in units of sigma.

    Raises
    ------
    LibraryError
        When DIPY is not installed.
    """
    smooth = _part("localpca").localpca(
        _last(series),
        sigma=sigma,
        patch_radius=np.asarray(patch_radius),
        tau_factor=tau_factor,
        suppress_warning=True,
    )
    return _first(smooth)


def mp_pca(series: Array, sigma: float, patch_radius: Sequence[int] = (0, 2, 2)) -> Array:
    """The same with the threshold of the Marchenko-Pastur distribution (Veraart et al. 2016); sigma is not used."""
    smooth = _part("localpca").mppca(_last(series), patch_radius=np.asarray(patch_radius), suppress_warning=True)
    return _first(smooth)


def patch2self(series: Array, sigma: float, model: str = "ols") -> Array:
    """Predict every volume from the others (Fadnavis et al. 2020, 2024); sigma is not used.

    Version 3, the library's default: in DIPY 1.12 version 1 loses the mean of the volumes.
    """
    with contextlib.redirect_stderr(io.StringIO()):  # It draws a bar of its own.
        smooth = _part("patch2self").patch2self(
            _last(series),
            np.full(len(series), _B_VALUE),
            model=model,
            shift_intensity=False,
            clip_negative_vals=False,
            version=3,
        )
    return _first(smooth)


def _last(series: Array) -> NDArray[np.float64]:
    return np.ascontiguousarray(np.moveaxis(series, 0, -1), np.float64)


def _first(series: NDArray[Any]) -> Array:
    return np.ascontiguousarray(np.moveaxis(series, -1, 0), np.float32)
