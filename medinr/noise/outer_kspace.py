"""How noisy k-space is, by its own outermost samples, where there is next to no signal."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

#: Two rings of readout samples by their distance from the centre, relative to the largest.
RINGS = (0.8, 0.9, 1.01)

#: Signal falls towards the edge of k-space and noise does not: rings that differ by less hold noise alone.
ALIKE = 1.06

#: By how much a noise level that was told may differ from the one found.
TOLERANCE = 1.2

#: Fewest samples of a ring.
FEWEST = 200


def believed_sigma(told: float, data: Tensor) -> float:
    """Give the noise level that was told, or the one of the data where that must be wrong.

    The outermost samples of the readouts hold noise, and perhaps signal: their level is never below that of the noise.
    Where it is the same in two rings, it is the noise's. At a signal-to-noise ratio of 10 and 20 dB it was within 6 %
    for eleven simulated scans; at 40 dB there is signal everywhere, and what was told is believed.

    Parameters
    ----------
    told : float
        Standard deviation of the real and of the imaginary part.
    data : Tensor, complex, shape (..., readout)
        Lines of Cartesian k-space, their centre in the middle; lines of zeros do not count.
    """
    inner, outer = (_level(data, low, high) for low, high in pairwise(RINGS))
    if not inner > 0 or not outer > 0:
        return told
    certain = max(inner, outer) < ALIKE * min(inner, outer)
    if told > TOLERANCE * outer or (certain and outer > TOLERANCE * told):
        return outer
    return told


def _level(data: Tensor, low: float, high: float) -> float:
    """Standard deviation of complex noise by the median of its magnitude; 0 where there are too few samples."""
    count = data.shape[-1]
    distance = (torch.arange(count, device=data.device) - count // 2).abs() / (count / 2)
    ring = data[..., (distance >= low) & (distance < high)].abs().flatten()
    ring = ring[ring > 0]
    return float(ring.median()) / math.sqrt(2 * math.log(2)) if len(ring) >= FEWEST else 0.0
