"""How the scatter of magnitudes depends on the signal: less than sigma where there is little of it.

``var(m) = 2 n sigma^2 + A^2 - mean(m)^2`` for a signal ``A`` in ``n`` coils (Koay & Basser 2006, eq. 6, for one coil;
Constantinides et al. 1997). At zero signal it is 0.43 sigma^2 for one coil, at high signal sigma^2.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from medinr.operators.noise.magnitude import NonCentralChi, Rician

#: Signal over sigma up to which the correction is tabulated; above, it is below 0.1 %.
_REACH = 40.0
_ENTRIES = 2001


def variance_ratio(mean: NDArray[np.float32], coils: int) -> NDArray[np.float32]:
    """Variance of magnitudes over sigma^2, by their mean over sigma.

    Parameters
    ----------
    mean : ndarray
        Mean magnitude over sigma; below the floor of noise it counts as the floor.
    coils : int
    """
    means, ratios = _table(coils)
    return np.interp(mean, means, ratios).astype(np.float32)


def bias_and_scatter(signal: NDArray[np.float32], coils: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean magnitude less signal, and standard deviation of the magnitude, all over sigma.

    Parameters
    ----------
    signal : ndarray
        Over sigma; below 0 it counts as 0.
    coils : int
    """
    means, ratios = _table(coils)
    signals = _signals(coils)
    bias = np.interp(signal, signals, means - signals)
    return bias.astype(np.float32), np.sqrt(np.interp(signal, signals, ratios)).astype(np.float32)


def magnitude_model(coils: int) -> Rician | NonCentralChi:
    """Noise of magnitudes whose sigma is 1."""
    return Rician(1.0) if coils == 1 else NonCentralChi(1.0, coils)


def _signals(coils: int) -> NDArray[np.float64]:
    return np.linspace(0.0, _REACH + 2.0 * math.sqrt(coils), _ENTRIES)


@lru_cache(maxsize=16)
def _table(coils: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    signal = torch.from_numpy(_signals(coils))
    mean = NonCentralChi(1.0, coils).mean(signal)
    ratio = 2.0 * coils + signal.square() - mean.square()
    return mean.numpy(), ratio.numpy()
