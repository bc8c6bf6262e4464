"""The volumes of a series filtered together: what they have in common is kept, and noise, which they have not, is not.

Noise is independent from volume to volume. In a window of voxels a series is a matrix of volumes and voxels; of its
principal components along the volumes, those are kept whose energy is more than noise alone has, which is bounded by
the edge of the Marchenko-Pastur distribution (Veraart et al., NeuroImage 2016; Manjon et al., PLoS ONE 2013). Here
sigma is known, the noise of neighbouring pixels may correlate, and the result is meant for a spatial denoiser that is
told what is left of the noise.

A small change between volumes may be too weak for the edge. It must not be lost, so that

- every volume keeps its own smooth part, which has little noise; only fine detail comes from the components;
- a volume with a change of its own that only the smooth part shows keeps all that it has there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medinr.errors import ShapeError
from medinr.noise.scan_noise import ScanNoise
from medinr.priors.denoiser_prior import smooth_phasor
from medinr.solve.series_noise import BandNoise, band_noise, sigma_of, smooth_part
from medinr.workers import Workers

#: Fewest volumes that are worth it.
LEAST_VOLUMES = 4

#: Slices of a window, the least width in pixels, and the least number of its voxels over that of volumes.
_DEPTH, _WIDTH, _VOXELS_PER_VOLUME = 3, 7, 2

#: Multiples of these, modulo 1, lie far from one another.
_GOLDEN, _PLASTIC = 0.618034, 0.754878

#: How much more of a volume the components of the smooth part hold than those of all, where it stands alone.
_ALONE = 0.5


@dataclass(frozen=True, eq=False)
class FilteredSeries:
    """A series after what noise alone explains was left out.

    Attributes
    ----------
    values : ndarray, shape (t, z, y, x), float32 or complex64
    left : ndarray, shape (t, z, y, x), float16
        Variance of the noise that is left, as a share.
    """

    values: NDArray[Any]
    left: NDArray[np.float16]


def filtered_series(
    series: NDArray[Any], noise: ScanNoise, progress: Callable[[int, int], None] | None = None
) -> FilteredSeries:
    """Leave out of every volume what noise alone explains.

    Parameters
    ----------
    series : ndarray, shape (t, z, y, x), float32 or complex64
        Four volumes or more on one grid. Of complex values the smooth phase of every slice does not count.
    noise : ScanNoise
        Of one volume. Magnitudes keep the bias of their noise.
    progress : callable, optional
        Called with the slices done and how many there are.

    Raises
    ------
    ShapeError
        For fewer than four volumes, or another number of axes.
    """
    if series.ndim != 4 or len(series) < LEAST_VOLUMES:
        raise ShapeError(
            f"A series is (t, z, y, x) of {LEAST_VOLUMES} volumes or more; got shape {series.shape}. Denoise fewer one "
            "by one."
        )
    found = FilteredSeries(np.empty_like(series), np.empty(series.shape, np.float16))
    sigma, band, workers = sigma_of(noise, series.shape[1:]), band_noise(noise), Workers()
    slices = series.shape[1]

    def work(number: int) -> None:
        found.values[:, number], found.left[:, number] = _filtered_slice(series, sigma, band, number)

    for first in range(0, slices, workers.count):
        last = min(first + workers.count, slices)
        workers.map(work, range(first, last))
        if progress is not None:
            progress(last, slices)
    return found


def in_common(series: NDArray[Any], noise: ScanNoise) -> tuple[float, float]:
    """Say how much of the noise is left, and how much would be if the volumes had nothing in common.

    For that, every volume is shifted by another distance: each then has the same signal and noise as before, but none
    where the others have theirs (surrogate data; Theiler et al., Physica D 1992).

    Parameters
    ----------
    series : ndarray, shape (t, z, y, x)
        A few slices are enough.
    noise : ScanNoise
        Of these slices.

    Returns
    -------
    left, shifted : float
        Share of the variance, mean over all voxels.
    """
    even = replace(noise, sigma=1.0, sigma_map=None)
    relative = series / sigma_of(noise, series.shape[1:])
    y, x = series.shape[2:]
    apart = [(int(y * (_GOLDEN * t % 1)), int(x * (_PLASTIC * t % 1))) for t in range(len(series))]
    moved = np.stack([np.roll(volume, shift, (1, 2)) for volume, shift in zip(relative, apart, strict=True)])
    left, shifted = (float(filtered_series(part, even).left.mean(dtype=np.float64)) for part in (relative, moved))
    return left, shifted


def _filtered_slice(
    series: NDArray[Any], sigma: NDArray[np.float32], band: BandNoise, number: int
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """A slice of every volume and the share of the noise that is left, both of shape (t, y, x)."""
    start = max(0, min(number - _DEPTH // 2, series.shape[1] - _DEPTH))
    near = slice(start, start + _DEPTH)
    images, scale = series[:, near], sigma[near]
    if np.iscomplexobj(images):
        phases = _phases(images)
        # Of complex values, sigma is that of the real part alone.
        images, scale = images * phases.conj(), np.float32(np.sqrt(2.0)) * scale
    relative = images / scale
    smooth = smooth_part(relative)
    sums = _Sums.over(relative[:, 0], _width(*relative.shape[:2]))
    for top in sums.starts(relative.shape[2]):
        sums.add_row(top, relative, smooth, band, number - start)
    values, left = sums.combined(relative[:, number - start], smooth[:, number - start], band.share)
    values = values * scale[number - start]
    return values * phases[:, number - start] if np.iscomplexobj(values) else values, left


def _phases(images: NDArray[Any]) -> NDArray[Any]:
    """Smooth phase of slices ``(t, z, y, x)``, as numbers of size 1: that of diffusion differs in every volume."""
    found = np.empty_like(images)
    for place in np.ndindex(images.shape[:2]):
        found[place] = smooth_phasor(torch.from_numpy(images[place])).numpy()
    return found


def _width(volumes: int, depth: int) -> int:
    """Odd width of the windows: more voxels than volumes tell noise from signal better."""
    width = _WIDTH
    while depth * width**2 < _VOXELS_PER_VOLUME * volumes:
        width += 2
    return width


@dataclass(eq=False)
class _Sums:
    """Sums over the windows that hold a pixel, of one slice of every volume."""

    shape: tuple[int, int]
    detail: NDArray[Any]
    left: NDArray[np.float32]
    windows: NDArray[np.float32]
    alone: NDArray[np.bool_]

    @classmethod
    def over(cls, images: NDArray[Any], width: int) -> _Sums:
        y, x = images.shape[1:]
        return cls(
            (min(width, y), min(width, x)),
            np.zeros_like(images),
            np.zeros(images.shape, np.float32),
            np.zeros((y, x), np.float32),
            np.zeros(images.shape, np.bool_),
        )

    def starts(self, size: int, axis: int = 0) -> NDArray[np.int64]:
        """Where windows start along an axis; half of each overlaps the next."""
        width = self.shape[axis]
        return np.unique([*range(0, size - width + 1, max(1, width // 2)), size - width])

    def add_row(self, top: int, relative: NDArray[Any], smooth: NDArray[Any], band: BandNoise, middle: int) -> None:
        """Add the windows whose first row of pixels is `top`; `middle` is the slice wanted of those of the window."""
        height, width = self.shape
        starts = self.starts(relative.shape[-1], axis=1)
        rows = slice(top, top + height)
        parts, smooth_parts = (_windows(part[:, :, rows], width, starts) for part in (relative, smooth))
        voxels = parts[0, 0].size
        found = _Components.of(parts, 1.0, band.pixels / voxels)
        of_smooth = _Components.of(smooth_parts, band.share, band.smooth_pixels / voxels)
        detail = found.kept(parts[:, :, middle] - smooth_parts[:, :, middle])
        alone = of_smooth.leverage - found.leverage > _ALONE
        for column in range(width):
            here = (rows, starts + column)
            each = (slice(None), *here)
            self.detail[each] += detail[..., column].transpose(1, 2, 0)
            self.left[each] += found.left.T[:, None]
            self.windows[here] += 1
            self.alone[each] |= alone.T[:, None]

    def combined(
        self, images: NDArray[Any], smooth: NDArray[Any], share: float
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Values, and the share of the noise left, of shape (t, y, x) both."""
        values = np.where(self.alone, images, smooth + self.detail / self.windows)
        left = np.where(self.alone, 1.0, share + (1.0 - share) * self.left / self.windows)
        return values, left.astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Components:
    """Principal components along the volumes of a row of windows that noise does not explain.

    Attributes
    ----------
    projection : ndarray, shape (windows, t, t)
        Onto them.
    leverage, left : ndarray, shape (windows, t)
        Of every volume: share of its noise in their span; and in the result, as they are found from noisy voxels.
    """

    projection: NDArray[Any]
    leverage: NDArray[np.float32]
    left: NDArray[np.float32]

    @classmethod
    def of(cls, parts: NDArray[Any], variance: float, per_voxel: float) -> _Components:
        """Find them in windows ``(windows, t, z, y, x)`` of noise of a variance; one over the independent voxels."""
        windows, volumes = parts.shape[:2]
        matrix = parts.reshape(windows, volumes, -1)
        energy, basis = np.linalg.eigh(matrix @ matrix.conj().transpose(0, 2, 1) / np.float32(matrix.shape[-1]))
        above = energy > variance * (1.0 + np.sqrt(volumes * per_voxel)) ** 2
        projection = (basis * above[:, None]) @ basis.conj().transpose(0, 2, 1)
        leverage = np.diagonal(projection, axis1=1, axis2=2).real
        left = np.minimum(1.0, leverage + np.float32(per_voxel) * above.sum(axis=1)[:, None]).astype(np.float32)
        return cls(projection, leverage, left)

    def kept(self, slices: NDArray[Any]) -> NDArray[Any]:
        """Project one slice of every window, shape (windows, t, y, x)."""
        flat = slices.reshape(*slices.shape[:2], -1)
        return np.asarray(self.projection @ flat).reshape(slices.shape)


def _windows(rows: NDArray[Any], width: int, starts: NDArray[np.int64]) -> NDArray[Any]:
    """Cut rows ``(t, z, y, x)`` into windows ``(windows, t, z, y, x)``."""
    views = np.lib.stride_tricks.sliding_window_view(rows, width, axis=-1)[..., starts, :]
    return np.ascontiguousarray(np.moveaxis(views, -2, 0))
