"""Physical units: Hounsfield units, attenuation, angles, noise of magnitudes. Lengths are millimetres everywhere."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

#: Linear attenuation of water in 1/mm near 70 keV, the effective energy of a 120 kVp chest scan
#: (Hubbell & Seltzer, NISTIR 5632, 1995: 0.193 1/cm).
MU_WATER = 0.0193

#: Hounsfield number of vacuum; scanners store lower values (-2000, -3024) as padding outside the field of view.
HU_VACUUM = -1000.0

#: Standard deviation of a Gaussian per unit of its full width at half maximum.
SIGMA_PER_FWHM = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))

_Number = TypeVar("_Number", float, NDArray[np.float32], NDArray[np.float64])


def noise_floor(coils: int) -> float:
    """Expected root sum of squares of coils without signal, over the sigma of one; 0 for no coils, Gaussian noise.

    ``sqrt(2) Gamma(n + 1/2) / Gamma(n)`` (Constantinides et al. 1997).

    Examples
    --------
    >>> round(noise_floor(1), 4)
    1.2533
    """
    return 0.0 if coils == 0 else math.sqrt(2.0) * math.exp(math.lgamma(coils + 0.5) - math.lgamma(coils))


def attenuation_from_hu(hu: _Number) -> _Number:
    """Turn Hounsfield units into linear attenuation.

    ``mu = mu_water (1 + HU / 1000)`` (Hounsfield 1980); negative attenuation does not exist, so clip first.

    Parameters
    ----------
    hu : float or array
        Hounsfield units.

    Returns
    -------
    float or array
        Attenuation in 1/mm.

    Examples
    --------
    >>> attenuation_from_hu(0.0)
    0.0193
    """
    return MU_WATER * (1.0 + hu / 1000.0)


def hu_from_attenuation(attenuation: _Number) -> _Number:
    """Turn linear attenuation in 1/mm into Hounsfield units (inverse of `attenuation_from_hu`).

    Examples
    --------
    >>> hu_from_attenuation(0.0193)
    0.0
    """
    return 1000.0 * (attenuation / MU_WATER - 1.0)
