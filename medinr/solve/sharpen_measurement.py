"""A scan as the measurement of a finer volume: operator, values, scale and noise, whatever solves it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medinr.errors import GeometryError, IntensityError, ShapeError
from medinr.io.padding import HU_FLOOR
from medinr.noise.scan_noise import ScanNoise
from medinr.operators import ScanSampling
from medinr.solve.sharpen_consistency import ExactConsistency, root_mean_square
from medinr.solve.sharpen_grid import SAME_SPACING, TargetGrid, slice_axis
from medinr.solve.sharpen_settings import SharpenSettings
from medinr.units import HU_VACUUM
from medinr.volume import Volume

#: Thickness of slices, as a share of their distance, below which a header or option is taken as wrong, and above.
THINNEST, THICKEST = 0.1, 10.0


@dataclass(frozen=True, eq=False)
class ScanMeasurement:
    """What explains a scan, and what a fine volume leaves of it.

    Attributes
    ----------
    operator : ScanSampling
        From the fine volume to the scan.
    scan : Tensor, shape (z, y, x)
        Values for which nothing is 0.
    zero : float
        What that is in the scan's units.
    scale : float
        Scan units per solver unit: the 99th percentile of its magnitude.
    tolerance : float
        Noise of the scan, in its units, or the least tolerance of the settings where that is larger.
    thickness : float
        Of the slices in mm, as it is used.
    slice_axis : int
        Axis of (x, y, z) along which they follow each other.
    """

    operator: ScanSampling
    scan: Tensor
    zero: float
    scale: float
    tolerance: float
    thickness: float
    slice_axis: int

    @classmethod
    def of(
        cls, volume: Volume, grid: TargetGrid, noise: ScanNoise, thickness: float | None, settings: SharpenSettings
    ) -> ScanMeasurement:
        """Pose a scan as the measurement of a volume on a grid.

        Parameters
        ----------
        volume : Volume
        grid : TargetGrid
        noise : ScanNoise
        thickness : float or None
            As told, see `thickness_of`.
        settings : SharpenSettings

        Raises
        ------
        ShapeError
            When the scan has a single slice and the grid is finer across slices.
        GeometryError
            When grid and scan do not fit together, or the thickness cannot be right.
        IntensityError
            When the scan has values that are not finite, or is the same everywhere.
        """
        volume.require_finite()
        axis = slice_axis(volume)
        width = thickness_of(volume, axis, thickness)
        operator = _operator(volume, grid, axis, width, settings)
        zero = HU_VACUUM if volume.unit == "HU" else 0.0
        scan = brightness(volume)
        scale = _scale(scan)
        return cls(operator, scan, zero, scale, max(noise.sigma, settings.least_tolerance * scale), width, axis)

    @property
    def sigma(self) -> float:
        """The tolerance in solver units."""
        return self.tolerance / self.scale

    def consistency(self, settings: SharpenSettings) -> ExactConsistency:
        """Data consistency with the scan, in solver units."""
        return ExactConsistency(self.operator, self.scan / self.scale, self.sigma, settings.weight(self.sigma))

    def in_agreement(self, image: Tensor, consistency: ExactConsistency) -> Tensor:
        """Make an image in solver units agree with the scan to within its noise; in scan units, nothing being 0."""
        image = consistency.agree(image) * self.scale
        if not image.is_complex() and float(self.scan.min()) >= 0:
            # Brightness and attenuation below nothing do not exist.
            image = image.clamp_min_(0)
        return image

    def residual(self, reproduced: Tensor) -> float:
        """Root mean square of what a predicted scan leaves of the scan, over the tolerance."""
        return root_mean_square(reproduced - self.scan) / self.tolerance


def brightness(volume: Volume) -> Tensor:
    """Values of a volume for which nothing is 0: Hounsfield units above vacuum, without padding."""
    if volume.unit == "HU":
        return torch.from_numpy(np.clip(volume.array, HU_FLOOR, None) - np.float32(HU_VACUUM))
    return torch.from_numpy(np.ascontiguousarray(volume.array))


def thickness_of(volume: Volume, axis: int, told: float | None = None) -> float:
    """Thickness of a scan's slices in mm: as told, else from the header, else the distance of the slices.

    Parameters
    ----------
    volume : Volume
    axis : int
        Of (x, y, z), along which slices follow each other. The header's thickness is that of slices along z.
    told : float, optional

    Raises
    ------
    GeometryError
        When it is less than a tenth of the distance of the slices, or more than ten times that.
    """
    distance = volume.spacing[axis]
    header = volume.provenance.facts.thickness if axis == 2 else None
    found, source = (told, "was given") if told is not None else (header, "is in the header")
    if found is None or (told is None and found == 0):
        return distance
    if not (math.isfinite(found) and THINNEST * distance <= found <= THICKEST * distance):
        raise GeometryError(
            f"A slice thickness of {found:g} mm {source}, and the slices are {distance:g} mm apart: it should be "
            f"between {THINNEST * distance:.3g} and {THICKEST * distance:.3g} mm. Give the right one: "
            "--slice-thickness MM"
        )
    return float(found)


def _operator(volume: Volume, grid: TargetGrid, axis: int, width: float, settings: SharpenSettings) -> ScanSampling:
    widths: list[float | None] = [None, None, None]
    for along, size in enumerate(volume.spacing):
        if abs(grid.spacing[along] - size) > SAME_SPACING * size:
            widths[2 - along] = settings.profile_width * (width if along == axis else size)
    if widths[2 - axis] is not None and volume.shape[2 - axis] == 1:
        raise ShapeError(
            "The scan has one slice, and finer voxels across slices were asked for: a single slice says nothing of "
            "what lies beside it. Ask for finer pixels in the slice only, such as --factor 2,2,1."
        )
    operator = ScanSampling(grid.shape, grid.affine, volume.shape, volume.affine, widths, settings.profile)
    if not any(operator.measured):
        raise GeometryError("The target grid is that of the scan: there is nothing to sharpen. Ask for a finer one.")
    return operator


def _scale(scan: Tensor) -> float:
    """Scan units per solver unit: the 99th percentile of its magnitude."""
    magnitude = scan.abs().numpy()
    if not float(magnitude.max()) > float(magnitude.min()):
        raise IntensityError(
            f"Every voxel of the scan is {float(magnitude.max()):g}: there is nothing to sharpen. Choose another scan."
        )
    level = float(np.percentile(magnitude, 99))
    return level if level > 0 else float(magnitude.max())
