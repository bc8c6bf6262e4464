"""A denoiser of another library, given a scan as it was acquired and whatever noise it assumes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medinr.errors import ConfigError, ShapeError
from medinr.noise.scan_noise import ScanNoise
from medinr.noise.signal_bias import magnitude_model

Array = NDArray[np.float32]

#: Values of a baseline's settings by name.
Setting = Mapping[str, Any]


@dataclass(frozen=True)
class Baseline:
    """A denoiser to compare with.

    Attributes
    ----------
    words : str
        What it is, for tables.
    smooth : callable
        ``smooth(volume, sigma, **setting)`` of a float32 array ``(z, y, x)``, or ``(t, z, y, x)`` of a `series`; sigma
        in the units of the scan, ignored by those that find their own.
    settings : tuple of mapping
        Candidates to choose among on training scans.
    chosen : mapping
        The one that was best on training scans.
    estimate : callable or None
        Its library's own estimate of sigma: ``estimate(volume, coils)``, with 0 coils for Gaussian noise. None where
        there is none, so that it is told ours, or where it finds its own inside.
    unbiased : bool
        Whether it takes the bias of Rician noise out itself, unless called with ``rician=False``; so it is for noise
        of another kind.
    series : bool
        Whether it uses all volumes of a 4D series.
    coloured : bool
        Whether it is told how neighbouring pixels correlate (``autocorrelation``).
    library : str
        Module that it needs.
    """

    words: str
    smooth: Callable[..., Array]
    settings: tuple[Setting, ...]
    chosen: Setting
    estimate: Callable[[Array, int], float] | None = None
    unbiased: bool = False
    series: bool = False
    coloured: bool = False
    library: str = "skimage"

    @property
    def available(self) -> bool:
        """Whether its library is installed."""
        return importlib.util.find_spec(self.library) is not None

    def denoise(
        self,
        volume: NDArray[np.floating],
        noise: ScanNoise,
        setting: Setting | None = None,
        *,
        told: bool = False,
        debias: bool = True,
    ) -> Array:
        """Denoise a magnitude or CT scan.

        Parameters
        ----------
        volume : ndarray, shape (z, y, x), or (t, z, y, x) for a `series`
            Real, in the units of the scan.
        noise : ScanNoise
            Estimated by us. Of its kind only the distribution is used where the baseline has an estimate of its own.
        setting : mapping, optional
            `chosen` by default.
        told : bool
            Use the sigma of ``noise`` even where the baseline has an estimate of its own.
        debias : bool
            Take the bias of magnitudes out afterwards, where the baseline does not do it itself.

        Returns
        -------
        ndarray, float32, shape of the volume
            Magnitudes are at or above zero.

        Raises
        ------
        ShapeError
            When the volume has another number of axes.
        LibraryError
            When the library is not installed.
        """
        wanted = 4 if self.series else 3
        if volume.ndim != wanted:
            raise ShapeError(f"This denoiser takes an array of {wanted} axes; got shape {volume.shape}.")
        array = np.ascontiguousarray(volume, np.float32)
        coils = 0 if noise.kind == "gaussian" else noise.coils
        sigma = noise.sigma if told or self.estimate is None else self.estimate(array, coils)
        options = dict(self.chosen if setting is None else setting)
        if self.coloured:
            options["autocorrelation"] = noise.autocorrelation
        corrected = self.unbiased and noise.kind == "rician"
        if self.unbiased and not corrected:
            options["rician"] = False
        smooth = self.smooth(array, sigma, **options)
        if noise.kind == "gaussian":
            return smooth
        spread = noise.sigma_map if told and noise.sigma_map is not None else sigma
        return np.maximum(smooth, 0) if corrected or not debias else without_bias(smooth, spread, noise.coils)


def without_bias(magnitude: Array, sigma: float | Array, coils: int = 1) -> Array:
    """Signal whose expected magnitude is the given one (Koay & Basser 2006), voxel by voxel.

    Parameters
    ----------
    magnitude : ndarray
        Averaged or denoised magnitudes.
    sigma : float or ndarray that broadcasts to it
        In one coil; where it is 0 there is no bias.
    coils : int
        1 for Rician noise; of non-central chi noise more.

    Returns
    -------
    ndarray, float32, shape of the magnitude
        At or above zero.
    """
    if coils < 1:
        raise ConfigError(f"Magnitudes come from 1 coil or more; got {coils}.")
    spread = np.broadcast_to(np.asarray(sigma, np.float64), magnitude.shape)
    noisy = spread > 0
    relative = torch.from_numpy(np.divide(magnitude, spread, out=np.zeros(magnitude.shape), where=noisy))
    signal = magnitude_model(coils).debias(relative).numpy() * spread
    return np.where(noisy, signal, np.maximum(magnitude, 0)).astype(np.float32)
