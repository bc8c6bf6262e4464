"""A scan as it was acquired, denoised by what is known of its noise.

One evaluation of a denoiser that was trained on squared error gives the posterior mean at the noise that it is told
(Robbins 1956): the likelihood is that of the scan's own noise, its level at every voxel, its kind and its correlation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.errors import ConfigError
from medinr.io.padding import HU_FLOOR
from medinr.noise.scan_noise import ScanNoise
from medinr.priors.denoiser_prior import ORIENTATIONS, DenoiserPrior, oriented, oriented_back, smooth_phasor
from medinr.priors.scan_denoiser import ScanDenoiser
from medinr.solve.acquired_grid import acquired_shape, on_frequencies
from medinr.solve.noise_maps import noise_maps
from medinr.volume import Volume
from medinr.workers import Workers

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
) -> NDArray[Any]:
    """Denoise a scan slice by slice, each with its neighbours.

    Parameters
    ----------
    volume : Volume
        Of one slice or more; magnitudes, complex values or Hounsfield units.
    noise : ScanNoise
        In the scan's units.
    prior : DenoiserPrior
        With a denoiser for scans.
    orientations : int
        Rotations and flips of the grid whose mean is taken; fewer take less time.
    progress : callable, optional

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
    denoiser = prior.scan_denoiser
    if denoiser is None:
        raise ConfigError(
            "This model has no denoiser for scans as they were acquired. Choose another with --model (medinr models "
            "lists them), or train one: medinr pretrain"
        )
    if noise.sigma == 0:
        return volume.array.copy()
    shape = volume.array.shape[1:]
    grid = acquired_shape((shape[0], shape[1]), noise.zero_filling)
    slices = _Slices(volume, noise, grid, orientations)
    result = np.empty_like(volume.array)
    workers, count = Workers(), len(volume.array)

    def denoise(number: int) -> int:
        removed = slices.removed(denoiser, number)
        if grid != shape:
            removed = on_frequencies(removed, (shape[0], shape[1]))
        result[number] = volume.array[number] - removed
        return number

    for first in range(0, count, workers.count):
        done = workers.map(denoise, range(first, min(first + workers.count, count)))
        if progress is not None:
            progress(done[-1] + 1, count)
    if noise.kind != "gaussian":
        np.clip(result, 0, None, out=result)
    return result


@dataclass(frozen=True)
class _Slices:
    """Slices of a scan with their neighbours and the maps of their noise, on the grid that was acquired."""

    volume: Volume
    noise: ScanNoise
    grid: tuple[int, int]
    orientations: int

    def removed(self, denoiser: ScanDenoiser, number: int) -> NDArray[Any]:
        """What is taken away from a slice, on the grid that was acquired."""
        slices = torch.stack([self._slice(near) for near in self._neighbours(number)])
        maps = torch.from_numpy(self._maps(number))
        if not slices.is_complex():
            return np.asarray((slices[1] - self._mean(denoiser, slices, maps)).numpy())
        phasors = torch.stack([smooth_phasor(image) for image in slices])
        upright = slices * phasors.conj()
        parts = [part[1] - self._mean(denoiser, part.contiguous(), maps) for part in (upright.real, upright.imag)]
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

    def _mean(self, denoiser: ScanDenoiser, slices: Tensor, maps: Tensor) -> Tensor:
        """Mean of a real slice denoised in several orientations."""
        total = torch.zeros_like(slices[1])
        for orientation in range(self.orientations):
            given = (oriented(part, orientation).unsqueeze(0) for part in (slices, maps))
            total += oriented_back(denoiser.infer(*given)[0], orientation)
        return total / self.orientations


def _coarser(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """A smooth map at the centres of fewer pixels."""
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(int) for new, old in zip(shape, image.shape, strict=True)
    )
    return image[np.ix_(rows, columns)]
