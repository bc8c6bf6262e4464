"""Coordinate networks fitted to the slices of a scan as it was acquired, to denoise it.

With a target, which a denoiser made of the scan, the network learns that. Without one it learns the noisy scan until
pixels that are held out say that it learns their noise, and the bias of magnitudes is taken out afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from medinr.io.padding import HU_FLOOR
from medinr.network.coordinates import plane_spacing
from medinr.network.scan_planes import PlaneNetwork, Progress, ScanFitSettings, groups_of
from medinr.network.trunk import Trunk
from medinr.noise.scan_noise import ScanNoise
from medinr.noise.signal_bias import magnitude_model
from medinr.solve.acquired_grid import acquired_shape, on_frequencies
from medinr.units import HU_VACUUM
from medinr.volume import Array, Volume

#: Correlation of noise from which on a distance counts as within its reach, and the furthest that is looked at.
_CORRELATED, _FURTHEST = 0.1, 3


def fit_scan(
    volume: Volume,
    noise: ScanNoise,
    trunk: Trunk,
    length_scale: float,
    *,
    target: NDArray[Any] | None = None,
    settings: ScanFitSettings | None = None,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Denoise a scan by networks of its slices.

    Parameters
    ----------
    volume : Volume
        Magnitudes, complex values or Hounsfield units.
    noise : ScanNoise
        In the scan's units.
    trunk : Trunk
        Where every fit starts.
    length_scale : float
        Millimetres per unit of network coordinate (from the model's card).
    target : ndarray, shape (z, y, x), optional
        The scan denoised, which the networks learn; without it they learn the scan.
    settings : ScanFitSettings, optional
    progress : callable, optional
        Called with slices done and how many there are.

    Returns
    -------
    ndarray, shape (z, y, x)
        Complex where the scan is, else float32. Zero-filled frequencies stay as they are.
    """
    settings = ScanFitSettings() if settings is None else settings
    if noise.sigma == 0:
        return volume.array.copy()
    shape = volume.array.shape[1:]
    # Noise of neighbouring pixels is independent on the grid that was acquired.
    grid = acquired_shape((shape[0], shape[1]), noise.zero_filling)
    along_y, along_x = plane_spacing(volume.affine)
    spacing = (along_y * shape[0] / grid[0], along_x * shape[1] / grid[1])
    result = np.empty_like(volume.array)
    for group in groups_of(len(result), settings.noisy_together if target is None else settings.together):
        numbers = slice(group.start, group.stop)
        scan = _planes(volume, volume.array[numbers], grid)
        scale = float(scan.abs().max()) or 1.0
        network = PlaneNetwork(trunk, length_scale, grid, spacing, len(scan), settings, scan.is_complex())
        watch = None if progress is None else _share(progress, group, len(result))
        if target is not None:
            image = network.learn(_planes(volume, target[numbers], grid) / scale, watch) * scale
        else:
            sigma = _sigma(noise, group, grid)
            learned = network.learn_noisy(scan / scale, sigma / scale, _reach(noise), watch) * scale
            image = _without_bias(learned, sigma, noise)
        removed = (scan - image).numpy()
        for number, part in zip(group, removed, strict=True):
            result[number] = volume.array[number] - on_frequencies(part, (shape[0], shape[1]))
        if progress is not None:
            progress(group.stop, len(result))
    if noise.kind != "gaussian":
        np.clip(result, 0, None, out=result)
    return result


def _planes(volume: Volume, values: Array | NDArray[Any], grid: tuple[int, int]) -> Tensor:
    """Slices on the grid that was acquired, brightness 0 for nothing."""
    if volume.unit == "HU":
        # Padding outside the field of view is no tissue.
        values = np.clip(values, HU_FLOOR, None) - np.float32(HU_VACUUM)
    return torch.from_numpy(np.stack([on_frequencies(np.asarray(plane), grid) for plane in values]))


def _sigma(noise: ScanNoise, group: range, grid: tuple[int, int]) -> Tensor:
    """Standard deviation of the noise, in the scan's units, shape (n, y, x)."""
    if noise.sigma_map is None:
        return torch.full((len(group), *grid), noise.sigma)
    maps = torch.from_numpy(np.ascontiguousarray(noise.sigma_map[group.start : group.stop], dtype=np.float32))
    return functional.interpolate(maps.unsqueeze(1), size=grid, mode="area").squeeze(1)


def _reach(noise: ScanNoise) -> int:
    """Pixels up to which the noise correlates."""
    table = noise.autocorrelation
    if table is None or max(noise.zero_filling) > 1:
        return 0
    middle = np.array(table.shape) // 2
    far = np.argwhere(np.abs(table) > _CORRELATED) - middle
    return int(min(_FURTHEST, np.abs(far).max()))


def _without_bias(learned: Tensor, sigma: Tensor, noise: ScanNoise) -> Tensor:
    """Signal whose expected magnitude is what was learned (Koay & Basser 2006)."""
    if noise.kind == "gaussian":
        return learned
    floor = torch.finfo(sigma.dtype).tiny
    return magnitude_model(noise.coils).debias(learned / sigma.clamp_min(floor)) * sigma


def _share(progress: Progress, group: range, count: int) -> Progress:
    """Of a group's steps, as slices of all."""
    return lambda done, of: progress(group.start + len(group) * done // max(1, of), count)
