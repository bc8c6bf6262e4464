"""Noise of a scan that was repeated: from the differences of the repeats, after slow drift is removed.

Whatever changes between repeats counts: the scanner's noise, and what the body did meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import gammaincinv

from medinr.errors import IntensityError, ShapeError
from medinr.noise.correlation import measured_autocorrelation, unless_independent
from medinr.noise.estimate import known_kind
from medinr.noise.object_noise import ABOVE_FLOOR
from medinr.noise.planes import Axes, Table, tables_of, turned
from medinr.noise.scan_noise import ScanNoise
from medinr.noise.signal_bias import variance_ratio
from medinr.units import noise_floor
from medinr.volume import Volume

#: Percentiles of the signal between which a scan's sigma is the median over voxels.
SIGNAL_RANGE = (20.0, 95.0)

#: Repeats from which a linear drift of every voxel is removed; fewer lose too much to it.
_DRIFT = 6

#: Width of the Gaussian over the variances, as a share of the slice: a map has few degrees of freedom.
_SMOOTHING = 0.05

#: Spread of the logarithm of the smoothed sigma over the object from which it counts as varying.
_SPREAD = 0.1

#: Pixels of the mean that gives the signal of magnitudes.
_SIGNAL = 3

#: Share of the voxels of that range above the noise from which the others, which hold air, are left out.
_LEAST_SHARE = 0.1

#: Rounds in which sigma and the signal's bias settle.
_ROUNDS = 5


def noise_of_repeats(volumes: Sequence[Volume], *, kind: str | None = None, coils: int | None = None) -> ScanNoise:
    """Find the noise of one repeat from all of them.

    Parameters
    ----------
    volumes : sequence of Volume
        At least two repeats of one scan, in the order of acquisition, on one grid and registered to each other.
    kind, coils
        As for `estimate_noise`; magnitudes count as Rician unless told otherwise.

    Returns
    -------
    ScanNoise
        Sigma is the median over voxels of the 20th to 95th percentile of signal.

    Raises
    ------
    ShapeError
        If there are fewer than two, or their grids differ.
    IntensityError
        If they hold NaN, or do not differ.
    """
    if len(volumes) < 2:
        raise ShapeError(f"Noise from repeats wants at least two volumes; got {len(volumes)}.")
    first = volumes[0]
    for number, volume in enumerate(volumes):
        if volume.shape != first.shape or np.iscomplexobj(volume.array) != np.iscomplexobj(first.array):
            raise ShapeError(f"Repeat {number} has shape {volume.shape} along (z, y, x), repeat 0 {first.shape}.")
        volume.require_finite(f"repeat {number}")
    known = known_kind(first, kind, coils) or "rician"
    count = (coils or 1) if known == "chi" else 1
    mean, variance, residual = _over_repeats(volumes)
    present = (variance > 0) & (np.abs(mean) > 0)
    if not present.any():
        raise IntensityError("The repeats are the same, so there is no noise to be found. Are they copies of one scan?")
    # The median of a variance of few degrees of freedom, a chi-squared variable, lies below its mean.
    freedom = _freedom(len(volumes)) * (2 if np.iscomplexobj(first.array) else 1)
    median_share = 2.0 * float(gammaincinv(0.5 * freedom, 0.5)) / freedom
    level = np.abs(mean + 1000.0) if first.unit == "HU" else np.abs(mean)
    if known != "gaussian":
        # Voxel by voxel the mean of few repeats is as uncertain as their variance, and small where that is.
        level = ndimage.uniform_filter(level, (1, _SIGNAL, _SIGNAL))
    low, high = np.percentile(level[present], SIGNAL_RANGE)
    inside = present & (level >= low) & (level <= high)
    if known == "gaussian":
        local = np.sqrt(variance / median_share)
    else:
        sigma = float(np.sqrt(np.median(variance[inside]) / median_share))
        for _ in range(_ROUNDS):
            local = np.sqrt(variance / variance_ratio((level / sigma).astype(np.float32), count) / median_share)
            above = inside & (level > ABOVE_FLOOR * noise_floor(count) * sigma)
            if above.sum() >= _LEAST_SHARE * inside.sum():
                inside = above
            sigma = float(np.median(local[inside]))
    sigma = float(np.median(local[inside]))
    smooth = _smoothed(local, inside, first.shape)
    spread = float(np.std(np.log(smooth[inside])))
    sigma_map = None
    if spread > _SPREAD:
        sigma_map = (smooth * (sigma / np.median(smooth[inside]))).astype(np.float32)
    residual = np.where(inside, residual, 0.0)

    def table(axes: Axes) -> Table:
        found = measured_autocorrelation(turned(residual, axes), turned(inside, axes))
        return unless_independent(found)

    within, across = tables_of(first, table)
    return ScanNoise(
        known,
        sigma,
        count,
        sigma_map,
        within,
        how=f"from the differences of {len(volumes)} repeats"
        + (", linear drift of every voxel removed" if len(volumes) >= _DRIFT else ""),
        remarks=("What the body did between the repeats (pulse, breathing) counts as noise.",),
        across=across,
    )


def _freedom(count: int) -> int:
    return count - 2 if count >= _DRIFT else count - 1


def _over_repeats(
    volumes: Sequence[Volume],
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[Any]]:
    """Mean, variance around a linear drift, and the residual of the middle repeat; volumes are read one by one."""
    count = len(volumes)
    time = np.arange(count) - 0.5 * (count - 1)
    dtype = np.complex128 if np.iscomplexobj(volumes[0].array) else np.float64
    mean: NDArray[Any] = np.zeros(volumes[0].shape, dtype)
    slope: NDArray[Any] = np.zeros(volumes[0].shape, dtype)
    for at, volume in zip(time, volumes, strict=True):
        mean += volume.array / count
        slope += volume.array * (at / np.square(time).sum())
    if count < _DRIFT:
        slope[:] = 0
    squares = np.zeros(volumes[0].shape)
    middle: NDArray[Any] = np.zeros(volumes[0].shape, dtype)
    for number, (at, volume) in enumerate(zip(time, volumes, strict=True)):
        rest = volume.array - mean - at * slope
        squares += np.square(np.abs(rest))
        if number == count // 2:
            middle = rest
    parts = 2 if dtype is np.complex128 else 1
    return mean, squares / (parts * _freedom(count)), middle


def _smoothed(local: NDArray[Any], inside: NDArray[np.bool_], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Root of the smoothed variance in every slice, voxels outside filled from their neighbours."""
    widths = (0.0, _SMOOTHING * shape[1], _SMOOTHING * shape[2])
    # Values beyond a few medians are vessels and edges that move.
    middle = float(np.median(local[inside]))
    square = np.where(inside, np.square(np.minimum(local, 2.5 * middle)), 0.0)
    total, weight = np.zeros(shape), np.zeros(shape)
    for factor in (1.0, 4.0):
        share = ndimage.gaussian_filter(inside.astype(float), [factor * width for width in widths])
        value = ndimage.gaussian_filter(square, [factor * width for width in widths]) / np.maximum(share, 1e-9)
        here = np.clip(share / 0.2, 0.0, 1.0) * (1.0 - weight)
        total += here * value
        weight += here
    return np.sqrt(np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), middle**2))
