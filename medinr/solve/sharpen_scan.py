"""Super-resolution of a scan as it was acquired: the fine volume of which the scan is a measurement.

The scan is the measurement, ``y = (W_z x W_y x W_x) x + n`` (`medinr.operators.ScanSampling`: slice profile, gap and
place of every voxel), and half-quadratic splitting (`medinr.solve.half_quadratic`) finds a fine volume that explains it
and that a denoiser of slices finds plausible in planes of several directions. The thick slices that the result predicts
agree with the scan to within its noise.

Magnitudes count as Gaussian with the sigma of the scan: the bias of Rician noise is under a hundredth of sigma where
the signal is five times the noise or more, and constant in air. Noise that varies in space counts with its median.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from torch import Tensor

from medinr.noise.scan_noise import ScanNoise
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.half_quadratic import half_quadratic_splitting
from medinr.solve.sharpen_grid import TargetGrid
from medinr.solve.sharpen_measurement import ScanMeasurement
from medinr.solve.sharpen_planes import AlternatingPlanes, directions
from medinr.solve.sharpen_settings import SharpenSettings
from medinr.solve.unfinished import Unfinished
from medinr.volume import Volume

#: Called with iterations done and how many there are.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class SharpenedScan:
    """A fine volume and how well it explains the scan.

    Attributes
    ----------
    volume : Volume
        On the target grid.
    reproduced : ndarray, shape of the scan
        The scan that the volume predicts, in the scan's units.
    residual : float
        Root mean square of the scan minus this, over ``tolerance``: about 1 or less where they agree to within noise.
    tolerance : float
        Noise of the scan, in its units, or the least tolerance of the settings where that is larger.
    thickness : float
        Of the slices in mm, as it was used.
    slice_axis : int
        Axis of (x, y, z) along which they follow each other.
    directions : tuple of int
        Axes of (z, y, x) across whose planes the volume was denoised.
    """

    volume: Volume
    reproduced: NDArray[Any]
    residual: float
    tolerance: float
    thickness: float
    slice_axis: int
    directions: tuple[int, ...]


@torch.no_grad()
def sharpen_scan(
    volume: Volume,
    grid: TargetGrid,
    noise: ScanNoise,
    prior: DenoiserPrior,
    *,
    thickness: float | None = None,
    settings: SharpenSettings | None = None,
    progress: Progress | None = None,
    unfinished: Unfinished | None = None,
) -> SharpenedScan:
    """Find the fine volume of which a scan is a measurement.

    Parameters
    ----------
    volume : Volume
        The scan, in any orientation: magnitudes, complex values or Hounsfield units.
    grid : TargetGrid
        See `medinr.solve.sharpen_grid.grid_for`.
    noise : ScanNoise
        In the scan's units.
    prior : DenoiserPrior
    thickness : float, optional
        Of the slices in mm: the full width at half maximum of their profile. By default what the header says
        (`ScanFacts.thickness`), or else the distance of the slices.
    settings : SharpenSettings, optional
    progress : callable, optional
    unfinished : Unfinished, optional
        Keeps the volume after an iteration; a run that was stopped goes on there, to the same bits.

    Returns
    -------
    SharpenedScan
        In memory about eight times the fine volume is needed meanwhile.

    Raises
    ------
    ShapeError
        When the scan has a single slice and the grid is finer across slices.
    GeometryError
        When grid and scan do not fit together, or the thickness cannot be right.
    IntensityError
        When the scan has values that are not finite, or is the same everywhere.
    """
    settings = SharpenSettings() if settings is None else settings
    measurement = ScanMeasurement.of(volume, grid, noise, thickness, settings)
    consistency = measurement.consistency(settings)
    planes = AlternatingPlanes(settings.with_precision(prior), directions(grid.spacing, measurement.operator.measured))
    levels = settings.levels(measurement.sigma)
    found = None if unfinished is None else unfinished.load()
    if found is None:
        before, start = 0, _interpolated(volume, grid, measurement.scan) / measurement.scale
    else:
        before = found[0]
        start = planes(torch.from_numpy(found[1]), levels[before - 1], before - 1)
    rest = half_quadratic_splitting(consistency, planes, levels, denoised=start, first=before)
    for done, _image in enumerate(rest, start=before + 1):
        image = _image
        if unfinished is not None and done < len(levels):
            unfinished.save(done, image.resolve_conj().numpy())
        if progress is not None:
            progress(done, len(levels))
    image = measurement.in_agreement(image, consistency)
    reproduced = measurement.operator(image)
    return SharpenedScan(
        _on_grid(volume, grid, (image + measurement.zero).numpy()),
        (reproduced + measurement.zero).numpy(),
        measurement.residual(reproduced),
        measurement.tolerance,
        measurement.thickness,
        measurement.slice_axis,
        planes.directions,
    )


def _interpolated(volume: Volume, grid: TargetGrid, scan: Tensor) -> Tensor:
    """Cubic splines on the fine grid, aligned at the voxel centres; beyond the outermost one the nearest goes on."""
    index = np.linalg.solve(volume.affine, grid.affine)
    # Arrays count (z, y, x); the axes are parallel.
    steps, first = np.diagonal(index)[2::-1].copy(), index[2::-1, 3].copy()
    parts: list[NDArray[np.float32]] = [scan.real.numpy(), scan.imag.numpy()] if scan.is_complex() else [scan.numpy()]
    fine: list[NDArray[Any]] = [
        affine_transform(part, steps, first, grid.shape, output=np.float32, order=3, mode="nearest") for part in parts
    ]
    tensors = [torch.from_numpy(part) for part in fine]
    return torch.complex(tensors[0], tensors[1]) if scan.is_complex() else tensors[0]


def _on_grid(volume: Volume, grid: TargetGrid, values: NDArray[Any]) -> Volume:
    old, new = (" x ".join(f"{mm:.2f}" for mm in spacing) for spacing in (volume.spacing, grid.spacing))
    provenance = volume.provenance.cut_anew()
    facts = replace(provenance.facts, thickness=None, acquired_matrix=None, slice_times=())
    notes = (*provenance.notes, f"super-resolved from {old} mm to {new} mm voxels")
    return replace(
        volume, array=values, affine=grid.affine.copy(), provenance=replace(provenance, facts=facts, notes=notes)
    )
