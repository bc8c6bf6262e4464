"""NumPy and torch arrays to measurements, with what is not given estimated from the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from medinr.acquisition.coarse_image import LEAST_TOLERANCE
from medinr.errors import ConfigError, GeometryError, IntensityError, ShapeError
from medinr.io.raw.checks import kspace_tensor, sampled, sinogram_tensor
from medinr.measurement import Measurement
from medinr.raw import CARTESIAN, SINOGRAM, RawMeasurement
from medinr.volume import Affine

#: What errors call the data.
NAME = "data"

#: Arrays as they may be given.
Array = ArrayLike | Tensor


def as_numpy(values: Array) -> NDArray[Any]:
    """Give an array as NumPy's."""
    if isinstance(values, Tensor):
        return np.asarray(values.detach().resolve_conj().cpu().numpy())
    return np.asarray(values)


def kspace_from_arrays(
    data: Array,
    *,
    mask: Array | None = None,
    lines: Sequence[int] | None = None,
    line_count: int | None = None,
    coil_maps: Array | None = None,
    spacing: Sequence[float] | None = None,
    sigma: float | None = None,
) -> RawMeasurement:
    """Describe Cartesian k-space, zero frequency at index ``n // 2``.

    Parameters
    ----------
    data : array, complex (ky, kx), (coil, ky, kx) or (slice, coil, ky, kx)
        The full grid with zeros where nothing was measured, or the measured lines alone.
    mask : array, (ky,) or (ky, kx), optional
        True where measured; by default wherever the data are not zero.
    lines : sequence of int, optional
        Numbers along ky of the lines that ``data`` hold.
    line_count : int, optional
        Lines of the full grid; wanted with ``lines``.
    coil_maps : array, complex (coil, y, x) or (slice, coil, y, x), optional
    spacing : (float, float), optional
        Pixel spacing (y, x) in mm; 1 mm by default.
    sigma : float, optional
        Standard deviation of the noise, of the real and of the imaginary part; from the rim of k-space by default.

    Raises
    ------
    ShapeError
        When data, mask, lines and maps do not fit together.
    """
    values = as_numpy(data)
    if values.ndim not in (2, 3, 4):
        raise ShapeError(f"k-space is (ky, kx), (coil, ky, kx) or (slice, coil, ky, kx); got shape {values.shape}.")
    values = values[(None,) * (4 - values.ndim)]
    if lines is not None:
        values, mask = _full_grid(values, list(lines), line_count)
    samples = kspace_tensor(values, NAME)
    if mask is None:
        measured = sampled(samples, NAME)
    else:
        measured = torch.from_numpy(np.ascontiguousarray(as_numpy(mask))).bool()
        if measured.ndim == 1:
            measured = measured.unsqueeze(1).expand(-1, samples.shape[-1])
        if tuple(measured.shape) != tuple(samples.shape[-2:]):
            raise ShapeError(f"The mask has shape {tuple(measured.shape)}; k-space is {tuple(samples.shape[-2:])}.")
    arrays = {}
    if measured is not None and not bool(measured.all()):
        arrays["mask"] = measured.contiguous()
        samples = samples * measured
    if coil_maps is not None:
        arrays["coil_maps"] = torch.from_numpy(np.ascontiguousarray(as_numpy(coil_maps), dtype=np.complex64))
    facts: dict[str, Any] = {"image_shape": tuple(samples.shape[-2:])}
    if spacing is not None:
        facts["spacing_mm"] = _pair(spacing, "spacing")
    if sigma is not None:
        facts["noise_sigma"] = float(sigma)
    return RawMeasurement("kspace", samples, CARTESIAN, facts, arrays)


def _full_grid(
    values: NDArray[Any], lines: list[int], line_count: int | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if line_count is None:
        raise ShapeError("Measured lines alone do not say how many the grid has; give line_count.")
    if len(lines) != values.shape[-2] or len(set(lines)) != len(lines) or min(lines) < 0 or max(lines) >= line_count:
        raise ShapeError(
            f"lines are numbers of the {values.shape[-2]} lines in the data, each once, from 0 to {line_count - 1}; "
            f"got {len(lines)}, {min(lines)} to {max(lines)}."
        )
    full = np.zeros((*values.shape[:-2], line_count, values.shape[-1]), values.dtype)
    full[..., lines, :] = values
    mask = np.zeros(line_count, np.bool_)
    mask[lines] = True
    return full, mask


def sinogram_from_arrays(
    data: Array,
    *,
    angles: Array,
    detector_spacing: float | None = None,
    source_origin: float | None = None,
    source_detector: float | None = None,
    centre: float | None = 0.0,
    photons: float | None = None,
    sigma: float | None = None,
) -> RawMeasurement:
    """Describe line integrals of parallel rays or a fan.

    Parameters
    ----------
    data : array, real (angle, detector) or (slice, angle, detector)
        Line integrals, without unit.
    angles : array, (angle,)
        In radians.
    detector_spacing : float, optional
        In mm, on the detector; 1 mm by default.
    source_origin, source_detector : float, optional
        Of a fan: distance of the source to the axis of rotation and to the detector in mm.
    centre : float, optional
        Elements by which the axis of rotation is off the detector's middle; None: found, for parallel rays.
    photons : float, optional
        Per unattenuated ray, for the noise of counts; by default the noise is taken as uniform.
    sigma : float, optional
        Its standard deviation; from the data by default.

    Raises
    ------
    ShapeError
        When data and angles do not fit together.
    """
    values = as_numpy(data)
    if values.ndim not in (2, 3):
        raise ShapeError(f"A sinogram is (angle, detector) or (slice, angle, detector); got shape {values.shape}.")
    values = values[(None,) * (3 - values.ndim)]
    directions = tuple(float(angle) for angle in as_numpy(angles).ravel())
    if len(directions) != values.shape[1]:
        raise ShapeError(f"There are {len(directions)} angles; the sinogram has {values.shape[1]} views.")
    given = {
        "detector_spacing_mm": detector_spacing,
        "source_origin_mm": source_origin,
        "source_detector_mm": source_detector,
        "centre_offset": centre,
        "photons": photons,
        "noise_sigma": sigma,
    }
    facts: dict[str, Any] = {key: float(value) for key, value in given.items() if value is not None}
    facts |= {"geometry": "parallel" if source_origin is None else "fan", "angles": directions}
    return RawMeasurement("sinogram", sinogram_tensor(values, NAME), SINOGRAM, facts)


def image_from_arrays(
    data: Array,
    *,
    spacing: Sequence[float] | None = None,
    affine: Affine | None = None,
    sigma: float | None = None,
    factor: int | Sequence[int] | None = None,
) -> Measurement:
    """Describe a magnitude image that is noisy, or coarser than the image that is wanted.

    Parameters
    ----------
    data : array, real (y, x) or (slice, y, x)
    spacing : (float, float) or (float, float, float), optional
        Of the image that is wanted: (y, x) or (z, y, x) in mm; 1 mm by default.
    affine : ndarray, shape (4, 4), optional
        Of that image, index (x, y, z) to RAS mm; wins over spacing.
    sigma : float, optional
        Of the noise: Rician of a noisy image, which needs it; Gaussian of a coarse one (half a percent of the 99th
        percentile by default).
    factor : int or (int, int), optional
        How many times coarser the data are than the image that is wanted, along (y, x).

    Raises
    ------
    ShapeError
        When the data are no real image.
    IntensityError
        When they hold NaN or infinity.
    ConfigError
        When neither sigma nor factor is given.
    """
    values = as_numpy(data)
    if values.ndim not in (2, 3) or np.iscomplexobj(values):
        raise ShapeError(f"An image is real, (y, x) or (slice, y, x); got {values.dtype} of shape {values.shape}.")
    images = torch.from_numpy(np.ascontiguousarray(values[(None,) * (3 - values.ndim)], dtype=np.float32))
    if not bool(images.isfinite().all()):
        raise IntensityError("The image holds NaN or infinity. Replace these pixels first.")
    y, x = images.shape[-2:]
    parameters: Mapping[str, Any]
    if factor is None:
        if sigma is None:
            raise ConfigError("A noisy image needs sigma, a coarse one factor.")
        parameters = {"noise": "rician", "sigma": float(sigma)}
    else:
        down, right = (factor, factor) if isinstance(factor, int) else _pair(factor, "factor")
        y, x = y * int(down), x * int(right)
        level = float(torch.quantile(images.flatten()[:: max(1, images.numel() // 10**6)], 0.99))
        parameters = {
            "noise": "gaussian",
            "sigma": LEAST_TOLERANCE * level if sigma is None else float(sigma),
            "factor": [int(down), int(right)],
        }
    known = affine is not None or (spacing is not None and len(spacing) == 3)
    return Measurement(
        task="denoise" if factor is None else "superres",
        data=images,
        parameters={**parameters, "voxels_known": known},
        affine=grid_affine((y, x), spacing, len(images)) if affine is None else np.asarray(affine, dtype=np.float64),
        image_shape=(y, x),
        modality="MR",
        unit="a.u.",
    )


def grid_affine(shape: tuple[int, int], spacing: Sequence[float] | None, slices: int) -> Affine:
    """Affine of a grid around the origin, ``x`` to the left and ``y`` to the back; 1 mm where nothing is given.

    Raises
    ------
    GeometryError
        When a spacing is not positive, or there are not two or three.
    """
    given = (1.0, 1.0) if spacing is None else tuple(float(step) for step in spacing)
    if len(given) not in (2, 3) or not all(math.isfinite(step) and step > 0 for step in given):
        raise GeometryError(f"spacing is (y, x) or (z, y, x), positive, in mm; got {given}.")
    (dz, dy, dx), (y, x) = given if len(given) == 3 else (1.0, *given), shape
    affine = np.diag([-dx, -dy, dz, 1.0])
    affine[:3, 3] = [dx * (x - 1) / 2, dy * (y - 1) / 2, -dz * (slices - 1) / 2]
    return affine


def _pair(values: Sequence[Any], name: str) -> tuple[Any, Any]:
    if len(values) != 2:
        raise ConfigError(f"{name} is (y, x); got {tuple(values)}.")
    return values[0], values[1]
