"""Noise inside the object: strength, spectrum and variation over the slice, found together.

The variance of magnitudes depends on the signal over sigma (`signal_bias`), which patches lie in the object on sigma
too, and what is smooth on how sigma varies: a few rounds settle all three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medinr.errors import IntensityError
from medinr.noise.local_spectrum import LocalSpectrum, local_spectrum
from medinr.noise.patches import FEWEST_PATCHES, Patches
from medinr.noise.signal_bias import variance_ratio
from medinr.noise.variation import at_places, relative_levels, smooth_surface, varies
from medinr.units import noise_floor

#: Patches of the object: mean above this multiple of the mean of air.
ABOVE_FLOOR = 1.3

#: And above these shares of the bright end of the scan, in the first round and later.
_FIRST_SHARE = 0.3
_OBJECT_SHARE = 0.1

_ROUNDS = 6
_SETTLED = 3e-3


@dataclass(frozen=True, eq=False)
class ObjectNoise:
    """Noise inside the object.

    Attributes
    ----------
    spectrum : LocalSpectrum
        Where the relative sigma is one.
    surface : ndarray, shape (16, 16), or None
        Natural logarithm of the relative sigma in blocks of a slice, its median over the object 0; None where it does
        not vary.
    patches : int
        Patches of the object.
    share : float
        Of all patches with values.
    """

    spectrum: LocalSpectrum
    surface: NDArray[np.float64] | None
    patches: int
    share: float


def object_noise(patches: Patches, bright: float, coils: int) -> ObjectNoise:
    """Measure the noise of the object.

    Parameters
    ----------
    patches : Patches
    bright : float
        99th percentile of the values.
    coils : int
        Of magnitudes; 0 for real or complex values, whose noise does not depend on the signal: all patches count.

    Raises
    ------
    IntensityError
        If nothing stands out of the noise.
    """
    surface: NDArray[np.float64] | None = None
    spectrum, inside, weights = _first(patches, bright, coils)
    for number in range(_ROUNDS):
        before = spectrum.sigma
        levels = relative_levels(patches.only(inside), weights[inside], spectrum.variance)
        changed = (surface is not None) != varies(levels)[0]
        relative = np.ones(len(weights), np.float32)
        if surface is not None or varies(levels)[0]:
            step = smooth_surface(levels[0])
            surface = step if surface is None else surface + step
            surface = surface - float(np.median(at_places(surface, patches.centres[inside], patches.shape)))
            relative = np.exp(at_places(surface, patches.centres, patches.shape))
        inside, weights = _inside(patches, spectrum.sigma, relative, bright, coils)
        spectrum = local_spectrum(patches.coefficients[inside], weights[inside])
        if number > 1 and not changed and abs(spectrum.sigma - before) < _SETTLED * before:
            break
    return ObjectNoise(spectrum, surface, int(inside.sum()), float(inside.mean()))


def _first(patches: Patches, bright: float, coils: int) -> tuple[LocalSpectrum, NDArray[np.bool_], NDArray[np.float32]]:
    weights = np.ones(len(patches.means), np.float32)
    inside = np.ones(len(weights), bool) if coils == 0 else patches.means > _FIRST_SHARE * bright
    if inside.sum() < FEWEST_PATCHES:
        inside[:] = True
    return local_spectrum(patches.coefficients[inside], weights[inside]), inside, weights


def _inside(
    patches: Patches, sigma: float, relative: NDArray[np.float32], bright: float, coils: int
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which patches lie in the object, and the inverse of their relative variance."""
    if coils == 0:
        return np.ones(len(relative), bool), np.asarray(1.0 / np.square(relative), dtype=np.float32)
    local = np.maximum(sigma * relative, np.float32(1e-12 * bright))
    over = patches.means / local
    inside = (over > ABOVE_FLOOR * noise_floor(coils)) & (patches.means > _OBJECT_SHARE * bright)
    if inside.sum() < FEWEST_PATCHES:
        raise IntensityError(
            f"Nothing stands out of the noise: its sigma would be about {sigma:.4g}, and the bright end of the scan is "
            f"{bright:.4g}. Say the noise yourself (--sigma), or give a scan with more signal."
        )
    weights = 1.0 / (np.square(relative) * variance_ratio(over, coils))
    return np.asarray(inside), np.asarray(weights, dtype=np.float32)
