"""Planes of three directions through a scan of nearly cubic voxels, and its noise in each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

#: Orders of the axes (z, y, x) whose first axis counts planes: the slices of the scan, and planes across them.
WITHIN, *ACROSS = ((0, 1, 2), (1, 0, 2), (2, 0, 1))

#: Fewest voxels along every axis for planes across the slices.
_LEAST_SIDE = 16

Axes = tuple[int, int, int]

#: Autocorrelation, or None of independent pixels.
Table = NDArray[np.float64] | None


def has_planes_across(volume: Volume) -> bool:
    """Whether planes across the slices are worth looking at: nearly cubic voxels, enough of them along every axis."""
    return volume.nearly_cubic and min(volume.shape) >= _LEAST_SIDE


def turned(values: NDArray[Any], axes: Axes) -> NDArray[Any]:
    """Values of shape (z, y, x) with planes along other axes, contiguous."""
    return np.ascontiguousarray(values.transpose(axes))


def turned_volume(volume: Volume, axes: Axes) -> Volume:
    """A scan with planes along other axes; its affine stays, so position and orientation do not count."""
    return volume if axes == WITHIN else replace(volume, array=turned(volume.array, axes))


def tables_of(volume: Volume, table: Callable[[Axes], Table]) -> tuple[Table, tuple[Table, Table] | None]:
    """Autocorrelation of a scan's noise within its slices and across them, None where those are not looked at.

    Parameters
    ----------
    volume : Volume
    table : callable
        Gives that of planes of one direction.
    """
    return table(WITHIN), (table(ACROSS[0]), table(ACROSS[1])) if has_planes_across(volume) else None


def noise_in_planes(noise: ScanNoise, axes: Axes) -> ScanNoise:
    """Noise of a scan as planes of one direction have it.

    Parameters
    ----------
    noise : ScanNoise
        Of the scan; what is not known across the slices counts as independent there.
    axes : (int, int, int)
        `WITHIN`, or one of `ACROSS`.

    Returns
    -------
    ScanNoise
        Of the scan turned by `turned_volume`.
    """
    if axes == WITHIN:
        return noise
    filling = (1.0, *noise.zero_filling)
    return replace(
        noise,
        sigma_map=None if noise.sigma_map is None else turned(noise.sigma_map, axes),
        autocorrelation=None if noise.across is None else noise.across[ACROSS.index(axes)],
        across=None,
        zero_filling=(filling[axes[1]], filling[axes[2]]),
    )
