"""A scan as it was acquired, denoised by what is known of its noise.

One evaluation of a denoiser that was trained on squared error gives the posterior mean at the noise that it is told
(Robbins 1956): the likelihood is that of the scan's own noise, its level at every voxel, its kind and its correlation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.errors import ConfigError
from medinr.io.padding import HU_FLOOR
from medinr.noise.correlation import neighbours
from medinr.noise.planes import ACROSS, WITHIN, Axes, has_planes_across, noise_in_planes, turned_volume
from medinr.noise.scan_noise import ScanNoise
from medinr.priors.denoiser import LocalDenoiser
from medinr.priors.denoiser_prior import ORIENTATIONS, DenoiserPrior, oriented, oriented_back, smooth_phasor
from medinr.priors.scan_denoiser import SLICES
from medinr.solve.acquired_grid import acquired_shape, on_acquired_grid, on_frequencies
from medinr.solve.noise_maps import noise_maps
from medinr.solve.unfinished import Unfinished
from medinr.volume import Volume
from medinr.workers import Workers

#: Correlation of neighbouring pixels up to which noise is like that of independent pixels.
_ALMOST_INDEPENDENT = 0.22

#: Of the orientations, one in so many is used in each of three directions.
_FEWER = 4

#: Called with the slices done and how many there are.
Progress = Callable[[int, int], None]


@torch.no_grad()
def denoise_scan(
    volume: Volume,
    noise: ScanNoise,
    prior: DenoiserPrior,
    *,
    orientations: int = ORIENTATIONS,
    progress: Progress | None = None,
    unfinished: Unfinished | None = None,
) -> NDArray[Any]:
    """Denoise a scan slice by slice, each with its neighbours; nearly cubic voxels in planes of three directions.

    Parameters
    ----------
    volume : Volume
        Of one slice or more; magnitudes, complex values or Hounsfield units.
    noise : ScanNoise
        In the scan's units.
    prior : DenoiserPrior
        With a denoiser for scans.
    orientations : int
        Rotations and flips of the grid whose mean is taken; fewer take less time. A quarter of them in each of three
        directions.
    progress : callable, optional
    unfinished : Unfinished, optional
        Keeps slices that are done; those of a run that was stopped are not done again.

    Returns
    -------
    ndarray, shape (z, y, x)
        Complex where the scan is, else float32. Magnitudes lose the bias of their noise. Zero-filled frequencies stay
        as they are.

    Raises
    ------
    ConfigError
        When the prior has no denoiser for scans.
    """
    if prior.scan_denoiser is None:
        raise ConfigError(
            "This model has no denoiser for scans as they were acquired. Choose another with --model (medinr models "
            "lists them), or train one: medinr pretrain"
        )
    if noise.sigma == 0:
        return volume.array.copy()
    directions = _directions(volume, noise)
    removed, before, passed = np.zeros_like(volume.array), 0, 0
    if unfinished is not None and (found := unfinished.load()) is not None:
        before, removed[:] = found
    workers, total = Workers(), sum(volume.shape[axes[0]] for axes in directions)
    for axes in directions:
        into = removed.transpose(axes)
        slices = _Slices.along(axes, volume, noise, prior, orientations, len(directions))

        def denoise(number: int, slices: _Slices = slices, into: NDArray[Any] = into) -> int:
            into[number] += on_frequencies(slices.removed(number), into[number].shape) / len(directions)
            return number

        count = len(into)
        for first in range(max(0, before - passed), count, workers.count):
            done = passed + workers.map(denoise, range(first, min(first + workers.count, count)))[-1] + 1
            if unfinished is not None:
                unfinished.save(done, removed)
            if progress is not None:
                progress(done, total)
        passed += count
    result: NDArray[Any] = volume.array - removed
    if noise.kind != "gaussian":
        np.clip(result, 0, None, out=result)
    return result


def _directions(volume: Volume, noise: ScanNoise) -> tuple[Axes, ...]:
    """Orders of the axes (z, y, x) in which the scan is denoised slice by slice.

    Of nearly cubic voxels, planes in three directions show far more of the surroundings than neighbouring slices do.
    Noise that is correlated within slices must be known across them too.
    """
    known = noise.across is not None or _independent(on_acquired_grid(noise))
    return (WITHIN, *ACROSS) if known and has_planes_across(volume) else (WITHIN,)


def _independent(noise: ScanNoise) -> bool:
    return noise.autocorrelation is None or neighbours(noise.autocorrelation) <= _ALMOST_INDEPENDENT


class _Denoiser(Protocol):
    def infer(self, slices: Tensor, noise: Tensor) -> Tensor:
        """See `ScanDenoiser.infer`."""


@dataclass(frozen=True, eq=False)
class _OfOneSlice:
    """A small denoiser in place of one for scans: neither neighbours nor correlation matter to it."""

    small: LocalDenoiser

    def infer(self, slices: Tensor, noise: Tensor) -> Tensor:
        return self.small.infer(slices[:, SLICES // 2], noise[:, 0])


def _denoisers(prior: DenoiserPrior, noise: ScanNoise) -> tuple[_Denoiser, ...]:
    """Add the small denoiser where it knows the noise: independent, and Gaussian or Rician.

    The errors of two networks are less alike than those of one in several orientations (Krogh & Vedelsby, NIPS 1995).
    """
    scan = prior.scan_denoiser
    assert scan is not None
    if not _independent(noise):
        return (scan,)
    small = {"gaussian": prior.denoiser, "rician": prior.magnitude_denoiser}.get(noise.kind)
    return (scan,) if small is None else (scan, _OfOneSlice(small))


@dataclass(frozen=True)
class _Slices:
    """Slices of a scan with their neighbours and the maps of their noise, on the grid that was acquired."""

    volume: Volume
    noise: ScanNoise
    grid: tuple[int, int]
    denoisers: tuple[_Denoiser, ...]
    orientations: int

    @classmethod
    def along(
        cls,
        axes: Axes,
        volume: Volume,
        noise: ScanNoise,
        prior: DenoiserPrior,
        orientations: int,
        directions: int,
    ) -> _Slices:
        """Take the planes of one of several directions."""
        whole, within = turned_volume(volume, axes), noise_in_planes(noise, axes)
        grid = acquired_shape((whole.shape[1], whole.shape[2]), within.zero_filling)
        acquired = on_acquired_grid(within)
        denoisers = _denoisers(prior, acquired)
        each = orientations if directions == 1 else max(len(denoisers), orientations // _FEWER)
        return cls(whole, acquired, grid, denoisers, each)

    def removed(self, number: int) -> NDArray[Any]:
        """What is taken away from a slice, on the grid that was acquired."""
        slices = torch.stack([self._slice(near) for near in self._neighbours(number)])
        maps = torch.from_numpy(self._maps(number))
        if not slices.is_complex():
            return np.asarray((slices[1] - self._mean(slices, maps)).numpy())
        phasors = torch.stack([smooth_phasor(image) for image in slices])
        upright = slices * phasors.conj()
        parts = [part[1] - self._mean(part.contiguous(), maps) for part in (upright.real, upright.imag)]
        return np.asarray((torch.complex(parts[0], parts[1]) * phasors[1]).numpy())

    def _neighbours(self, number: int) -> tuple[int, int, int]:
        """A slice between its neighbours; the one there is stands for a missing one."""
        last = len(self.volume.array) - 1
        before, after = number - 1, number + 1
        if before < 0:
            before = min(after, last)
        return before, number, after if after <= last else before

    def _slice(self, number: int) -> Tensor:
        """On the grid that was acquired, as brightness that is not negative."""
        values = self.volume.array[number]
        if self.volume.unit == "HU":
            # Padding outside the field of view is no tissue.
            values = np.clip(values, HU_FLOOR, None) - HU_FLOOR
        if self.grid != values.shape:
            values = on_frequencies(values, self.grid)
        return torch.from_numpy(np.ascontiguousarray(values))

    def _maps(self, number: int) -> NDArray[np.float32]:
        y, x = self.volume.array.shape[1:]
        maps = noise_maps(self.noise, number, (y, x))
        return maps if self.grid == (y, x) else np.stack([_coarser(one, self.grid) for one in maps])

    def _mean(self, slices: Tensor, maps: Tensor) -> Tensor:
        """Mean of a real slice denoised in several orientations, by each denoiser in as many."""
        total = torch.zeros_like(slices[1])
        for orientation in range(self.orientations):
            given = (oriented(part, orientation).unsqueeze(0) for part in (slices, maps))
            denoiser = self.denoisers[orientation * len(self.denoisers) // self.orientations]
            total += oriented_back(denoiser.infer(*given)[0], orientation)
        return total / self.orientations


def _coarser(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """A smooth map at the centres of fewer pixels."""
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(int) for new, old in zip(shape, image.shape, strict=True)
    )
    return image[np.ix_(rows, columns)]
