"""Helsinki Tomography Challenge 2022 and similar files: fan-beam sinograms with full geometry (Meaney et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medinr.errors import FileError, ShapeError
from medinr.io.hashes import hash_file
from medinr.io.raw.checks import sinogram_tensor
from medinr.io.raw.mat import read_variable, variables
from medinr.io.raw.sidecar import Sidecar, refuse_keys
from medinr.raw import SINOGRAM, RawMeasurement
from medinr.volume import Provenance

#: Variables that hold such a struct start with this.
_STEM = "CtData"


def htc_variable(path: Path) -> str | None:
    """Name of the variable of a MATLAB file that holds a scan; None when there is none."""
    return next((name for name in variables(path) if name.startswith(_STEM)), None)


def read_htc(path: Path, sidecar: Sidecar, slices: Sequence[int] | None = None) -> RawMeasurement:
    """Read a two-dimensional ``CtData...`` struct with ``sinogram`` (line integrals) and ``parameters``.

    Its angles are those of ASTRA's ``fanflat`` (as HelTomo, the challenge's toolbox, uses them): at 0 the source
    is below the image. Here it is above, so half a rotation is added and the detector is reversed, which
    describes the same rays; the image keeps HelTomo's orientation.

    Raises
    ------
    FileError
        When a field is missing, or the file is truncated.
    ShapeError
        When sinogram and angles do not fit together.
    """
    refuse_keys(sidecar, ("kind", "axes", "geometry", "angles", "angle_step", "units"), path, "HTC")
    variable = sidecar.variable or htc_variable(path)
    if variable is None:
        raise FileError(f"{path}: no variable starts with {_STEM}; it holds {', '.join(variables(path)) or 'nothing'}.")
    name = f"{path}, {variable}"
    if slices is not None and list(slices) != [0]:
        raise FileError(f"{name}: slices {list(slices)} were asked for; the file has one, number 0.")
    struct = read_variable(path, variable)
    parameters = _field(struct, "parameters", name)
    values = np.asarray(_field(struct, "sinogram", name), dtype=np.float64)
    angles = np.radians(np.atleast_1d(_numbers(parameters, "angles", name)))
    if values.ndim != 2 or len(values) != len(angles):
        raise ShapeError(
            f"{name}.sinogram: has shape {values.shape} for {len(angles)} angles; it is (angle, detector)."
        )
    unit = str(parameters.get("distanceUnit", "mm"))
    if unit != "mm":
        raise FileError(f"{name}.parameters: distanceUnit is {unit!r}; only mm is read.")
    facts: dict[str, Any] = {
        "geometry": "fan",
        "angles": tuple((angles + np.pi - 2 * np.pi * np.floor((angles.min() + np.pi) / (2 * np.pi))).tolist()),
        "detector_spacing_mm": float(_numbers(parameters, "pixelSizePost", name)),
        "source_origin_mm": float(_numbers(parameters, "distanceSourceOrigin", name)),
        "source_detector_mm": float(_numbers(parameters, "distanceSourceDetector", name)),
    }
    if sidecar.photons is not None:
        facts["photons"] = sidecar.photons
    if sidecar.rotation_centre is not None:
        # The caller counts elements as they are stored.
        facts["centre_offset"] = (values.shape[1] - 1) / 2 - sidecar.rotation_centre
    data = sinogram_tensor(values[None, :, ::-1], f"{name}.sinogram")
    step = "Half a rotation was added to the angles and the detector reversed, so that the source is above at angle 0."
    provenance = Provenance("htc", (path,), hash_file(path))
    return RawMeasurement("sinogram", data, SINOGRAM, facts, {}, (step,), provenance)


def _field(struct: Any, field: str, name: str) -> Any:
    if not isinstance(struct, dict) or field not in struct:
        raise FileError(f"{name}: the struct has no field {field!r}. Is this a scan of the challenge?")
    return struct[field]


def _numbers(parameters: Any, field: str, name: str) -> np.ndarray[Any, Any]:
    value = np.asarray(_field(parameters, field, f"{name}.parameters"))
    if value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise FileError(f"{name}.parameters.{field}: {value} is not a number.")
    return np.squeeze(value).astype(np.float64)
