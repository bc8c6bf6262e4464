"""Coordinate networks fitted to the planes of a fine volume of which a scan as it was acquired is a measurement.

Networks learn the planes of a volume that another solver found. Without one they learn those of cubic splines between
two data-consistency steps (`medinr.solve.half_quadratic`, with networks in place of the denoiser). Either way the last
step makes what the networks give at the fine voxels agree with the scan to within its noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.data.resample import onto_scan
from medinr.io.padding import HU_FLOOR
from medinr.network.scan_planes import PlaneNetwork, Progress, ScanFitSettings, groups_of
from medinr.network.trunk import Trunk
from medinr.noise.scan_noise import ScanNoise
from medinr.operators import ScanSampling
from medinr.solve.half_quadratic import half_quadratic_splitting
from medinr.solve.sharpen_consistency import ExactConsistency, root_mean_square
from medinr.solve.sharpen_grid import SAME_SPACING, TargetGrid, slice_axis
from medinr.solve.sharpen_planes import directions
from medinr.solve.sharpen_scan import SharpenSettings, thickness_of
from medinr.units import HU_VACUUM
from medinr.volume import Volume

#: Voxels by which a scan is continued before it is interpolated.
_MARGIN = 2


@dataclass(frozen=True, eq=False)
class NetworkSharpened:
    """A fine volume that networks gave, and how well it explains the scan.

    Attributes
    ----------
    volume : Volume
        On the target grid.
    residual : float
        Root mean square of what it leaves of the scan, over the noise.
    across : int
        Axis of (z, y, x) across whose planes networks were fitted.
    """

    volume: Volume
    residual: float
    across: int


@torch.no_grad()
def sharpen_by_networks(
    volume: Volume,
    grid: TargetGrid,
    noise: ScanNoise,
    trunk: Trunk,
    length_scale: float,
    *,
    target: Volume | None = None,
    thickness: float | None = None,
    settings: ScanFitSettings | None = None,
    progress: Progress | None = None,
) -> NetworkSharpened:
    """Find a fine volume whose planes are networks and of which a scan is a measurement.

    Parameters
    ----------
    volume : Volume
        The scan: magnitudes, complex values or Hounsfield units.
    grid : TargetGrid
        See `medinr.solve.sharpen_grid.grid_for`.
    noise : ScanNoise
        In the scan's units.
    trunk : Trunk
        Where every fit starts.
    length_scale : float
        Millimetres per unit of network coordinate (from the model's card).
    target : Volume, optional
        On the grid: what networks learn (`medinr.solve.sharpen_scan`). By default cubic splines
        that agree with the scan.
    thickness : float, optional
        Of the slices in mm, see `medinr.solve.sharpen_scan.thickness_of`.
    settings : ScanFitSettings, optional
    progress : callable, optional
        Called with planes done and how many there are.

    Returns
    -------
    NetworkSharpened

    Raises
    ------
    GeometryError
        When grid and scan do not fit together, or the thickness cannot be right.
    """
    settings, sharpening = ScanFitSettings() if settings is None else settings, SharpenSettings()
    zero = HU_VACUUM if volume.unit == "HU" else 0.0
    operator = _operator(volume, grid, thickness, sharpening)
    scan = _above(volume, zero)
    scale = float(np.percentile(scan.abs().numpy(), 99)) or float(scan.abs().max()) or 1.0
    tolerance = max(noise.sigma, sharpening.least_tolerance * scale)
    sigma = tolerance / scale
    consistency = ExactConsistency(operator, scan / scale, sigma, sharpening.weight(sigma))
    # Planes that hold every axis with new voxels, where there are such.
    across = min(directions(grid.spacing, operator.measured), key=lambda axis: operator.measured[axis])
    planes = _Planes(grid, across, trunk, length_scale, settings, target is None, progress)
    image = _above(_splines(volume, grid) if target is None else target, zero) / scale
    if target is None:
        levels = replace(sharpening, iterations=2).levels(sigma)
        *_, image = half_quadratic_splitting(consistency, planes, levels, denoised=image)
    else:
        image = planes(image)
    image = consistency.agree(image) * scale
    if not image.is_complex() and float(scan.min()) >= 0:
        # Brightness and attenuation below nothing do not exist.
        image = image.clamp_min(0)
    residual = root_mean_square(operator(image) - scan) / tolerance
    found = replace(
        volume, array=(image + zero).numpy(), affine=grid.affine.copy(), provenance=volume.provenance.cut_anew()
    )
    return NetworkSharpened(found, residual, across)


class _Planes:
    """Learns the planes of a volume ``(z, y, x)`` across an axis, in place of a denoiser."""

    def __init__(
        self,
        grid: TargetGrid,
        across: int,
        trunk: Trunk,
        length_scale: float,
        settings: ScanFitSettings,
        noisy: bool,
        progress: Progress | None,
    ) -> None:
        self._across, self._spacing = across, grid.spacing[::-1]
        self._trunk, self._length_scale, self._settings = trunk, length_scale, settings
        self._together = settings.noisy_together if noisy else settings.together
        self._progress = progress

    def __call__(self, volume: Tensor, _level: float = 0.0, _iteration: int = 0) -> Tensor:
        planes = volume.movedim(self._across, 0)
        count, y, x = planes.shape
        along_y, along_x = (size for axis, size in enumerate(self._spacing) if axis != self._across)
        learned = []
        for group in groups_of(count, self._together):
            network = PlaneNetwork(
                self._trunk,
                self._length_scale,
                (y, x),
                (along_y, along_x),
                len(group),
                self._settings,
                planes.is_complex(),
            )
            learned.append(network.learn(planes[group.start : group.stop]))
            if self._progress is not None:
                self._progress(group.stop, count)
        return torch.cat(learned).movedim(0, self._across)


def _operator(volume: Volume, grid: TargetGrid, thickness: float | None, sharpening: SharpenSettings) -> ScanSampling:
    axis = slice_axis(volume)
    width = thickness_of(volume, axis, thickness)
    widths: list[float | None] = [None, None, None]
    for along, size in enumerate(volume.spacing):
        if abs(grid.spacing[along] - size) > SAME_SPACING * size:
            widths[2 - along] = sharpening.profile_width * (width if along == axis else size)
    return ScanSampling(grid.shape, grid.affine, volume.shape, volume.affine, widths, sharpening.profile)


def _splines(volume: Volume, grid: TargetGrid) -> Volume:
    """Cubic splines on the grid; beyond the outermost voxels of the scan the nearest goes on."""
    moved = volume.affine.copy()
    moved[:3, 3] -= volume.affine[:3, :3].sum(axis=1) * _MARGIN
    values: Any = np.pad(volume.array, _MARGIN, mode="edge")
    padded = replace(volume, array=values, affine=moved, provenance=volume.provenance.cut_anew())
    return onto_scan(padded, replace(padded, array=np.broadcast_to(np.float32(0), grid.shape), affine=grid.affine))


def _above(volume: Volume, zero: float) -> Tensor:
    """Values of which nothing is 0."""
    if volume.unit == "HU":
        return torch.from_numpy(np.clip(volume.array, HU_FLOOR, None) - np.float32(zero))
    return torch.from_numpy(np.ascontiguousarray(volume.array))
