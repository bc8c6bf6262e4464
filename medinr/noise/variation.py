"""How the standard deviation of the noise varies over a slice.

The high cosine coefficients of patches, over the spectrum of the noise, have a mean square of one everywhere where
sigma is the same. Only patches whose spectrum has the shape of that of the noise count; a smooth surface through their
low quantiles in blocks of the slice, over all slices, is the map. It counts only where two halves of the slices show
the same pattern, and one strong enough to matter.
(Aja-Fernandez et al. 2015 review such maps; theirs come from wavelets.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medinr.noise.patches import SIDE, Patches

#: Blocks along each axis of the slice.
BLOCKS = 16

#: Quantile of the energy of the patches of a block that look like noise.
_QUANTILE = 0.3

#: A patch looks like noise of any strength where its middle frequencies are not much stronger than its high ones, both
#: relative to the spectrum of the noise; edges have far stronger ones. Blocks with a smaller share of such patches are
#: left open.
_LIKE_NOISE = 1.5
_LEAST_SHARE = 0.3

#: Standard deviation of the smoothing between blocks, in blocks.
_SMOOTHING = 1.5

#: Squared frequencies of patches from which they are high and middle, and smallest variance relative to the largest.
_HIGH = 18
_MIDDLE = 4
_LEAST_POWER = 0.05

#: Fewest patches of a block, and fewest such blocks of either half.
FEWEST, _FEWEST_BLOCKS = 12, 16

#: Spread (standard deviation of the logarithm) and correlation of two halves from which sigma varies.
LEAST_SPREAD = 0.04
LEAST_AGREEMENT = 0.8


def relative_levels(
    patches: Patches, weights: NDArray[np.float32], variance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sigma in blocks of the slice relative to the whole; NaN where no patch lies, or none with middle frequencies.

    Parameters
    ----------
    patches : Patches
        Of the object.
    weights : ndarray, shape (n,)
        Inverse of the variance by signal.
    variance : ndarray, shape (8, 8)
        Of the noise in patches.

    Returns
    -------
    ndarray, shape (3, 16, 16)
        From all slices, the even and the odd ones (of few slices, rows of blocks): natural logarithm of the relative
        sigma.
    """
    squared = np.add.outer(np.arange(SIDE) ** 2, np.arange(SIDE) ** 2)
    high = (squared >= _HIGH) & (variance > _LEAST_POWER * variance[squared >= _HIGH].max())
    middle = (squared >= _MIDDLE) & (squared < _HIGH) & (variance > 0)
    if not middle.any():
        return np.full((3, BLOCKS, BLOCKS), np.nan)
    energy, below = (
        (np.square(patches.coefficients[:, which]) / variance[which].astype(np.float32)).mean(axis=1) * weights
        for which in (high, middle)
    )
    energy[below > _LIKE_NOISE * energy] = np.nan
    block = patches.blocks(BLOCKS)
    row = block // BLOCKS
    planes = np.unique(patches.centres[:, 0])
    place = np.searchsorted(planes, patches.centres[:, 0])
    # Few slices: every other row of blocks, as neighbouring patches overlap.
    half = place % 2 if len(planes) >= 4 else row % 2
    halves = (quantiles_by_block(block[half == which], energy[half == which]) for which in (0, 1))
    return 0.5 * np.log(np.stack([quantiles_by_block(block, energy), *halves]))


def quantiles_by_block(
    block: NDArray[np.int64], energy: NDArray[np.floating], quantile: float = _QUANTILE
) -> NDArray[np.float64]:
    """Quantile in every block of the patches that are like noise, shape (16, 16); NaN where there are few of them.

    Parameters
    ----------
    block : ndarray, shape (n,)
        Of `Patches.blocks`.
    energy : ndarray, shape (n,)
        NaN of patches that are not like noise.
    quantile : float
    """
    found = np.full(BLOCKS**2, np.nan)
    order = np.argsort(block, kind="stable")
    numbers, starts = np.unique(block[order], return_index=True)
    for number, values in zip(numbers, np.split(energy[order], starts[1:]), strict=True):
        noise = values[np.isfinite(values)]
        if len(noise) >= max(FEWEST, _LEAST_SHARE * len(values)):
            # Patches without any difference hold no noise.
            found[number] = np.quantile(noise, quantile) or np.nan
    return found.reshape(BLOCKS, BLOCKS)


def smooth_surface(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill in and smooth levels of blocks: Gaussian weights over those that are known."""
    known = np.isfinite(levels)
    values = np.where(known, levels, 0.0)
    result = np.zeros_like(levels)
    share = np.zeros_like(levels)
    # Far from the object, wider and wider weights.
    for width in (_SMOOTHING, 2 * _SMOOTHING, 4 * _SMOOTHING, 8 * _SMOOTHING):
        weight = ndimage.gaussian_filter(known.astype(float), width, mode="constant")
        mean = ndimage.gaussian_filter(values, width, mode="constant") / np.maximum(weight, 1e-12)
        here = np.clip(weight / 0.2, 0.0, 1.0) * (1.0 - share)
        result += here * mean
        share += here
    return result / np.maximum(share, 1e-12)


def varies(levels: NDArray[np.float64]) -> tuple[bool, float, float]:
    """Whether sigma varies, the spread of its logarithm, and how far two halves of the slices agree.

    Parameters
    ----------
    levels : ndarray, shape (3, 16, 16)
        Of `relative_levels`.
    """
    known = np.isfinite(levels[0])
    if (known & np.isfinite(levels[1:])).sum(axis=(1, 2)).min() < _FEWEST_BLOCKS:
        return False, 0.0, 0.0
    even, odd = (smooth_surface(np.where(known, half, np.nan))[known] for half in levels[1:])
    even, odd = even - even.mean(), odd - odd.mean()
    covariance = float((even * odd).mean())
    agreement = covariance / max(float(np.sqrt((even**2).mean() * (odd**2).mean())), 1e-12)
    spread = float(np.sqrt(max(covariance, 0.0)))
    return spread >= LEAST_SPREAD and agreement >= LEAST_AGREEMENT, spread, agreement


def at_places(
    surface: NDArray[np.float64], centres: NDArray[np.float32], shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Return the surface at places ``(z, y, x)`` in voxels, shape (n,)."""
    places = [centres[:, axis] * (BLOCKS / shape[axis]) + 0.5 * BLOCKS / shape[axis] - 0.5 for axis in (1, 2)]
    return np.asarray(ndimage.map_coordinates(surface, places, order=1, mode="nearest"), dtype=np.float32)


def on_grid(surface: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Return the surface at every pixel of a slice, shape (y, x)."""
    rows, columns = ((np.arange(size) + 0.5) * BLOCKS / size - 0.5 for size in (height, width))
    places = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(ndimage.map_coordinates(surface, places, order=3, mode="nearest"), dtype=np.float64)
