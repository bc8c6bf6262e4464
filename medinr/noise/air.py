"""Air around the object of a magnitude scan: how many coils its noise acts like.

Magnitudes without signal have ``E[m^2] = 2 n sigma^2`` and ``E[m^4] = 4 n (n + 1) sigma^4`` in ``n`` coils (Henkelman
1985; Constantinides et al. 1997), so that ``n = 1 / (E[m^4] / E[m^2]^2 - 1)`` whatever sigma is. Their correlation
does not matter. The sigma of the air is not used for the object where that can be measured itself: scanners with
several coils filter, scale or blank the air.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import idctn

from medinr.noise.patches import FEWEST_PATCHES, SIDE, Patches

#: Width of the frame of a slice in which air is looked for, as a share of the slice, and share of the slice within it.
_FRAME = 0.12
_FRAME_AREA = 1 - (1 - 2 * _FRAME) ** 2

#: Share of the frame that must be air.
_FRAME_SHARE = 0.08

#: Share of the patches of the frame that lie closest together, whose middle is the level of air.
_CLOSEST_SHARE = 0.06

#: Air is within so many standard deviations of patch means below the level, and this factor at most.
_DEVIATIONS = 1.5
_MOST = 1.6

#: Blocks per axis in which moments are taken, as sigma may vary in space.
_BLOCKS = 8

#: Air is below this share of the bright end of the scan, and its scatter over patches is at most so many times that
#: within a patch (correlated noise scatters less within): an object of several tissues scatters between patches.
_DARK = 0.6
_LIKE = 1.6

#: Coils that are believed; beyond, noise looks like a smooth object.
_COILS = (0.6, 40.0)


@dataclass(frozen=True)
class Air:
    """Noise of the air.

    Attributes
    ----------
    coils : float
        Effective number, not rounded.
    mean_square : float
        ``2 coils sigma^2``.
    share : float
        Of the patches of the scan.
    """

    coils: float
    mean_square: float
    share: float

    @property
    def sigma(self) -> float:
        """Standard deviation of real and imaginary part in a coil."""
        return float(np.sqrt(self.mean_square / (2.0 * self.coils)))


def find_air(patches: Patches, bright: float) -> Air | None:
    """Find air with noise in the frame of the slices and measure it; None where there is none.

    Parameters
    ----------
    patches : Patches
        Of magnitudes; patches with exact zeros are not among them.
    bright : float
        99th percentile of the values.
    """
    _, height, width = patches.shape
    means = patches.means
    y, x = patches.centres[:, 1] / (height - 1), patches.centres[:, 2] / (width - 1)
    frame = np.minimum(np.minimum(y, 1 - y), np.minimum(x, 1 - x)) < _FRAME
    least = max(float(FEWEST_PATCHES), _FRAME_SHARE * _FRAME_AREA * patches.places)
    if frame.sum() < least or not (means[frame] > 0).all():
        return None
    level = _level(means[frame], bright)
    below = means[frame & (means < level) & (means > level / _MOST)]
    if not below.size:
        return None
    spread = 1.4826 * float(np.median(level - below))
    factor = min(1.0 + _DEVIATIONS * spread / level, _MOST)
    air = (means < level * factor) & (means > level / _MOST)
    # Something darker than air: the frame is filled by an object.
    if level > _DARK * bright or air[frame].sum() < least or (means < level / _MOST).mean() > 0.5 * air.mean():
        return None
    squares, fourths = moments(patches.coefficients[air])
    block = patches.blocks(_BLOCKS)[air]
    count = np.bincount(block, minlength=_BLOCKS**2)
    full = count >= FEWEST_PATCHES // 4
    if not full.any():
        return None
    second, fourth = (np.bincount(block, power, _BLOCKS**2)[full] / count[full] for power in (squares, fourths))
    excess = max(float(np.median(fourth / second**2)) - 1.0, 1e-6)
    within = float(np.median(fourths / np.square(squares))) - 1.0
    coils = 1.0 / excess
    if not _COILS[0] <= coils <= _COILS[1] or within * _LIKE < excess:
        return None
    return Air(coils, float(np.median(second)), float(air.sum() / patches.places))


def _level(means: NDArray[np.float32], bright: float) -> float:
    """Where the dark patches lie closest together, relative to their brightness: air scatters less than any tissue."""
    dark = np.sort(means[means < _DARK * bright])
    count = max(2, int(_CLOSEST_SHARE * len(means)))
    if len(dark) < count:
        return bright
    widths = dark[count - 1 :] / dark[: len(dark) - count + 1]
    first = int(np.argmin(widths))
    return float(np.median(dark[first : first + count]))


def moments(coefficients: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean square and mean fourth power of the pixels of each patch, shape (n,)."""
    pixels = np.square(idctn(coefficients, axes=(1, 2), norm="ortho").astype(np.float64))
    return pixels.mean(axis=(1, 2)), np.square(pixels).sum(axis=(1, 2)) / SIDE**2
