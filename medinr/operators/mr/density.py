"""Sampling density of a trajectory: weights ``w`` for which ``A^H W A`` is close to the identity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators.mr.gridding import NonUniformSums


def radial_density(trajectory: Tensor, shape: Sequence[int]) -> Tensor:
    """Area of k-space around each sample of straight spokes through the centre.

    A sample between radii ``a`` and ``b`` of a spoke that has the angle ``d`` to itself gets ``d (b |b| - a |a|) / 2``;
    ``d`` is half the angle between its neighbours, so the spokes may be in any order and at any angles.

    Parameters
    ----------
    trajectory : Tensor, shape (spoke, readout, 2)
        ``(ky, kx)`` in cycles per field of view, each spoke ordered from one end to the other.
    shape : sequence of int
        Image shape ``(y, x)``.

    Returns
    -------
    Tensor, shape (spoke, readout)
        In units of the area of one Cartesian sample, float64.

    Raises
    ------
    ShapeError
        If the trajectory is not of that shape.
    ConfigError
        If a spoke is not straight or misses the centre.
    """
    if trajectory.ndim != 3 or trajectory.shape[-1] != 2 or trajectory.shape[1] < 2:
        raise ShapeError(f"Radial density wants a trajectory (spoke, readout, 2); got {tuple(trajectory.shape)}.")
    size = torch.tensor(tuple(shape), dtype=torch.float64, device=trajectory.device)
    y, x = (trajectory.double() / size).unbind(-1)
    direction = torch.atan2(y[:, -1] - y[:, 0], x[:, -1] - x[:, 0])[:, None]
    radius = y * torch.sin(direction) + x * torch.cos(direction)
    astray = float((y * torch.cos(direction) - x * torch.sin(direction)).abs().max())
    if astray > 1e-3 / float(size.max()):
        raise ConfigError(
            f"Radial density wants straight spokes through the centre; a sample is {astray:.2g} cycles per pixel "
            "off its spoke. Use iterative_density."
        )
    middle = (radius[:, 1:] + radius[:, :-1]) / 2
    edges = torch.cat([2 * radius[:, :1] - middle[:, :1], middle, 2 * radius[:, -1:] - middle[:, -1:]], dim=1)
    signed_area = edges * edges.abs() / 2
    return _own_angles(direction[:, 0])[:, None] * signed_area.diff(dim=1) * size.prod()


def _own_angles(directions: Tensor) -> Tensor:
    """Half the angle between the two neighbours of each line through the centre, in rad."""
    angles, order = torch.remainder(directions, math.pi).sort()
    gaps = torch.cat([angles, angles[:1] + math.pi]).diff()
    own = torch.empty_like(gaps)
    own[order] = (gaps + gaps.roll(1)) / 2
    return own


def iterative_density(trajectory: Tensor, shape: Sequence[int], iterations: int = 30) -> Tensor:
    """Density compensation of any trajectory (Pipe & Menon 1999, eq. 7): ``w <- w / (C w)``.

    ``C`` convolves the samples with a kernel in k-space. Here the kernel is ``sinc^2`` of the distance in cycles per
    field of view along each axis, which is nowhere negative and zero at the neighbouring Cartesian samples: on the full
    Cartesian trajectory all weights are 1. It is applied as a triangular window on a grid of twice the image's size.

    Parameters
    ----------
    trajectory : Tensor, shape (..., axes)
        In cycles per field of view, 1 to 3 axes.
    shape : sequence of int
        Image shape, as many axes.
    iterations : int
        10 to 30 are usual; more change little.

    Returns
    -------
    Tensor, shape trajectory.shape[:-1]
        In units of the area of one Cartesian sample, float64.

    Raises
    ------
    ShapeError
        If trajectory and shape have different numbers of axes.
    ConfigError
        If there is no iteration.
    """
    shape = tuple(shape)
    if trajectory.shape[-1] != len(shape):
        raise ShapeError(f"The trajectory {tuple(trajectory.shape)} has other axes than images of shape {shape}.")
    if iterations < 1:
        raise ConfigError(f"Density compensation wants at least one iteration; got {iterations}.")
    size = torch.tensor(shape, dtype=torch.float64, device=trajectory.device)
    points = trajectory.detach().double().reshape(-1, len(shape))
    sums = NonUniformSums([2 * n for n in shape], 2.0 * math.pi * points / size)
    window = torch.ones(())
    for n in shape:
        triangle = 1.0 - (torch.arange(2 * n) - n).abs() / n
        window = window[..., None] * triangle / n
    weights = torch.ones(len(points), dtype=torch.float64)
    for _ in range(iterations):
        # Single precision: what it rounds is divided out again by the next iteration, all but 1e-4 of a weight.
        smoothed = sums.compute(window * sums.compute(weights.to(torch.complex64), True), False).real
        weights = weights / smoothed.double()
    return weights.reshape(trajectory.shape[:-1]).to(trajectory.device)
