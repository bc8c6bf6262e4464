"""Autocorrelation of noise from the spectrum of patches.

The variance of the cosine coefficient ``(u, v)`` of stationary noise with covariance ``r(dy, dx)``, even along each
axis, is ``sum A[u, dy] A[v, dx] r(dy, dx)`` with ``A[u, d] = 2 sum_i b_u(i) b_u(i + d)`` (half of it at ``d = 0``) and
the cosine basis ``b_u``. For 8 x 8 patches ``A`` is square and well conditioned (4.8): the covariance at up to seven
pixels follows exactly, without the wrap-around of a discrete Fourier transform.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medinr.errors import IntensityError
from medinr.noise.patches import SIDE

#: Correlation of neighbours below which pixels count as independent.
INDEPENDENT = 0.04

#: Error of the correlation over one pair of pixels a patch, in so many overlapping patches (measured).
_ERROR = 0.15
_PATCHES = 1000

#: Slices whose pixels are paired, and fewest pairs at a distance.
_MOST_PAIRED = 16
_FEWEST_PAIRS = 100


def lag_matrix(side: int = SIDE) -> NDArray[np.float64]:
    """``A``, shape (frequencies, lags): variance of cosine coefficients by the covariance at each lag."""
    at = np.arange(side)
    basis = np.sqrt(2.0 / side) * np.cos(np.pi * np.outer(at, at + 0.5) / side)
    basis[0] /= np.sqrt(2.0)
    return np.stack(
        [(1.0 if lag == 0 else 2.0) * (basis[:, : side - lag] * basis[:, lag:]).sum(axis=1) for lag in at], axis=1
    )


def autocorrelation(variance: NDArray[np.float64], patches: int | None = None) -> NDArray[np.float64]:
    """Autocorrelation at up to 7 pixels along (y, x), shape (15, 15), 1 in the middle.

    Parameters
    ----------
    variance : ndarray, shape (8, 8)
        Of the cosine coefficients of patches.
    patches : int, optional
        How many it was measured in: values no larger than their error are drawn towards 0 (James & Stein 1961). The
        error grows with distance, as few pairs of pixels of a patch lie far apart.
    """
    side = len(variance)
    inverse = np.linalg.inv(lag_matrix(side))
    quadrant = inverse @ variance @ inverse.T
    quadrant = np.clip(quadrant / quadrant[0, 0], -1.0, 1.0)
    if patches is not None:
        pairs = np.multiply.outer(side - np.arange(side), side - np.arange(side))
        error = _ERROR * np.sqrt(_PATCHES / max(patches, 1) / pairs)
        shrunk = quadrant * np.clip(1.0 - np.square(error / np.where(quadrant == 0, 1.0, quadrant)), 0.0, 1.0)
        shrunk[0, 0] = 1.0
        quadrant = shrunk
    half = np.concatenate([quadrant[:0:-1], quadrant])
    return np.concatenate([half[:, :0:-1], half], axis=1)


def neighbours(table: NDArray[np.float64]) -> float:
    """Largest correlation, in magnitude, of directly neighbouring pixels along y, x and the diagonal."""
    y, x = (size // 2 for size in table.shape)
    return float(np.abs(table[y : y + 2, x : x + 2]).ravel()[1:].max())


def unless_independent(table: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """An autocorrelation; None where its neighbours correlate so little that pixels count as independent."""
    return table if neighbours(table) >= INDEPENDENT else None


def measured_autocorrelation(
    noise: NDArray[np.generic], inside: NDArray[np.bool_], reach: int = SIDE - 1
) -> NDArray[np.float64]:
    """Autocorrelation of noise that is given itself, shape (15, 15), 1 in the middle.

    Over pairs of pixels that both lie inside, at most `_MOST_PAIRED` slices.

    Parameters
    ----------
    noise : ndarray, shape (n, y, x)
        Real, or complex with like parts; without its mean.
    inside : ndarray of bool, shape (n, y, x)
    reach : int
        Largest distance in pixels.
    """
    chosen = np.unique(np.linspace(0, len(noise) - 1, _MOST_PAIRED).round().astype(int))
    noise, inside = np.where(inside[chosen], noise[chosen], 0), inside[chosen]
    _, height, width = noise.shape
    size = (height + reach, width + reach)

    def lagged(values: NDArray[np.generic]) -> NDArray[np.float64]:
        power = np.square(np.abs(np.fft.fft2(values, s=size, axes=(1, 2)))).sum(axis=0)
        both = np.fft.ifft2(power).real
        both = np.roll(both, (reach, reach), axis=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
        return np.asarray(both, dtype=np.float64)

    pairs = lagged(inside.astype(np.float64))
    covariance = np.where(pairs > _FEWEST_PAIRS, lagged(noise) / np.maximum(pairs, 1.0), 0.0)
    middle = covariance[reach, reach]
    if middle <= 0:
        raise IntensityError("The noise is zero everywhere: it has no correlation to be measured.")
    return np.asarray(np.clip(covariance / middle, -1.0, 1.0), dtype=np.float64)
