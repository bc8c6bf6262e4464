"""Error of a denoised repeat of an acquisition, against the mean of the other repeats.

The mean of the others has noise of its own, a fraction of that of one repeat, which is estimated from their spread and
taken off the squared error (`medinr.metrics.reference_noise` for scores): what is left is the error against the mean of
infinitely many repeats.

That mean is an expected magnitude, which noise keeps above the signal where there is little of it. Of a denoiser that
takes this bias out, the image is compared with the bias put back (`with_bias`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from medinr.errors import IntensityError, ShapeError
from medinr.noise.scan_noise import ScanNoise
from medinr.noise.signal_bias import magnitude_model

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class RepeatError:
    """Mean squared errors of one repeat.

    Attributes
    ----------
    squared : float
        Against the mean of the others, as it is.
    reference_noise : float
        Variance of that mean.
    """

    squared: float
    reference_noise: float

    @property
    def corrected(self) -> float:
        """Squared error without the noise of the reference; may be slightly negative by chance."""
        return self.squared - self.reference_noise

    def gain_over(self, other: RepeatError) -> float:
        """How much smaller the corrected squared error is than another's, in dB; NaN where either is not positive."""
        if self.corrected <= 0 or other.corrected <= 0:
            return math.nan
        return 10 * math.log10(other.corrected / self.corrected)


def without_drift(repeats: Array) -> NDArray[np.float64]:
    """Take out what the brightness of a whole volume drifts by: each repeat is scaled to the mean of all.

    Parameters
    ----------
    repeats : ndarray, shape (n, z, y, x)
        Magnitudes.

    Returns
    -------
    ndarray, float64, shape (n, z, y, x)
        Each repeat divided by its gain, the least-squares factor between it and the mean of all; gains have mean 1.

    Raises
    ------
    ShapeError
        For fewer than two repeats.
    IntensityError
        When all are zero.
    """
    gains = drift(repeats)
    return np.asarray(repeats, np.float64) / gains[:, None, None, None]


def drift(repeats: Array) -> NDArray[np.float64]:
    """Brightness of every repeat relative to the mean of all, shape (n,); see `without_drift`."""
    if repeats.ndim != 4 or len(repeats) < 2:
        raise ShapeError(f"Repeats are (n, z, y, x) with n of 2 or more; got shape {repeats.shape}.")
    values = np.asarray(repeats, np.float64).reshape(len(repeats), -1)
    mean = values.mean(axis=0)
    energy = float(mean @ mean)
    if not energy > 0:
        raise IntensityError("Every repeat is zero, so there is nothing to compare.")
    gains: NDArray[np.float64] = values @ mean / energy
    if gains.min() <= 0:
        raise IntensityError(f"Repeat {int(gains.argmin())} is zero, or the others' negative. Leave it out.")
    return gains


@dataclass(frozen=True, eq=False)
class RepeatMean:
    """The mean of several repeats.

    Attributes
    ----------
    image : ndarray, float64, shape (z, y, x)
    variance : ndarray, float64, shape (z, y, x)
        Of that mean: the variance of the repeats over their number, voxel by voxel.
    """

    image: NDArray[np.float64]
    variance: NDArray[np.float64]


def mean_of_others(repeats: Array, number: int) -> RepeatMean:
    """Average all repeats but one, without drift, in the brightness of the one that is left out.

    Parameters
    ----------
    repeats : ndarray, shape (n, z, y, x)
        Magnitudes, three repeats or more.
    number : int
        Of the repeat that is left out, from 0.

    Raises
    ------
    ShapeError, IntensityError
        As `without_drift`, and for fewer than three.
    """
    if len(repeats) < 3:
        raise ShapeError(f"One repeat is compared with the mean of two others or more; got {len(repeats)} in all.")
    gain = drift(repeats)[number]
    found = _mean_of(np.delete(without_drift(repeats), number, axis=0))
    return RepeatMean(found.image * gain, found.variance * gain**2)


def _mean_of(repeats: Array) -> RepeatMean:
    values = np.asarray(repeats, np.float64)
    return RepeatMean(values.mean(axis=0), values.var(axis=0, ddof=1) / len(values))


def with_bias(signal: NDArray[np.floating], noise: ScanNoise) -> NDArray[np.float64]:
    """Expected magnitude of a signal in the noise of a scan; the signal itself for Gaussian noise.

    Parameters
    ----------
    signal : ndarray
        Without the bias of magnitudes.
    noise : ScanNoise
        Its map of sigma, if there is one, has the shape of the signal.
    """
    if noise.kind == "gaussian" or noise.sigma == 0:
        return signal.astype(np.float64)
    sigma = noise.sigma if noise.sigma_map is None else np.maximum(noise.sigma_map, 1e-6 * noise.sigma)
    relative = torch.from_numpy(np.asarray(signal / sigma, np.float64))
    return magnitude_model(noise.coils).mean(relative).numpy() * sigma


def error_against_others(denoised: Array, others: Array, mask: Mask | None = None) -> RepeatError:
    """Compare one denoised repeat with the mean of others that the denoiser has not seen.

    Parameters
    ----------
    denoised : ndarray, shape (z, y, x)
        Divided by the repeat's gain, where drift was taken out of the others.
    others : ndarray, shape (n, z, y, x)
        Other repeats, at least two, without drift; of independent noise.
    mask : ndarray of bool, shape (z, y, x), optional
        Voxels that count; all by default.

    Returns
    -------
    RepeatError

    Raises
    ------
    ShapeError
        When shapes do not fit, or the mask is empty.

    Notes
    -----
    The variance of the mean is the variance of the others over their number, voxel by voxel. Slow changes that are not
    a change of brightness, such as motion, count as noise.
    """
    if others.ndim != 4 or len(others) < 2 or denoised.shape != others.shape[1:]:
        raise ShapeError(
            f"A denoised repeat (z, y, x) is compared with two others or more (n, z, y, x); got shapes "
            f"{denoised.shape} and {others.shape}."
        )
    if mask is not None and (mask.shape != denoised.shape or not mask.any()):
        raise ShapeError(f"The mask must be of shape {denoised.shape} and not empty; got shape {mask.shape}.")
    reference = _mean_of(others)
    squared, noise = np.square(denoised - reference.image), reference.variance
    if mask is not None:
        squared, noise = squared[mask], noise[mask]
    return RepeatError(float(squared.mean()), float(noise.mean()))
