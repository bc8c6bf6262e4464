"""Paths through k-space, in cycles per field of view: what `NonUniformFourier` takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import ConfigError

#: Angle between successive spokes in rad, 111.246 degrees (Winkelmann et al. 2007, eq. 1).
GOLDEN_ANGLE = math.pi * (math.sqrt(5.0) - 1.0) / 2.0


def radial_trajectory(spokes: int, samples: int, shape: Sequence[int], golden: bool = False) -> Tensor:
    """Spokes through the centre of k-space.

    Sample ``j`` of spoke ``i`` is at ``r (n_y sin a, n_x cos a)`` with ``r = (j - samples // 2) / samples`` and
    ``a = pi i / spokes``, or ``i`` times the golden angle.

    Parameters
    ----------
    spokes : int
        At least 1. Critically sampled with ``pi / 2`` times as many as pixels along an edge.
    samples : int
        Along the diameter; twice the pixels along an edge for the usual readout oversampling of 2.
    shape : sequence of int
        Image shape ``(y, x)``.
    golden : bool
        Winkelmann et al. (2007): any run of successive spokes covers the angles almost evenly.

    Returns
    -------
    Tensor, shape (spokes, samples, 2)
        ``(ky, kx)`` in cycles per field of view, float64.

    Raises
    ------
    ConfigError
        If there is no spoke or no sample.
    """
    _refuse_none(spokes=spokes, samples=samples)
    angle = (GOLDEN_ANGLE if golden else math.pi / spokes) * torch.arange(spokes, dtype=torch.float64)
    radius = (torch.arange(samples, dtype=torch.float64) - samples // 2) / samples
    return _stretched(radius * torch.sin(angle)[:, None], radius * torch.cos(angle)[:, None], shape)


def spiral_trajectory(
    interleaves: int, samples: int, shape: Sequence[int], turns: float, density: float = 1.0
) -> Tensor:
    """Archimedean spirals from the centre outwards, of variable density, at constant speed.

    ``r = u^density / 2``, angle ``2 pi turns u``, ``u`` from 0 to 1 (Kim, Adalsteinsson & Spielman 2003, eq. 2),
    turned by ``2 pi / interleaves`` from one interleaf to the next. The samples are equally spaced along the path:
    a scanner limited by its gradient amplitude; slew rate is not limited.

    Parameters
    ----------
    interleaves : int
    samples : int
        Per interleaf, at least 2. With density 1, ``pi n turns / 2`` of them are one cycle per field of view apart.
    shape : sequence of int
        Image shape ``(y, x)``.
    turns : float
        Of one interleaf. With density 1 neighbouring turns are ``n / (2 turns interleaves)`` apart; 1 or less
        is fully sampled.
    density : float
        1: turns at equal distance. Above 1 they are closer together near the centre.

    Returns
    -------
    Tensor, shape (interleaves, samples, 2)
        ``(ky, kx)`` in cycles per field of view, float64.

    Raises
    ------
    ConfigError
        If a number is not positive.
    """
    _refuse_none(interleaves=interleaves, samples=samples - 1)
    if not (turns > 0 and density > 0):
        raise ConfigError(f"A spiral wants positive turns and density; got {turns} and {density}.")
    # Fine enough that chords and arcs differ by less than rounding in float32.
    fine = torch.linspace(0.0, 1.0, 64 * max(samples, math.ceil(64 * turns)) + 1, dtype=torch.float64)
    path = torch.polar(0.5 * fine**density, 2.0 * math.pi * turns * fine)
    length = torch.cat([torch.zeros(1, dtype=torch.float64), path.diff().abs().cumsum(0)])
    wanted = torch.linspace(0.0, float(length[-1]), samples, dtype=torch.float64)
    after = torch.searchsorted(length, wanted).clamp(1, len(fine) - 1)
    part = (wanted - length[after - 1]) / (length[after] - length[after - 1])
    u = torch.lerp(fine[after - 1], fine[after], part)
    start = 2.0 * math.pi / interleaves * torch.arange(interleaves, dtype=torch.float64)[:, None]
    angle, radius = start + 2.0 * math.pi * turns * u, 0.5 * u**density
    return _stretched(radius * torch.sin(angle), radius * torch.cos(angle), shape)


def cartesian_trajectory(shape: Sequence[int]) -> Tensor:
    r"""Every point of Cartesian k-space, zero frequency at ``n // 2``.

    Parameters
    ----------
    shape : sequence of int
        Image shape ``(y, x)``; more or fewer axes are allowed.

    Returns
    -------
    Tensor, shape (\*shape, axes)
        In cycles per field of view, float64.
    """
    axes = [torch.arange(n, dtype=torch.float64) - n // 2 for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def _stretched(y: Tensor, x: Tensor, shape: Sequence[int]) -> Tensor:
    """From cycles per pixel to cycles per field of view."""
    rows, columns = shape
    return torch.stack([rows * y, columns * x], dim=-1)


def _refuse_none(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"A trajectory wants more {name} than that: {count} is less than 1.")
