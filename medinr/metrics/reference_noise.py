"""Noise of the reference itself: its variance by region, and scores without it.

A reference ``r`` with noise of its own is no more like a perfect image than that noise allows. Where the error of an
image does not correlate with that noise, ``mean (x - r)^2 = mean (x - s)^2 + variance`` for the signal ``s`` without
noise, so the error against the signal is the squared error less the variance. Where it does correlate, as in an image
that keeps some of the noise of the scan it was simulated from, the corrected score is too good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medinr.errors import ShapeError
from medinr.metrics.image_quality import CORRECTED, Image, Score, body_mask, prepare, scores_of
from medinr.noise.signal_bias import variance_ratio

#: Part of the variance that is left of the squared error at least: less could not be told from errors of the estimate.
LEAST_LEFT = 0.05

#: Side in pixels of the windows over which the mean magnitude is taken.
_WINDOW = 5


def magnitude_variance(
    image: NDArray[np.floating], sigma: float | NDArray[np.floating], coils: int = 1
) -> NDArray[np.float64]:
    """Variance of the noise of a magnitude image, pixel by pixel.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        Magnitude, noise included.
    sigma : float or ndarray, shape (y, x)
        Standard deviation of real and imaginary part each, in one coil.
    coils : int
        In a root sum of squares; 1: Rician noise.

    Returns
    -------
    ndarray, float64, shape (y, x)
        ``sigma^2`` in tissue; less at low signal, ``(2 - pi / 2) sigma^2`` in the air of one coil; 0 where the image is
        exactly 0, which is background that was blanked.

    Raises
    ------
    ShapeError
        When image and sigma do not fit.

    Notes
    -----
    Correlated noise has the same variance. The ratio of variance and sigma^2 depends on the mean magnitude
    (`medinr.noise.signal_bias.variance_ratio`), for which that of 5 x 5 pixels stands, blanked ones left out.
    """
    if image.ndim != 2 or np.shape(sigma) not in ((), image.shape):
        raise ShapeError(f"A slice (y, x) has one sigma or a map of it; got shapes {image.shape}, {np.shape(sigma)}.")
    shown = image != 0
    level = np.where(shown, np.broadcast_to(sigma, image.shape), 0.0).astype(np.float64)
    noisy = level > 0
    weight = ndimage.uniform_filter(shown.astype(np.float64), _WINDOW, mode="constant")
    total = ndimage.uniform_filter(np.asarray(image, np.float64), _WINDOW, mode="constant")
    relative = total[noisy] / weight[noisy] / level[noisy]
    variance = np.zeros(image.shape)
    variance[noisy] = np.square(level[noisy]) * variance_ratio(relative.astype(np.float32), coils)
    return variance


def noise_by_region(variance: Image, reference: Image) -> dict[str, float]:
    """Average the variance of a reference slice over the regions of `medinr.metrics.image_quality.scores_of`.

    Parameters
    ----------
    variance, reference : ndarray, shape (y, x)
        Of MR.
    """
    body = body_mask(prepare(reference, "MR"))
    return {"slice": float(np.mean(variance)), "body": float(np.mean(variance[body]))}


def error_left(squared: float, variance: float) -> float:
    """Mean squared error without the variance of the reference.

    At least 5 % of the variance is left (`LEAST_LEFT`), or all of the error where that is less: the difference may be
    negative, by chance or because the image keeps the reference's noise, and then has no logarithm.
    """
    return max(squared - variance, min(squared, LEAST_LEFT * variance))


def corrected_psnr(value: float, data_range: float, variance: float) -> float:
    """PSNR without the noise of the reference: ``10 log10(range^2 / (MSE - variance))`` in dB, see `error_left`.

    Parameters
    ----------
    value : float
        PSNR against the reference as it is, in dB.
    data_range : float
    variance : float
        Of the reference, averaged over the pixels that count.

    Examples
    --------
    >>> round(corrected_psnr(30.0, data_range=1.0, variance=0.0005), 2)
    33.01
    """
    left = error_left(data_range**2 * 10 ** (-value / 10), variance)
    return 10 * math.log10(data_range**2 / left) if left > 0 else math.inf


def corrected_scores(scores: Sequence[Score], data_range: float, noise: Mapping[str, float]) -> list[Score]:
    """``psnr_corrected`` of every region whose PSNR is among the scores.

    Parameters
    ----------
    scores : sequence of Score
    data_range : float
    noise : mapping of str to float
        Variance of the reference by region, from `noise_by_region`.
    """
    return [
        replace(score, metric=CORRECTED, value=corrected_psnr(score.value, data_range, noise[score.region]))
        for score in scores
        if score.metric == "psnr"
    ]


def scores_without_reference_noise(
    image: Image, reference: Image, data_range: float, noise: Mapping[str, float]
) -> list[Score]:
    """Score an MR slice as `medinr.metrics.image_quality.scores_of` does, PSNR and NRMSE without the reference's noise.

    For references whose noise is independent of all that a method was given.

    Parameters
    ----------
    image, reference : ndarray, shape (y, x)
    data_range : float
    noise : mapping of str to float
        From `noise_by_region`.

    Returns
    -------
    list of Score
        PSNR is `corrected_psnr`, and NRMSE the root of `error_left` over (mean square - variance). SSIM, HFEN and GMSD
        are those with the noise.
    """
    magnitude = prepare(reference, "MR")
    squares = np.square(magnitude)
    energy = {"slice": float(squares.mean()), "body": float(squares[body_mask(magnitude)].mean())}
    found = []
    for score in scores_of(image, reference, data_range, "MR"):
        variance, whole = noise[score.region], energy[score.region]
        if score.metric == "psnr":
            score = replace(score, value=corrected_psnr(score.value, data_range, variance))
        elif score.metric == "nrmse":
            score = replace(score, value=math.sqrt(error_left(score.value**2 * whole, variance) / (whole - variance)))
        found.append(score)
    return found
