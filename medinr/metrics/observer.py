"""How well an ideal linear observer tells images with a known signal from images without (Barrett & Myers 2004).

The channelised Hotelling observer sees an image through a few channels. With the covariance ``S`` of their values and
the difference ``d`` of their means, its detectability is ``d' = sqrt(d^T S^-1 d)``, and the area under its ROC curve
``AUC = Phi(d' / sqrt(2))`` for Gaussian channel values. All pixels of a small region as channels give the Hotelling
observer itself, which needs more images than pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from medinr.errors import ConfigError, ShapeError

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Detectability:
    """How well a signal is told from none, with a confidence interval for the few images there are.

    Attributes
    ----------
    d_prime : float
        Without the bias that few images have; 0 where that bias is larger than the estimate.
    low, high : float
        Confidence interval of ``d'``.
    channels, present, absent : int
        Numbers of channels and images.
    """

    d_prime: float
    low: float
    high: float
    channels: int
    present: int
    absent: int

    @property
    def auc(self) -> float:
        """Area under the ROC curve: 0.5 by chance, 1 without error."""
        return auc_of(self.d_prime)

    @property
    def auc_interval(self) -> tuple[float, float]:
        """Confidence interval of `auc`."""
        return auc_of(self.low), auc_of(self.high)


def auc_of(d_prime: float) -> float:
    """``Phi(d' / sqrt(2))``.

    Examples
    --------
    >>> auc_of(0.0)
    0.5
    """
    return float(special.ndtr(d_prime / math.sqrt(2)))


def laguerre_gauss_channels(size: int, width: float, count: int) -> NDArray[np.float64]:
    """Rotationally symmetric channels for a round signal in the middle (Gallas & Barrett 2003, eq. 9).

    ``u_n(r) = sqrt(2) / a exp(-pi r^2 / a^2) L_n(2 pi r^2 / a^2)`` with the Laguerre polynomials ``L_n``.

    Parameters
    ----------
    size : int
        Pixels per side of the region.
    width : float
        ``a`` in pixels; about the diameter of the signal.
    count : int

    Returns
    -------
    ndarray, shape (count, size, size)
    """
    if size < 1 or count < 1 or not width > 0:
        raise ConfigError(f"Channels have a size and count of 1 or more and a width above 0; got {size, count, width}.")
    offset = np.arange(size) - (size - 1) / 2
    square = 2 * math.pi * (offset[:, None] ** 2 + offset[None] ** 2) / width**2
    parts = [special.eval_laguerre(order, square) for order in range(count)]
    return np.stack([math.sqrt(2) / width * np.exp(-square / 2) * part for part in parts])


def observe(present: Array, absent: Array, channels: Array | None = None, confidence: float = 0.95) -> Detectability:
    """Detectability of a signal to the channelised Hotelling observer, from a few images of either class.

    Parameters
    ----------
    present, absent : ndarray, shape (n, y, x)
        Regions with and without the signal, from independent acquisitions.
    channels : ndarray, shape (count, y, x), optional
        By default every pixel is one, the Hotelling observer.
    confidence : float
        Of the interval.

    Returns
    -------
    Detectability

    Raises
    ------
    ShapeError
        When shapes differ, or there are too few images for so many channels.

    Notes
    -----
    With the pooled covariance of ``m`` and ``n`` images, ``f = m + n - 2`` and ``p`` channels,
    ``F = (f - p + 1) / (f p) mn / (m + n) D^2`` has a noncentral F distribution with ``p`` and ``f - p + 1`` degrees of
    freedom and the noncentrality ``mn / (m + n) d'^2`` (Hotelling 1931). It gives an unbiased estimate of ``d'^2`` and
    an exact interval (Wunderlich, Noo, Gallas & Heilbrun, IEEE TMI 2015). Images and channel values are taken as
    Gaussian.
    """
    if present.ndim != 3 or absent.ndim != 3 or present.shape[1:] != absent.shape[1:]:
        raise ShapeError(f"Regions are (n, y, x) of one size; got shapes {present.shape} and {absent.shape}.")
    if channels is not None and channels.shape[1:] != present.shape[1:]:
        raise ShapeError(f"Channels have the size of the regions; got {channels.shape} and {present.shape}.")
    if not 0 < confidence < 1:
        raise ConfigError(f"A confidence lies between 0 and 1; got {confidence}.")
    seen, unseen = (_values(images, channels) for images in (present, absent))
    (m, p), n = seen.shape, len(unseen)
    freedom, rest = m + n - 2, m + n - 1 - p
    if rest < 3:
        raise ShapeError(f"{m} and {n} images are too few for {p} channels: there must be {p + 4} or more in all.")
    difference = seen.mean(axis=0) - unseen.mean(axis=0)
    spread = [(part - part.mean(axis=0)) for part in (seen, unseen)]
    covariance = sum(part.T @ part for part in spread) / freedom
    distance = float(difference @ np.linalg.pinv(covariance, hermitian=True) @ difference)
    weight = m * n / (m + n)
    unbiased = max(0.0, (rest - 2) / freedom * distance - p / weight)
    statistic = rest / (freedom * p) * weight * distance
    low, high = (
        math.sqrt(_noncentrality(statistic, p, rest, tail) / weight)
        for tail in ((1 + confidence) / 2, (1 - confidence) / 2)
    )
    return Detectability(math.sqrt(unbiased), low, high, p, m, n)


def _values(images: Array, channels: Array | None) -> NDArray[np.float64]:
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    return flat if channels is None else flat @ np.asarray(channels, np.float64).reshape(len(channels), -1).T


def _noncentrality(statistic: float, p: int, rest: int, probability: float) -> float:
    """Noncentrality at which a statistic as low as this has a given probability; 0 where none is that large."""

    def excess(value: float) -> float:
        found = stats.f.cdf(statistic, p, rest) if value == 0 else stats.ncf.cdf(statistic, p, rest, value)
        return float(found) - probability

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-6 * high))
