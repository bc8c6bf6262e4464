"""From prepared raw data to a measurement: samples, noise level, image grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.data.raw.prepare import calibration_extent
from medinr.errors import ConfigError, GeometryError, IntensityError
from medinr.measurement import Measurement
from medinr.operators import LineMask, iterative_density, sigma_from_kspace
from medinr.raw import RawMeasurement
from medinr.volume import Affine

#: Largest default image side of a sinogram.
LARGEST_SIDE = 512

#: Radii beyond which noise is estimated, from the corners of k-space inwards until there are enough samples.
_RADII = (1.0, 0.8, 0.6, 0.4)

#: Standard deviation of white noise under the filter (1, -4, 6, -4, 1), and of the median absolute deviation.
_FOURTH_DIFFERENCE, _MAD = math.sqrt(70.0), 0.6745


def measurement_from_raw(raw: RawMeasurement, size: int = 0) -> Measurement:
    """Convert prepared raw data to a measurement.

    Parameters
    ----------
    raw : RawMeasurement
        With coil maps when it has several coils (`medinr.data.raw.prepare.with_coil_maps`).
    size : int
        Sinograms: pixels per side of the image; 0: as many as the detector has elements, 512 at most.

    Returns
    -------
    Measurement
        Of task ``"kspace"`` or ``"ct"``; ``parameters["steps"]`` lists the processing steps since acquisition.
        CT images are attenuation in 1/mm. Where the file does not give a pixel size, 1 mm is assumed, which is
        recorded as a step.
    """
    return _sinogram(raw, size) if raw.kind == "sinogram" else _kspace(raw)


def _kspace(raw: RawMeasurement) -> Measurement:
    if raw.data.shape[1] > 1 and "coil_maps" not in raw.arrays:
        raise ConfigError(
            "Several coils need coil_maps; estimate them with medinr.data.raw.prepare.with_coil_maps first."
        )
    data, arrays = raw.data, {}
    facts: dict[str, Any] = {
        "noise": "gaussian",
        "sigma": _kspace_sigma(raw),
        "sampling": raw.sampling,
        "voxels_known": {"spacing_mm", "slice_thickness_mm"} <= set(raw.facts),
    }
    if raw.acceleration is not None:
        facts["achieved_acceleration"] = raw.acceleration
    mask = raw.arrays.get("mask", torch.ones(data.shape[-2:], dtype=torch.bool))
    by_lines = raw.is_cartesian and bool((mask == mask.any(-1, keepdim=True)).all())
    if not raw.is_cartesian:
        arrays["trajectory"] = raw.arrays["trajectory"]
        density = raw.arrays.get("weights")
        y, x = raw.facts["image_shape"]
        arrays["density"] = iterative_density(arrays["trajectory"], (y, x)) if density is None else density
    elif by_lines:
        lines = tuple(mask.any(-1).nonzero().flatten().tolist())
        extent = calibration_extent(raw)[0]
        facts["mask"] = LineMask(lines, len(mask), "measured", centre_fraction=extent / len(mask)).to_dict()
        data = data[..., mask.any(-1), :]
    else:
        arrays["mask"] = mask
        facts["calibration"] = list(calibration_extent(raw))
        data = data[..., mask]
    maps = raw.arrays.get("coil_maps")
    if maps is None:
        data = data.squeeze(1)
    else:
        arrays["coil_maps"] = maps
    spacing, steps = _spacing(raw)
    y, x = raw.facts["image_shape"]
    return Measurement(
        task="kspace",
        data=data.to(torch.complex64).contiguous(),
        parameters=facts | {"steps": list(steps)},
        affine=_affine((y, x), spacing, raw.facts.get("slice_thickness_mm", 1.0), raw.slices),
        image_shape=(y, x),
        modality="MR",
        unit="a.u.",
        arrays=arrays,
        provenance=raw.provenance,
    )


def _kspace_sigma(raw: RawMeasurement) -> float:
    if "noise_sigma" in raw.facts:
        return float(raw.facts["noise_sigma"])
    if not raw.is_cartesian:
        # The last tenth of a readout is far from the centre; the median is robust to the remaining signal.
        tail = raw.data[..., -max(1, raw.data.shape[-1] // 10) :]
        return float((tail.abs().square().median() / (2.0 * math.log(2.0))).sqrt())
    for radius in _RADII:
        try:
            return float(sigma_from_kspace(raw.data, radius).median())
        except IntensityError:
            continue
    raise GeometryError(
        "Too few samples are at the rim of k-space to estimate the noise. Give noise_sigma in the sidecar."
    )


def _spacing(raw: RawMeasurement) -> tuple[tuple[float, float], tuple[str, ...]]:
    if "spacing_mm" in raw.facts:
        dy, dx = raw.facts["spacing_mm"]
        return (dy, dx), raw.steps
    return (1.0, 1.0), (*raw.steps, "The pixel size is not known; 1 mm is assumed.")


def _sinogram(raw: RawMeasurement, size: int) -> Measurement:
    facts, views = raw.facts, raw.data.shape[1]
    count, steps = raw.data.shape[-1], raw.steps
    pitch = facts.get("detector_spacing_mm")
    if pitch is None:
        pitch, steps = 1.0, (*steps, "The spacing of the detector is not known; 1 mm is assumed.")
    fan = facts["geometry"] == "fan"
    shadow = facts["source_origin_mm"] / facts["source_detector_mm"] if fan else 1.0
    side = size or min(count, LARGEST_SIDE)
    pixel = count * pitch * shadow / side
    parameters: dict[str, Any] = {
        "geometry": facts["geometry"],
        "angles": list(facts["angles"]),
        "detector_spacing": pitch,
        "detector_count": count,
        "centre": facts.get("centre_offset", 0.0) * pitch,
        "views": views,
        "steps": list(steps),
    }
    if fan:
        parameters |= {key: facts[f"{key}_mm"] for key in ("source_origin", "source_detector")}
    if "photons" in facts:
        parameters |= {"noise": "poisson", "photons": facts["photons"]}
    else:
        parameters |= {"noise": "gaussian", "sigma": _sinogram_sigma(raw.data)}
    return Measurement(
        task="ct",
        data=raw.data.float().contiguous(),
        parameters=parameters,
        affine=_affine((side, side), (pixel, pixel), facts.get("slice_spacing_mm", 1.0), raw.slices),
        image_shape=(side, side),
        modality="CT",
        unit="1/mm",
        provenance=raw.provenance,
    )


def _sinogram_sigma(data: Tensor) -> float:
    """Noise of line integrals, from fourth differences along the detector, in which a smooth object cancels."""
    sigma = float(data.diff(n=4).abs().median()) / _MAD / _FOURTH_DIFFERENCE
    if not sigma > 0:
        raise IntensityError("The noise of the sinogram cannot be estimated: most neighbouring elements agree exactly.")
    return sigma


def _affine(shape: tuple[int, int], spacing: tuple[float, float], thickness: float, slices: int) -> Affine:
    """Grid around the origin, ``x`` to the left and ``y`` to the back: raw files lack the patient's orientation."""
    (y, x), (dy, dx) = shape, spacing
    affine = np.diag([-dx, -dy, thickness, 1.0])
    affine[:3, 3] = [dx * (x - 1) / 2, dy * (y - 1) / 2, -thickness * (slices - 1) / 2]
    return affine
