"""Coordinate networks fitted to the planes of a fine volume of which a scan as it was acquired is a measurement.

Networks learn the planes of a volume that another solver found. Without one they learn those of cubic splines between
two data-consistency steps (`medinr.solve.half_quadratic`, with networks in place of the denoiser). Either way the last
step makes what the networks give at the fine voxels agree with the scan to within its noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medinr.data.resample import continued_onto
from medinr.network.scan_planes import PlaneNetwork, Progress, ScanFitSettings, groups_of
from medinr.network.trunk import Trunk
from medinr.noise.scan_noise import ScanNoise
from medinr.solve.half_quadratic import half_quadratic_splitting
from medinr.solve.sharpen_grid import TargetGrid
from medinr.solve.sharpen_measurement import ScanMeasurement, brightness
from medinr.solve.sharpen_planes import directions
from medinr.solve.sharpen_settings import SharpenSettings
from medinr.volume import Volume


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
        Of the slices in mm, see `medinr.solve.sharpen_measurement.thickness_of`.
    settings : ScanFitSettings, optional
    progress : callable, optional
        Called with planes done and how many there are.

    Returns
    -------
    NetworkSharpened

    Raises
    ------
    ShapeError, GeometryError, IntensityError
        As `medinr.solve.sharpen_measurement.ScanMeasurement.of`.
    """
    settings, sharpening = ScanFitSettings() if settings is None else settings, SharpenSettings()
    measurement = ScanMeasurement.of(volume, grid, noise, thickness, sharpening)
    consistency = measurement.consistency(sharpening)
    measured = measurement.operator.measured
    # Planes that hold every axis with new voxels, where there are such.
    across = min(directions(grid.spacing, measured), key=lambda axis: measured[axis])
    planes = _Planes(grid, across, trunk, length_scale, settings, target is None, progress)
    image = (
        brightness(continued_onto(volume, grid.affine, grid.shape) if target is None else target) / measurement.scale
    )
    if target is None:
        levels = replace(sharpening, iterations=2).levels(measurement.sigma)
        *_, image = half_quadratic_splitting(consistency, planes, levels, denoised=image)
    else:
        image = planes(image)
    image = measurement.in_agreement(image, consistency)
    residual = measurement.residual(measurement.operator(image))
    values = (image + measurement.zero).numpy()
    found = replace(volume, array=values, affine=grid.affine.copy(), provenance=volume.provenance.cut_anew())
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
