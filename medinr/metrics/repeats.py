"""Error of a denoised repeat of an acquisition, against the mean of the other repeats.

The mean of the others has noise of its own, a fraction of that of one repeat, which is estimated from their spread and
taken off the squared error: what is left is the error against the mean of infinitely many repeats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medinr.errors import IntensityError, ShapeError

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
    values = np.asarray(others, np.float64)
    squared = np.square(denoised - values.mean(axis=0))
    noise = values.var(axis=0, ddof=1) / len(values)
    if mask is not None:
        squared, noise = squared[mask], noise[mask]
    return RepeatError(float(squared.mean()), float(noise.mean()))
