"""The map of sigma continued into the air of magnitudes, where it cannot be measured in the object.

Without signal ``E[m^2] = 2 n sigma^2`` in ``n`` coils (Henkelman 1985). Air counts only where it agrees with the
object: scanners filter, scale or blank it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medinr.noise.air import moments
from medinr.noise.object_noise import ABOVE_FLOOR, ObjectNoise
from medinr.noise.patches import Patches
from medinr.noise.variation import BLOCKS, FEWEST, at_places, quantiles_by_block, smooth_surface
from medinr.units import noise_floor

#: Patches of air: mean over what the map says, and `E[m^4] / E[m^2]^2 - 1` over that of noise (1 / n).
_DARKEST, _BRIGHTEST = 0.6, 1.7
_LIKE_NOISE = (0.4, 2.0)

#: In blocks that hold object too, so that sigma is known there: means over those of noise that agree, the share of the
#: patches of air that must, and how many patches there must be. The others may hold an edge of the object.
_AGREE = (0.85, 1.15)
_AGREEING_SHARE, _FEWEST_SHARED = 0.4, 100

_ROUNDS = 3


def continued_into_air(found: ObjectNoise, patches: Patches, coils: int) -> NDArray[np.float64] | None:
    """Return the surface of the object's noise with that of air; as it is where there is no air or it does not agree.

    Parameters
    ----------
    found : ObjectNoise
    patches : Patches
        Of magnitudes, object and air.
    coils : int

    Returns
    -------
    ndarray, shape (16, 16), or None
        See `ObjectNoise.surface`.
    """
    of_object, sigma = found.surface, found.spectrum.sigma
    if of_object is None:
        return None
    surface = of_object
    squares, fourths = moments(patches.coefficients)
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = coils * (fourths / np.square(squares) - 1.0)
    noise_like = (excess > _LIKE_NOISE[0]) & (excess < _LIKE_NOISE[1])
    block = patches.blocks(BLOCKS)
    for _ in range(_ROUNDS):
        expected = sigma * np.exp(at_places(surface, patches.centres, patches.shape))
        over = patches.means / (noise_floor(coils) * expected)
        objects = np.bincount(block[~noise_like & (over >= ABOVE_FLOOR)], minlength=BLOCKS**2) >= FEWEST
        # Far from the object its map says little.
        most = np.where(objects[block], ABOVE_FLOOR, _BRIGHTEST)
        air = noise_like & (over > _DARKEST) & (over < most)
        level = quantiles_by_block(block, np.where(air, squares, np.nan), 0.5)
        in_air = 0.5 * np.log(level / (2.0 * coils * sigma**2))
        beside = over[air & objects[block]]
        agreeing = ((beside > _AGREE[0]) & (beside < _AGREE[1])).sum()
        if agreeing < max(_FEWEST_SHARED, _AGREEING_SHARE * len(beside)):
            return of_object
        known = np.where(objects.reshape(of_object.shape), of_object, in_air)
        surface = smooth_surface(known)
    return surface
