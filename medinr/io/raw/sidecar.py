"""The sidecar of a raw file: a small YAML file next to it with facts that the file itself lacks.

``scan.npy`` is described by ``scan.npy.yaml``. Arrays without a header need at least ``kind`` and ``axes``; files
with named axes may still lack a length, or have a dead coil::

    kind: kspace                    # or sinogram
    axes: [coil, ky, kx]            # of the array as stored; sinogram: slice, angle, detector
    spacing_mm: [0.9, 0.9]          # or fov_mm: [230, 180]
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from medinr.errors import ConfigError, FileError

#: Names of the axes of k-space and of sinograms.
KSPACE_AXES = ("slice", "coil", "average", "ky", "kx", "readout", "sample")
SINOGRAM_AXES = ("slice", "angle", "detector")

_CHOICES = {
    "kind": ("kspace", "sinogram"),
    "sampling": ("nonzero", "full"),
    "readout_axis": ("kx", "ky"),
    "zero_frequency": ("centre", "corner"),
    "trajectory_unit": ("cycles/fov", "cycles/pixel", "rad/pixel"),
    "geometry": ("parallel", "fan"),
    "angle_unit": ("rad", "degrees"),
    "angle_direction": ("counterclockwise", "clockwise"),
    "units": ("line integrals", "transmission"),
}
_PAIRS = ("spacing_mm", "fov_mm", "image_shape", "recon_shape")
_LENGTHS = (
    "slice_thickness_mm",
    "slice_spacing_mm",
    "detector_spacing_mm",
    "source_origin_mm",
    "source_detector_mm",
    "noise_sigma",
    "photons",
)


@dataclass(frozen=True)
class Sidecar:
    """Facts of a sidecar; None where they are not given.

    Attributes
    ----------
    kind, axes, variable
        ``"kspace"`` or ``"sinogram"``; the names of the stored array's axes, in order; which variable of a
        MATLAB file or dataset it is.
    coils : tuple of int
        Coils to keep, counted from 0.
    sampling : {"nonzero", "full"}
        Whether zeros were not measured (``"nonzero"``, the default) or are samples like others.
    mask : str
        File (in the folder of the raw file) or variable with the sampling mask ``(ky, kx)``, if zeros do not give it.
    readout_axis : {"kx", "ky"}
    zero_frequency : {"centre", "corner"}
        Where the array has it: at ``n // 2`` (default) or at 0.
    trajectory, trajectory_unit
        File or variable with the trajectory ``(readout, sample, 2)``, its last axis ``(ky, kx)``; in
        ``"cycles/fov"`` (default), ``"cycles/pixel"`` or ``"rad/pixel"``. A BART file keeps BART's order.
    spacing_mm, fov_mm, image_shape, recon_shape
        Pairs (y, x): pixel spacing or field of view, pixels, pixels once the oversampling is taken off.
    geometry, angles, angle_step, angle_unit, angle_direction
        Of a sinogram: ``"parallel"`` or ``"fan"``; angles as a list or the name of a variable, or evenly spaced
        from 0 by ``angle_step``; their unit is required; clockwise angles are negated.
    detector_spacing_mm, source_origin_mm, source_detector_mm, rotation_centre
        Lengths in mm; the detector element that sees the rotation axis, counted from 0.
    units : {"line integrals", "transmission"}
        What a sinogram's values are.
    slice_thickness_mm, slice_spacing_mm, noise_sigma, photons
        See `medinr.raw.RawMeasurement`.

    Raises
    ------
    ConfigError
        For a value outside its range.
    """

    kind: str | None = None
    axes: tuple[str, ...] | None = None
    variable: str | None = None
    coils: tuple[int, ...] | None = None
    sampling: str | None = None
    mask: str | None = None
    readout_axis: str | None = None
    zero_frequency: str | None = None
    trajectory: str | None = None
    trajectory_unit: str | None = None
    spacing_mm: tuple[float, float] | None = None
    fov_mm: tuple[float, float] | None = None
    image_shape: tuple[int, int] | None = None
    recon_shape: tuple[int, int] | None = None
    slice_thickness_mm: float | None = None
    slice_spacing_mm: float | None = None
    noise_sigma: float | None = None
    geometry: str | None = None
    angles: tuple[float, ...] | str | None = None
    angle_step: float | None = None
    angle_unit: str | None = None
    angle_direction: str | None = None
    detector_spacing_mm: float | None = None
    source_origin_mm: float | None = None
    source_detector_mm: float | None = None
    rotation_centre: float | None = None
    units: str | None = None
    photons: float | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise ConfigError(f"{name} is {' or '.join(choices)}; got {value!r}.")
        for name in _PAIRS:
            value = getattr(self, name)
            if value is not None and not (len(value) == 2 and all(_is_positive(v) for v in value)):
                raise ConfigError(f"{name} is a pair of positive numbers [y, x]; got {value}.")
        for name in _LENGTHS:
            value = getattr(self, name)
            if value is not None and not _is_positive(value):
                raise ConfigError(f"{name} is a positive number; got {value!r}.")
        if self.spacing_mm is not None and self.fov_mm is not None:
            raise ConfigError("spacing_mm and fov_mm are equivalent; give one of them.")
        if self.coils is not None and not all(type(coil) is int and coil >= 0 for coil in self.coils):
            raise ConfigError(f"coils are whole numbers from 0; got {self.coils}.")
        if self.axes is not None:
            if self.kind is None:
                raise ConfigError("axes need a kind; add kind: kspace or kind: sinogram.")
            self._check_axes(self.axes)
        if (self.angles is not None or self.angle_step is not None) and self.angle_unit is None:
            raise ConfigError("Angles need a unit; add angle_unit: rad or angle_unit: degrees.")

    def _check_axes(self, axes: tuple[str, ...]) -> None:
        known = SINOGRAM_AXES if self.kind == "sinogram" else KSPACE_AXES
        for axis in axes:
            if axis not in known:
                raise ConfigError(f"Unknown axis {axis!r}; {_nearest(str(axis), known)}")
        pairs = (("angle", "detector"),) if self.kind == "sinogram" else (("ky", "kx"), ("readout", "sample"))
        complete = [pair for pair in pairs if set(pair) <= set(axes)]
        partial = [pair for pair in pairs if set(pair) & set(axes)]
        if len(set(axes)) < len(axes) or len(complete) != 1 or partial != complete:
            wanted = " or ".join(" and ".join(pair) for pair in pairs)
            raise ConfigError(f"axes name each axis once and have {wanted}; got [{', '.join(map(str, axes))}].")

    def spacing(self, shape: Sequence[int]) -> tuple[float, float] | None:
        """Return the pixel spacing (y, x) in mm on a grid of a shape (y, x), from the spacing or the field of view."""
        if self.fov_mm is not None:
            return self.fov_mm[0] / shape[0], self.fov_mm[1] / shape[1]
        return self.spacing_mm

    def kspace_facts(self, shape: Sequence[int]) -> dict[str, Any]:
        """Return the facts of k-space on a grid of a shape (y, x), as far as they are given."""
        facts: dict[str, Any] = {"image_shape": tuple(shape), "spacing_mm": self.spacing(shape)}
        for key in ("recon_shape", "readout_axis", "slice_thickness_mm", "noise_sigma"):
            facts[key] = getattr(self, key)
        return {key: value for key, value in facts.items() if value is not None}

    def given(self) -> tuple[str, ...]:
        """Names of the keys that were given."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is not None)


def read_sidecar(path: Path, given: Path | str | Mapping[str, Any] | None = None) -> Sidecar:
    """Read the sidecar of a raw file: `given`, or the file of its name with ``.yaml`` appended, or an empty one.

    Parameters
    ----------
    path : Path
        Of the raw file.
    given : Path, str or mapping, optional
        A sidecar kept elsewhere, or its keys and values.

    Raises
    ------
    FileError
        When a sidecar that was named cannot be read.
    ConfigError
        Naming the file and the nearest known key for an unknown one.
    """
    if isinstance(given, Mapping):
        return _parse(dict(given), "sidecar")
    place = path.with_name(path.name + ".yaml") if given is None else Path(given)
    if given is None and not place.is_file():
        return Sidecar()
    try:
        content = yaml.safe_load(place.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{place}: the sidecar cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        raise FileError(f"{place}: the sidecar is not YAML ({str(error).splitlines()[0]}).") from error
    if not isinstance(content, dict):
        raise FileError(f"{place}: a sidecar holds lines of the form key: value.")
    return _parse(content, str(place))


def refuse_keys(sidecar: Sidecar, names: Sequence[str], path: Path, kind: str) -> None:
    """Refuse keys of facts that the file itself contains.

    Raises
    ------
    ConfigError
        Naming the first of them.
    """
    for name in names:
        if name in sidecar.given():
            raise ConfigError(f"{path}: a {kind} file contains {name} itself; remove {name} from the sidecar.")


def _parse(content: dict[Any, Any], name: str) -> Sidecar:
    known = tuple(f.name for f in fields(Sidecar))
    for key in content:
        if key not in known:
            raise ConfigError(f"{name}: unknown key {key!r}; {_nearest(str(key), known)}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    for key, value in values.items():
        tuples = (*_PAIRS, "axes", "coils")
        if key in tuples and not isinstance(value, tuple):
            raise ConfigError(f"{name}: {key} is a list; got {value!r}.")
        numbers = isinstance(value, tuple) and all(isinstance(angle, int | float) for angle in value)
        if key == "angles" and not (isinstance(value, str) or numbers):
            raise ConfigError(f"{name}: angles are a list of numbers or the name of a variable; got {value!r}.")
        if key in ("angle_step", "rotation_centre") and not isinstance(value, int | float):
            raise ConfigError(f"{name}: {key} is a number; got {value!r}.")
    try:
        return Sidecar(**values)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _nearest(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
