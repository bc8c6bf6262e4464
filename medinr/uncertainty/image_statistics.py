"""Statistics of an image that tell kinds of images apart: shape, brightness, shading, sharpness, repetition.

They need the image alone and no model.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label, regionprops

from medinr.errors import IntensityError

Image = NDArray[np.float32]

#: Pixels count as air where the mean over a window of `AIR_WINDOW` pixels a side is below `AIR`; fewest of the body.
AIR, AIR_WINDOW, FEWEST = 0.05, 9, 50

#: Pixels around the body that do not count as background either.
NEAR_BODY = 5

#: Signal of the background below this does not matter: noise that a reconstruction leaves there.
BACKGROUND_FLOOR = 0.1

#: Bands of spatial frequency in cycles per pixel, and the share of the energy below which a band counts as empty.
BANDS, EMPTY_BAND = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5), 1e-3

#: Statistics of the bands.
BAND_NAMES = tuple(f"band_{k}" for k in range(len(BANDS) - 1))

#: Energy, relative to that of the strongest frequency, below which one that stands out does not matter.
STANDING_FLOOR = 1e-6

#: Shifts from which an image that repeats itself counts as a ghost, in pixels; the width of what is sharp there.
GHOST_SHIFT, GHOST_WINDOW = 14, 9

#: Height of such a peak, relative to the centre, that does not matter.
NO_REPETITION = 3e-3

#: What a reader is told of each group of statistics.
GROUPS = {
    "size or shape of what is in the image": ("diameter", "solidity", "eccentricity", "on_border", "largest", "air"),
    "distribution of brightness": ("percentile_5", "percentile_25", "median", "percentile_75", "percentile_95"),
    "shading": ("shading", "gradient_of_shading", "linear_share", "curved_shading"),
    "sharpness and texture": (*BAND_NAMES, "edges", "edge_tails", "anisotropy"),
    "patterns that repeat, as ghosts and spikes do": ("single_frequency", "repetition"),
    "signal in the background": ("background",),
}

#: All statistics, in the order of `image_statistics`.
NAMES = tuple(name for names in GROUPS.values() for name in names)


def image_statistics(image: Image) -> NDArray[np.float64]:
    """Compute them.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        Real (of MR the magnitude), scaled as training slices are: about 0 to 1, air 0. Negative values count as 0.

    Returns
    -------
    ndarray, shape (len(NAMES),)
        Logarithms of sizes, strengths and shares of energy; fractions; brightness. A difference of 0.05 is small.

    Raises
    ------
    IntensityError
        When nearly all of the image is air.
    """
    image = np.maximum(np.asarray(image, np.float32), np.float32(0))
    body = ndimage.uniform_filter(image, AIR_WINDOW, mode="nearest") > AIR
    if body.sum() < FEWEST:
        raise IntensityError(f"Nearly all of the image is darker than {AIR} of its scale; there is nothing to compare.")
    found = (
        _shape(body)
        | dict(zip(NAMES[6:11], np.percentile(image[body], (5, 25, 50, 75, 95)), strict=True))
        | _shading(image, body)
        | _sharpness(image, body)
        | {"repetition": _repetition(image), "background": _background(image, body)}
    )
    return np.array([found[name] for name in NAMES], np.float64)


def _shape(body: NDArray[np.bool_]) -> dict[str, float]:
    """Of the largest part that is not air; its diameter in pixels."""
    largest = max(regionprops(label(body)), key=lambda part: part.area)
    border = np.concatenate([body[0], body[-1], body[:, 0], body[:, -1]])
    return {
        "diameter": np.log(largest.area) / 2,
        "solidity": largest.solidity,
        "eccentricity": largest.eccentricity,
        "on_border": border.mean(),
        "largest": largest.area / body.sum(),
        "air": 1 - body.mean(),
    }


def _shading(image: Image, body: NDArray[np.bool_]) -> dict[str, float]:
    """How brightness varies over the body: smoothed, and its logarithm's linear and quadratic part."""
    size = float(np.sqrt(body.sum()))
    wide = _smoothed(image, body, max(4.0, 0.12 * size))
    level = np.log(_smoothed(image, body, max(3.0, 0.05 * size)) + 0.02)
    y, x = (at - at.mean() for at in np.nonzero(body))
    y, x = y / (y.std() + 1e-6), x / (x.std() + 1e-6)
    plane = np.stack([np.ones_like(y), y, x], axis=1)
    linear = np.linalg.lstsq(plane, level, rcond=None)[0]
    bowl = np.concatenate([plane, np.stack([y * y, x * x, x * y], axis=1)], axis=1)
    curved = bowl @ np.linalg.lstsq(bowl, level, rcond=None)[0]
    return {
        "shading": np.log(wide.std() / wide.mean() + 1e-3),
        "gradient_of_shading": np.log(np.hypot(*linear[1:]) + 0.02),
        "linear_share": 1 - (level - plane @ linear).var() / max(level.var(), 1e-12),
        "curved_shading": np.log(curved.std() + 0.02),
    }


def _smoothed(image: Image, body: NDArray[np.bool_], width: float) -> NDArray[np.float64]:
    """Smoothed over the body alone; shape (pixels of the body,)."""
    weight = body.astype(np.float64)
    total, share = (ndimage.gaussian_filter(part, width) for part in (image * weight, weight))
    found: NDArray[np.float64] = total[body] / np.maximum(share[body], 1e-3)
    return found


def _sharpness(image: Image, body: NDArray[np.bool_]) -> dict[str, float]:
    """Energy by spatial frequency and direction, a single frequency that stands out, and edges."""
    window = np.outer(*(np.hanning(length) for length in image.shape))
    energy = np.abs(np.fft.fft2(image * window)) ** 2
    fy, fx = (np.fft.fftfreq(length) for length in image.shape)
    radius = np.hypot(fy[:, None], fx[None, :])
    total = energy[(radius > BANDS[0]) & (radius < BANDS[-1])].sum() + 1e-30
    bands = [energy[(radius >= low) & (radius < high)].sum() / total for low, high in pairwise(BANDS)]
    fine = (radius > 0.15) & (radius < 0.5)
    upright = fine & (np.abs(fy)[:, None] > np.abs(fx)[None, :])
    level = np.log(energy + STANDING_FLOOR * energy.max() + 1e-30)
    standing_out = level - ndimage.median_filter(level, 9, mode="wrap")
    steps = np.diff(image, axis=1)[ndimage.binary_erosion(body)[:, 1:]].astype(np.float64)
    power = float((steps**2).mean()) if steps.size else 0.0
    return {name: np.log(share + EMPTY_BAND) for name, share in zip(BAND_NAMES, bands, strict=True)} | {
        "edges": np.log(np.sqrt(power) + 1e-3),
        "edge_tails": np.log(float((steps**4).mean()) / (power**2 + 1e-12) + 1e-3) if steps.size else 0.0,
        "anisotropy": abs(np.log((energy[upright].mean() + 1e-12) / (energy[fine & ~upright].mean() + 1e-12))),
        "single_frequency": float(standing_out[radius > 0.04].max()),
    }


def _repetition(image: Image) -> float:
    """Highest sharp peak of the autocorrelation of fine structure, away from its centre."""
    fine = image - ndimage.gaussian_filter(image, 2.0)
    shape = [2 * length for length in image.shape]
    same = np.fft.ifft2(np.abs(np.fft.fft2(fine, shape)) ** 2).real
    same /= max(same[0, 0], 1e-30)
    # The other half is its mirror image, and shifts of nearly the whole image have nothing to compare.
    same = np.concatenate([same[:, -(image.shape[1] * 3 // 4) :], same[:, : image.shape[1] * 3 // 4]], axis=1)
    same = same[: image.shape[0] * 3 // 4]
    peaks = same - ndimage.uniform_filter(same, GHOST_WINDOW, mode="nearest")
    dy, dx = np.indices(peaks.shape)
    far = peaks[np.hypot(dy, dx - image.shape[1] * 3 // 4) > GHOST_SHIFT]
    return float(np.log(max(far.max(initial=0.0), 0.0) + NO_REPETITION))


def _background(image: Image, body: NDArray[np.bool_]) -> float:
    air = ~ndimage.binary_dilation(body, iterations=NEAR_BODY)
    strength = float(np.sqrt((image[air].astype(np.float64) ** 2).mean())) if air.any() else 0.0
    return float(np.log(strength + BACKGROUND_FLOOR))
