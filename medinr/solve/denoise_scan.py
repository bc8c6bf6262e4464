"""A scan as it was acquired, denoised by what is known of its noise.

One evaluation of a denoiser that was trained on squared error gives the posterior mean at the noise that it is told
(Robbins 1956): the likelihood is that of the scan's own noise, its level at every voxel, its kind and its correlation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.errors import ConfigError
from medinr.io.padding import HU_FLOOR
from medinr.noise.correlation import neighbours
from medinr.noise.planes import ACROSS, WITHIN, Axes, has_planes_across, noise_in_planes, turned_volume
from medinr.noise.scan_noise import ScanNoise
from medinr.priors.denoiser_prior import ORIENTATIONS, DenoiserPrior, smooth_phasor
from medinr.solve.acquired_grid import acquired_shape, on_acquired_grid, on_frequencies
from medinr.solve.noise_maps import noise_maps
from medinr.solve.two_denoisers import TwoDenoisers, above_floor
from medinr.solve.unfinished import Unfinished
from medinr.volume import Volume
from medinr.workers import Workers

#: Correlation of neighbouring pixels up to which noise is like that of independent pixels, and up to which a denoiser
#: for independent noise is of use.
_ALMOST_INDEPENDENT, _CORRELATED = 0.22, 0.6

#: Of the orientations, one in so many is used in each of three directions.
_FEWER = 4

#: Share of the small denoiser, which sees no neighbouring slices, where these tell much.
_SHARE_BESIDE_NEIGHBOURS = 0.5

#: Share of what is made as if correlated noise were independent, and the sigma that is told then over its own: it is
#: stronger at the frequencies that it has.
_SHARE_AS_INDEPENDENT, _STRONGER = 1 / 3, 1.12

#: Signal over sigma and the root of the number of coils, between which what magnitudes hold at frequencies that were
#: not acquired turns from noise to signal.
_BEYOND = (2.0, 4.0)

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
        views = _views(turned_volume(volume, axes), noise_in_planes(noise, axes), prior, orientations, len(directions))

        def denoise(number: int, views: _Views = views, into: NDArray[Any] = into) -> int:
            for weight, slices in views:
                into[number] += slices.removed(number) * (weight / len(directions))
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
    return _correlation(noise) <= _ALMOST_INDEPENDENT


def _correlation(noise: ScanNoise) -> float:
    return 0.0 if noise.autocorrelation is None else neighbours(noise.autocorrelation)


@dataclass(frozen=True)
class _Slices:
    """Slices of a scan with their neighbours and the maps of their noise, denoised on some grid."""

    volume: Volume
    noise: ScanNoise
    grid: tuple[int, int]
    denoisers: TwoDenoisers

    def removed(self, number: int) -> NDArray[Any]:
        """What is taken away from a slice."""
        slices = torch.stack([self._slice(near) for near in self._neighbours(number)])
        maps = torch.from_numpy(self._maps(number))
        whole = self.volume.array[number].shape
        if not slices.is_complex():
            denoised = self.denoisers.denoised(slices, maps)
            removed = on_frequencies((slices[1] - denoised).numpy(), whole)
            return removed if self.grid == whole else removed + self._beyond(number, slices[1], denoised)
        phasors = torch.stack([smooth_phasor(image) for image in slices])
        upright = slices * phasors.conj()
        parts = [part[1] - self.denoisers.denoised(part.contiguous(), maps) for part in (upright.real, upright.imag)]
        return on_frequencies((torch.complex(parts[0], parts[1]) * phasors[1]).numpy(), whole)

    def _beyond(self, number: int, acquired: Tensor, denoised: Tensor) -> NDArray[Any]:
        """What is taken away at frequencies that were not acquired: magnitudes have them where noise is strong."""
        image = self.volume.array[number]
        signal, sigma = on_frequencies(denoised.numpy(), image.shape), noise_maps(self.noise, number, image.shape)[0]
        share = above_floor(signal / sigma, self.denoisers.coils, _BEYOND)
        return np.asarray((image - on_frequencies(acquired.numpy(), image.shape)) * (1 - share))

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


#: Slices with their weights.
_Views = tuple[tuple[float, _Slices], ...]


def _views(volume: Volume, noise: ScanNoise, prior: DenoiserPrior, orientations: int, directions: int) -> _Views:
    """Slices on the grid that was acquired, where noise is independent.

    Zero-filled ones are denoised on their own grid too, as if noise were independent there: the acquired grid is too
    coarse for what the denoisers know of anatomy, the own one too fine for what they know of noise, and errors differ.
    """
    acquired = on_acquired_grid(noise)
    grid = acquired_shape((volume.shape[1], volume.shape[2]), noise.zero_filling)
    independent, magnitudes = _independent(acquired), noise.kind != "gaussian"
    used = independent or (magnitudes and _correlation(acquired) <= _CORRELATED)
    assert prior.scan_denoiser is not None
    denoisers = TwoDenoisers(
        prior.scan_denoiser,
        prior.denoiser if used else None,
        noise.coils if magnitudes else 0,
        orientations if directions == 1 else max(2 if used else 1, orientations // _FEWER),
        _SHARE_AS_INDEPENDENT if not independent else 1.0 if directions == 1 else _SHARE_BESIDE_NEIGHBOURS,
        1.0 if independent else _STRONGER,
    )
    first = _Slices(volume, acquired, grid, denoisers)
    if grid == volume.shape[1:] or not independent:
        return ((1.0, first),)
    sigma_map = None if noise.sigma_map is None else _STRONGER * noise.sigma_map
    as_independent = ScanNoise(noise.kind, _STRONGER * noise.sigma, noise.coils, sigma_map)
    fewer = replace(denoisers, orientations=max(2, denoisers.orientations // 2))
    own = _Slices(volume, as_independent, (volume.shape[1], volume.shape[2]), fewer)
    return (1 - _SHARE_AS_INDEPENDENT, first), (_SHARE_AS_INDEPENDENT, own)


def _coarser(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """A smooth map at the centres of fewer pixels."""
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(int) for new, old in zip(shape, image.shape, strict=True)
    )
    return image[np.ix_(rows, columns)]
