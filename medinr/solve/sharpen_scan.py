"""Super-resolution of a scan as it was acquired: the fine volume of which the scan is a measurement.

The scan is the measurement, ``y = (W_z x W_y x W_x) x + n`` (`medinr.operators.ScanSampling`: slice profile, gap and
place of every voxel), and half-quadratic splitting (`medinr.solve.half_quadratic`) finds a fine volume that explains it
and that a denoiser of slices finds plausible in planes of several directions. The thick slices that the result predicts
agree with the scan to within its noise.

Magnitudes count as Gaussian with the sigma of the scan: the bias of Rician noise is under a hundredth of sigma where
the signal is five times the noise or more, and constant in air. Noise that varies in space counts with its median.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from torch import Tensor

from medinr.errors import ConfigError, GeometryError, IntensityError, ShapeError
from medinr.io.padding import HU_FLOOR
from medinr.noise.scan_noise import ScanNoise
from medinr.operators import ScanSampling
from medinr.precision import has_fast_bfloat16
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.half_quadratic import half_quadratic_splitting
from medinr.solve.sharpen_consistency import ExactConsistency, root_mean_square
from medinr.solve.sharpen_grid import SAME_SPACING, TargetGrid, slice_axis
from medinr.solve.sharpen_planes import AlternatingPlanes, directions
from medinr.units import HU_VACUUM
from medinr.volume import Volume

#: Thickness of slices, as a share of their distance, below which a header or option is taken as wrong, and above.
THINNEST, THICKEST = 0.1, 10.0

#: Noise over the 99th percentile of a scan between which the weight of the denoised image grows.
MODERATE, NOISY = 0.03, 0.05

#: Called with iterations done and how many there are.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SharpenSettings:
    """How a scan is sharpened; measured in decision 0018.

    Attributes
    ----------
    iterations : int
        Of half-quadratic splitting; each evaluates the denoiser once on every plane of one direction.
    sigma_start : float
        Noise level of the first iteration, for images scaled to about 0 to 1.
    sigma_end_factor : float
        Noise level of the last iteration, in units of the scan's noise.
    regularisation_weight, noisy_weight : float
        Weight of the denoised image, for scans with noise of up to `MODERATE` of the 99th percentile and of `NOISY` and
        more; linear in between. Estimates below `MODERATE` are partly fine structure, which the first weight keeps.
    least_tolerance : float
        Least noise that is assumed, as a share of the scan's 99th percentile: header, slice profile and interpolation
        within a voxel are not known better.
    profile : {"gaussian", "rect"}
        Of slices and of pixels.
    profile_width : float
        Its full width at half maximum, as a share of thickness or pixel. A Gaussian of 0.85 has a spread between those
        of a Gaussian and of a rectangle of full width: assumed too wide a profile sharpens too much and costs more
        than one assumed too narrow.
    precision : {"auto", "float32"}
        Of the denoiser's convolutions. ``"auto"``: bfloat16 where the processor is fast at it.
    """

    iterations: int = 40
    sigma_start: float = 0.2
    sigma_end_factor: float = 1.6
    regularisation_weight: float = 0.2
    noisy_weight: float = 1.0
    least_tolerance: float = 0.005
    profile: str = "gaussian"
    profile_width: float = 0.85
    precision: str = "auto"

    def __post_init__(self) -> None:
        weights = ("regularisation_weight", "noisy_weight")
        names = ("sigma_start", "sigma_end_factor", *weights, "least_tolerance", "profile_width")
        wrong = [f"{name} {getattr(self, name)}" for name in names if not getattr(self, name) > 0]
        if self.iterations < 1 or wrong:
            raise ConfigError(
                f"Sharpening wants iterations of 1 or more and {', '.join(names)} above 0; got iterations "
                f"{self.iterations}{''.join(', ' + text for text in wrong)}."
            )
        if self.profile not in ("gaussian", "rect") or self.precision not in ("auto", "float32"):
            raise ConfigError(
                "Sharpening wants the profile gaussian or rect and the precision auto or float32; got "
                f"{self.profile!r}, {self.precision!r}."
            )

    def weight(self, sigma: float) -> float:
        """Weight of the denoised image, for noise in solver units."""
        return float(np.interp(sigma, (MODERATE, NOISY), (self.regularisation_weight, self.noisy_weight)))

    def levels(self, sigma: float) -> list[float]:
        """Noise level of each iteration, from that of the scan; both in solver units."""
        end = min(self.sigma_end_factor * sigma, self.sigma_start)
        ratio = (end / self.sigma_start) ** (1 / max(1, self.iterations - 1))
        return [self.sigma_start * ratio**k for k in range(self.iterations)]


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
    volume.require_finite()
    axis = slice_axis(volume)
    width = thickness_of(volume, axis, thickness)
    operator = _operator(volume, grid, axis, width, settings)
    scan, zero = _measurement(volume)
    scale = _scale(scan)
    tolerance = max(noise.sigma, settings.least_tolerance * scale)
    sigma = tolerance / scale
    consistency = ExactConsistency(operator, scan / scale, sigma, settings.weight(sigma))
    if settings.precision == "auto" and has_fast_bfloat16(torch.device("cpu")):
        prior = prior.in_precision(torch.bfloat16)
    planes = AlternatingPlanes(prior, directions(grid.spacing, operator.measured))
    levels = settings.levels(sigma)
    start = _interpolated(volume, grid, scan) / scale
    for done, _image in enumerate(half_quadratic_splitting(consistency, planes, levels, denoised=start), start=1):
        image = _image
        if progress is not None:
            progress(done, len(levels))
    image = consistency.agree(image) * scale
    if not image.is_complex() and float(scan.min()) >= 0:
        # Brightness and attenuation below nothing do not exist.
        image = image.clamp_min_(0)
    reproduced = operator(image)
    return SharpenedScan(
        _on_grid(volume, grid, (image + zero).numpy()),
        (reproduced + zero).numpy(),
        root_mean_square(reproduced - scan) / tolerance,
        tolerance,
        width,
        axis,
        planes.directions,
    )


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


def _measurement(volume: Volume) -> tuple[Tensor, float]:
    """Values for which nothing is 0, and what that is in the scan's units."""
    if volume.unit == "HU":
        return torch.from_numpy(np.clip(volume.array, HU_FLOOR, None) - np.float32(HU_VACUUM)), HU_VACUUM
    return torch.from_numpy(np.ascontiguousarray(volume.array)), 0.0


def _scale(scan: Tensor) -> float:
    """Scan units per solver unit: the 99th percentile of its magnitude."""
    magnitude = scan.abs().numpy()
    if not float(magnitude.max()) > float(magnitude.min()):
        raise IntensityError(
            f"Every voxel of the scan is {float(magnitude.max()):g}: there is nothing to sharpen. Choose another scan."
        )
    level = float(np.percentile(magnitude, 99))
    return level if level > 0 else float(magnitude.max())


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
