"""How much each view, and each ray of a fan, counts in an integral over all directions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: A gap between neighbouring views wider than this many times the median gap is a missing wedge, over which
#: nothing is extrapolated. Golden-angle views have gaps that differ by at most 2.62.
_WEDGE = 3.0

#: Angle in rad over which the ends of a scan shorter than the short scan fade where lines are seen twice.
_FEATHER = math.radians(10.0)


def view_weights(angles: Tensor, period: float = math.pi) -> Tensor:
    """Angle that each view stands for: half the way to its neighbours on the half (or full) circle.

    Views that repeat a direction, as over a full rotation, share its weight. A missing wedge is not extrapolated:
    the views at its rim count as if their next neighbour were at the median distance.

    Parameters
    ----------
    angles : Tensor, shape (angle,)
        In radians.
    period : float
        Angle after which directions repeat: pi for parallel beams, 2 pi for fans.

    Returns
    -------
    Tensor, shape (angle,), float64
        In radians; the sum is the period if the views cover the circle.
    """
    unique, inverse, count = _directions(angles, period)
    if len(unique) == 1:
        return torch.full_like(angles, period / len(angles), dtype=torch.float64)
    gap, usual = _gaps(unique, period)
    gap = torch.where(gap > _WEDGE * usual, usual, gap)
    weights: Tensor = 0.5 * (gap + gap.roll(1)) / count
    return weights[inverse]


def fan_redundancy(angles: Tensor, fan_angles: Tensor) -> Tensor:
    """Weight each ray of a fan-beam scan so that every line counts once.

    A full rotation measures each line twice: 1/2. At least half a rotation plus the fan (the short scan): the smooth
    weights of Parker (1982, eq. 12), stretched over the whole range where that is longer, as by Silver (2000,
    "virtual fan"),

    ``sin^2(pi/4 beta / (delta - gamma))`` for ``0 <= beta <= 2 (delta - gamma)``,
    ``sin^2(pi/4 (pi + 2 delta - beta) / (delta + gamma))`` for ``pi - 2 gamma <= beta <= pi + 2 delta``,

    and 1 between, where ``pi + 2 delta`` is the range. In a smaller range lines are missing, which no weights
    bring back; those measured twice share their weight smoothly, ``c(beta) / (c(beta) + c(opposite))`` with
    ``c`` falling to zero over the first and last `_FEATHER` of the range (Noo et al. 2002, eqs. 40 and 41).
    Where nothing is measured twice all rays weigh 1.

    Parameters
    ----------
    angles : Tensor, shape (angle,)
        Of the views, in radians.
    fan_angles : Tensor, shape (detector,)
        ``gamma`` in radians.

    Returns
    -------
    Tensor, shape (angle, detector), float64
    """
    period = 2.0 * math.pi
    unique, inverse, _ = _directions(angles, period)
    everything = angles.new_ones(len(angles), len(fan_angles), dtype=torch.float64)
    if len(unique) == 1:
        return everything
    gap, usual = _gaps(unique, period)
    widest = int(gap.argmax())
    if float(gap[widest]) <= _WEDGE * float(usual):
        return 0.5 * everything
    # The first view is the one after the gap; each view stands for half a step on either side.
    beta = (torch.remainder(unique - unique[(widest + 1) % len(unique)], period) + 0.5 * usual)[inverse][:, None]
    delta = 0.5 * (period - float(gap[widest]) + float(usual) - math.pi)
    gamma = fan_angles.to(beta)
    fan = float(gamma.abs().max())
    if delta < fan - 0.5 * float(usual):  # a step less than the short scan is still one
        return _shared(beta, gamma, math.pi + 2.0 * delta)
    delta = max(delta, fan + 1e-9)
    rising = (0.25 * math.pi * beta / (delta - gamma)).sin().square()
    falling = (0.25 * math.pi * (math.pi + 2.0 * delta - beta).clamp(min=0.0) / (delta + gamma)).sin().square()
    weights = torch.where(beta < 2.0 * (delta - gamma), rising, everything)
    return torch.where(beta > math.pi - 2.0 * gamma, falling, weights)


def _shared(beta: Tensor, gamma: Tensor, span: float) -> Tensor:
    def confidence(at: Tensor) -> Tensor:
        rim = torch.minimum(at, span - at).clamp(min=0.0) / min(_FEATHER, 0.5 * span)
        return (0.5 * math.pi * rim.clamp(max=1.0)).sin().square()

    mine = confidence(beta).expand(-1, len(gamma))
    # The opposite of (beta, gamma) is (beta + pi + 2 gamma, -gamma), a full rotation earlier or later.
    later = beta + math.pi + 2.0 * gamma
    return mine / (mine + confidence(later) + confidence(later - 2.0 * math.pi))


def _directions(angles: Tensor, period: float) -> tuple[Tensor, Tensor, Tensor]:
    # Rounding makes 0 and pi, or the two passes of a full rotation, the same direction.
    direction = torch.remainder(torch.round(angles.double() / period, decimals=9), 1.0) * period
    unique, inverse, count = torch.unique(direction, return_inverse=True, return_counts=True)
    return unique, inverse, count


def _gaps(unique: Tensor, period: float) -> tuple[Tensor, Tensor]:
    gap = torch.diff(unique, append=unique[:1] + period)
    return gap, gap.median()
