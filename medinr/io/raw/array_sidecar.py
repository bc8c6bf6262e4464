"""Arrays without a header (``.npy``, ``.mat``), described by a sidecar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.errors import ConfigError, FileError, IntensityError, ShapeError
from medinr.io.hashes import hash_file
from medinr.io.raw.checks import choose, kspace_tensor, require_room, sampled, sinogram_tensor
from medinr.io.raw.mat import read_variable, variables
from medinr.io.raw.sidecar import KSPACE_AXES, SINOGRAM_AXES, Sidecar
from medinr.raw import CARTESIAN, NON_CARTESIAN, SINOGRAM, RawMeasurement
from medinr.volume import Provenance


def read_array(path: Path, sidecar: Sidecar, slices: Sequence[int] | None = None) -> RawMeasurement:
    """Read an array that is described by a sidecar.

    Parameters
    ----------
    path : Path
        A ``.npy`` file (pickled objects are refused) or a ``.mat`` file of any version.
    sidecar : Sidecar
        At least ``kind`` and ``axes``; a sinogram's ``geometry`` and angles too.
    slices : sequence of int, optional
        Which to read, counted from 0.

    Raises
    ------
    FileError
        When the file cannot be read or there is no sidecar.
    ConfigError, ShapeError, GeometryError, IntensityError
        When the sidecar and the array do not go together, or values cannot be used.
    """
    if sidecar.kind is None or sidecar.axes is None:
        raise FileError(
            f"{path}: an array has no names of its axes. Write {path.name}.yaml next to it with at least "
            "'kind: kspace' and 'axes: [coil, ky, kx]' (or 'kind: sinogram' and 'axes: [angle, detector]')."
        )
    values = read_values(path, sidecar.variable)
    name = f"{path}, {sidecar.variable}" if sidecar.variable else str(path)
    known = KSPACE_AXES if sidecar.kind == "kspace" else SINOGRAM_AXES
    values = _in_order(values, sidecar.axes, known, name)
    provenance = Provenance(path.suffix[1:].lower(), (path,), hash_file(path))
    if sidecar.kind == "kspace":
        return _kspace(values, sidecar, path, name, slices, provenance)
    values = values[choose(len(values), slices, name)]
    return _sinogram(values, sidecar, path, name, provenance)


def read_values(path: Path, variable: str | None = None) -> np.ndarray[Any, Any]:
    """Read the array of a ``.npy`` file, or a variable of a ``.mat`` file (the only one if none is named).

    Raises
    ------
    FileError
        When the file is missing, truncated, pickled, too large or not numeric.
    """
    if path.suffix.lower() == ".mat":
        found = variables(path)
        if variable is None and len(found) != 1:
            raise FileError(f"{path}: holds {', '.join(found) or 'nothing'}; name one in the sidecar (variable: NAME).")
        values = read_variable(path, variable or next(iter(found)))
    else:
        try:
            # The memory map reads the header alone, and fails when the file is shorter than it declares.
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # numpy parses the header as Python, and fails in as many ways
            if not path.is_file():
                raise FileError(f"{path}: no such file.") from error
            raise FileError(f"{path}: not a whole .npy array of numbers ({error}). Copy or save it again.") from error
        require_room(mapped.shape, mapped.dtype.itemsize, str(path))
        values = np.array(mapped)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biufc":
        raise FileError(f"{path}: {variable or 'the content'} is not an array of numbers.")
    return values


def _in_order(
    values: np.ndarray[Any, Any], axes: tuple[str, ...], known: tuple[str, ...], name: str
) -> np.ndarray[Any, Any]:
    """Bring the stored axes into the order of `known`; optional ones that are not named get length 1."""
    if values.ndim != len(axes):
        squeezed = values.squeeze()
        if squeezed.ndim != len(axes):
            raise ShapeError(f"{name}: the array has shape {values.shape}, the sidecar names axes [{', '.join(axes)}].")
        values = squeezed
    wanted = [axis for axis in known if axis in axes]
    values = values.transpose([axes.index(axis) for axis in wanted])
    if "average" in wanted:
        values = values.mean(axis=wanted.index("average"))
        wanted.remove("average")
    for position, axis in enumerate(("slice", "coil") if "coil" in known else ("slice",)):
        if axis not in wanted:
            values = np.expand_dims(values, position)
    return values


def _kspace(
    values: np.ndarray[Any, Any],
    sidecar: Sidecar,
    path: Path,
    name: str,
    slices: Sequence[int] | None,
    provenance: Provenance,
) -> RawMeasurement:
    assert sidecar.axes is not None
    cartesian = "ky" in sidecar.axes
    if sidecar.zero_frequency == "corner" and cartesian:
        values = np.fft.fftshift(values, axes=(-2, -1))
    data = kspace_tensor(values[choose(len(values), slices, name)], name, sidecar.coils)
    arrays: dict[str, Tensor] = {}
    shape = tuple(data.shape[-2:]) if cartesian else sidecar.image_shape
    if shape is None:
        raise ConfigError(f"{name}: the grid of non-Cartesian k-space is not known; add image_shape: [y, x].")
    if cartesian:
        mask = _mask(data, sidecar, path, name)
        if mask is not None:
            arrays["mask"] = mask
            data = data * mask
    else:
        arrays["trajectory"] = trajectory(path, sidecar, shape)
    facts = sidecar.kspace_facts(shape)
    axes = CARTESIAN if cartesian else NON_CARTESIAN
    return RawMeasurement("kspace", data, axes, facts, arrays, (), provenance)


def _mask(data: Tensor, sidecar: Sidecar, path: Path, name: str) -> Tensor | None:
    if sidecar.sampling == "full":
        return None
    if sidecar.mask is None:
        return sampled(data, name)
    mask = torch.from_numpy(_named_array(path, sidecar.mask, "mask") != 0)
    if sidecar.zero_frequency == "corner":
        mask = torch.fft.fftshift(mask)
    return mask


def trajectory(path: Path, sidecar: Sidecar, shape: Sequence[int]) -> Tensor:
    """Read the trajectory that a sidecar names, ``(readout, sample, 2)`` as ``(ky, kx)`` in cycles/FOV.

    Raises
    ------
    FileError
        When none is named or it cannot be read.
    ShapeError
        When its last axis is not (ky, kx).
    """
    if sidecar.trajectory is None:
        raise FileError(
            f"{path}: non-Cartesian k-space needs its trajectory; name it in the sidecar (trajectory: FILE)."
        )
    places = _named_array(path, sidecar.trajectory, "trajectory")
    if places.ndim != 3 or places.shape[-1] != 2 or np.iscomplexobj(places):
        raise ShapeError(
            f"{path}: a trajectory is real (readout, sample, 2) with (ky, kx) last; {sidecar.trajectory} has shape "
            f"{places.shape}."
        )
    if not np.isfinite(places).all():
        raise IntensityError(f"{path}: the trajectory {sidecar.trajectory} holds NaN or infinity.")
    return torch.from_numpy(places * cycles_per_unit(sidecar.trajectory_unit or "cycles/fov", shape))


def cycles_per_unit(unit: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """Return the cycles per field of view (y, x) in one unit of a trajectory, on a grid of a shape (y, x)."""
    size = np.array(shape, dtype=np.float64)
    return {"cycles/fov": np.ones(2), "cycles/pixel": size, "rad/pixel": size / (2 * math.pi)}[unit]


def _named_array(path: Path, named: str, what: str) -> np.ndarray[Any, Any]:
    """Read an array that a sidecar names: a file in the folder of the raw file, or another variable of it."""
    if Path(named).name != named:
        raise FileError(f"{path}: the {what} {named!r} has to lie beside the raw file.")
    file = path.with_name(named)
    if file.is_file():
        return read_values(file)
    if path.suffix.lower() == ".mat":
        return read_values(path, named)
    raise FileError(f"{path}: the {what} {named!r} named in the sidecar is not beside it.")


def _sinogram(
    values: np.ndarray[Any, Any], sidecar: Sidecar, path: Path, name: str, provenance: Provenance
) -> RawMeasurement:
    if sidecar.units is None or sidecar.geometry is None:
        raise ConfigError(
            f"{name}: a sinogram's sidecar needs 'units: line integrals' (or transmission) and 'geometry: parallel' "
            "(or fan)."
        )
    steps = []
    if sidecar.units == "transmission":
        if not (values > 0).all():
            raise IntensityError(f"{name}: {int((values <= 0).sum())} transmissions are not positive; no logarithm.")
        values = -np.log(values)
        steps.append("The negative logarithm of the transmission was taken.")
    data = sinogram_tensor(values, name)
    facts: dict[str, Any] = {"geometry": sidecar.geometry, "angles": _angles(path, sidecar, data.shape[-2])}
    if sidecar.rotation_centre is not None:
        facts["centre_offset"] = sidecar.rotation_centre - (data.shape[-1] - 1) / 2
    for key in ("detector_spacing_mm", "slice_spacing_mm", "source_origin_mm", "source_detector_mm", "photons"):
        if getattr(sidecar, key) is not None:
            facts[key] = getattr(sidecar, key)
    if sidecar.noise_sigma is not None:
        facts["noise_sigma"] = sidecar.noise_sigma
    return RawMeasurement("sinogram", data, SINOGRAM, facts, {}, tuple(steps), provenance)


def _angles(path: Path, sidecar: Sidecar, count: int) -> tuple[float, ...]:
    if isinstance(sidecar.angles, str):
        angles: np.ndarray[Any, Any] = _named_array(path, sidecar.angles, "list of angles").ravel().astype(np.float64)
    elif sidecar.angles is not None:
        angles = np.asarray(sidecar.angles, dtype=np.float64)
    elif sidecar.angle_step is not None:
        angles = np.arange(count) * float(sidecar.angle_step)
    else:
        raise ConfigError(
            f"{path}: a sinogram's sidecar gives its angles (angles: [...] or angle_step, with angle_unit)."
        )
    if sidecar.angle_unit == "degrees":
        angles = np.radians(angles)
    return tuple((angles if sidecar.angle_direction != "clockwise" else -angles).tolist())
