"""A raw measurement: samples as a scanner recorded them, and the facts that give the position of each.

`medinr.io.raw.read.read_raw` reads one from a file. The steps in `medinr.data.raw` turn one into another, and each adds
a sentence to ``steps``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.errors import ConfigError, GeometryError, ShapeError
from medinr.volume import Provenance

#: Axes of Cartesian and other k-space and of sinograms; a raw measurement has one of these three.
CARTESIAN = ("slice", "coil", "ky", "kx")
NON_CARTESIAN = ("slice", "coil", "readout", "sample")
SINOGRAM = ("slice", "angle", "detector")

_KIND_OF = {CARTESIAN: "kspace", NON_CARTESIAN: "kspace", SINOGRAM: "sinogram"}

#: Angles beyond two rotations are taken for degrees.
_LARGEST_ANGLE = 4 * math.pi

_FACTS = {
    "kspace": (
        "image_shape",
        "recon_shape",
        "spacing_mm",
        "slice_thickness_mm",
        "readout_axis",
        "trajectory",
        "averages",
        "noise_sigma",
    ),
    "sinogram": (
        "geometry",
        "angles",
        "centre_offset",
        "detector_spacing_mm",
        "slice_spacing_mm",
        "source_origin_mm",
        "source_detector_mm",
        "photons",
        "flat_counts",
        "noise_sigma",
    ),
}
_POSITIVE = (
    "slice_thickness_mm",
    "averages",
    "noise_sigma",
    "detector_spacing_mm",
    "slice_spacing_mm",
    "source_origin_mm",
    "source_detector_mm",
    "photons",
    "flat_counts",
)
_ARRAYS = {
    "kspace": ("mask", "trajectory", "noise_covariance", "coil_maps", "weights"),
    "sinogram": ("weights",),
}


@dataclass(frozen=True, eq=False, repr=False)
class RawMeasurement:
    """k-space or sinograms of one or more slices measured the same way.

    Conventions
    -----------
    *k-space* is centred: zero frequency at index ``n // 2`` of ``ky`` and of ``kx``, and the image is its
    centred, orthonormal inverse FFT (`medinr.operators.Fourier`, whose adjoint it is), pixel ``n // 2`` at the
    centre of the field of view. Samples that were not measured are zero and False in ``mask``. A trajectory holds
    ``(ky, kx)`` in cycles per field of view of ``image_shape``, from ``-n / 2`` to ``n / 2``.

    *Sinograms* hold line integrals, without unit (attenuation times length; counts have been divided by the flat
    field and their logarithm taken). Angles and detector run as in `medinr.operators.ParallelBeam`: with ``y``
    down, element ``k`` of a parallel view ``theta`` measures the line
    ``x cos(theta) - y sin(theta) = (k - (detectors - 1) / 2 - centre_offset) detector_spacing``, so a growing
    angle turns the detector counterclockwise as the image is seen; that operator's ``centre`` is
    ``centre_offset detector_spacing``. A fan is that of `medinr.operators.FanBeam`, flat, with ``detector_offset``
    minus that: the central ray runs along ``(x, y) = (sin theta, cos theta)``, from a source above the image at 0.
    Files of the Helsinki challenge (ASTRA's ``fanflat``) count their angles in the same sense from a source below;
    they are read with half a rotation added and the detector reversed.

    Nothing is changed in place: facts and arrays are read-only mappings, a step gives a new measurement
    (`after`). Tensors must not be written to.

    Attributes
    ----------
    kind : {"kspace", "sinogram"}
    data : Tensor
        Complex ``(slice, coil, ky, kx)`` or ``(slice, coil, readout, sample)``; real ``(slice, angle, detector)``.
    axes : tuple of str
        `CARTESIAN`, `NON_CARTESIAN` or `SINOGRAM`.
    facts : mapping
        Plain values; those that are not known are absent. For k-space: ``image_shape`` (y, x) of the grid that
        the samples describe (required), ``recon_shape`` (y, x) after the oversampling is taken off,
        ``spacing_mm`` (y, x), ``slice_thickness_mm``, ``readout_axis`` (``"kx"`` or ``"ky"``), ``trajectory``
        (its name), ``averages``, ``noise_sigma`` (standard deviation of the real and of the imaginary part). For
        sinograms: ``geometry`` (``"parallel"`` or ``"fan"``, required), ``angles`` in radians (required),
        ``centre_offset`` in elements, 0 by default: the rotation axis is seen by element
        ``(detectors - 1) / 2 + centre_offset``; ``detector_spacing_mm``, on the detector; ``slice_spacing_mm``;
        for a fan ``source_origin_mm`` and ``source_detector_mm`` (required); ``photons`` and ``flat_counts`` per
        element without an object (the former as estimated from the scatter of the flats, the latter in the
        detector's unit); ``noise_sigma``.
    arrays : mapping of str to Tensor
        ``mask`` bool ``(ky, kx)``, shared by all slices, when undersampled; ``trajectory`` real
        ``(readout, sample, 2)``; ``noise_covariance`` complex ``(coil, coil)``, of the real and of the imaginary
        part each, ``E[n n^H] / 2``; ``coil_maps`` complex ``(coil, y, x)`` or ``(slice, coil, y, x)``;
        ``weights`` real: readings averaged per sample ``(ky, kx)``, density compensation ``(readout, sample)``,
        or inverse variance of a sinogram, in the shape of the data.
    steps : tuple of str
        What was done to the samples since the scanner, in order, a sentence each.
    provenance : Provenance

    Raises
    ------
    ConfigError
        For an unknown kind, fact or array.
    ShapeError
        When axes, data and arrays do not fit together.
    GeometryError
        When a length is not positive, a fact of the geometry is missing, or angles seem to be degrees.

    Examples
    --------
    >>> facts = {"geometry": "parallel", "angles": (0.0, 1.5), "detector_spacing_mm": 0.5}
    >>> RawMeasurement("sinogram", torch.zeros(1, 2, 8), SINOGRAM, facts)
    RawMeasurement sinogram, 1 slice, 2 angles x 8 detectors, parallel beam, 0 to 85.94 degrees, from array
    """

    kind: str
    data: Tensor
    axes: tuple[str, ...]
    facts: Mapping[str, Any]
    arrays: Mapping[str, Tensor] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        object.__setattr__(self, "steps", tuple(self.steps))
        object.__setattr__(self, "facts", MappingProxyType({k: _plain(v) for k, v in self.facts.items()}))
        object.__setattr__(self, "arrays", MappingProxyType(dict(self.arrays)))
        if _KIND_OF.get(self.axes) != self.kind:
            known = ", ".join(f"{kind} ({', '.join(axes)})" for axes, kind in _KIND_OF.items())
            raise ConfigError(f"A raw measurement is {known}; got {self.kind!r} ({', '.join(self.axes)}).")
        if self.data.ndim != len(self.axes) or self.data.numel() == 0:
            raise ShapeError(f"Raw data are ({', '.join(self.axes)}), none empty; got shape {tuple(self.data.shape)}.")
        if self.data.is_complex() != (self.kind == "kspace") or not (
            self.data.is_complex() or self.data.is_floating_point()
        ):
            wanted = "complex" if self.kind == "kspace" else "real floating-point"
            raise ShapeError(f"A {self.kind} holds {wanted} values; got {self.data.dtype}.")
        _require_known(self.kind, "fact", self.facts, _FACTS)
        _require_known(self.kind, "array", self.arrays, _ARRAYS)
        for name in _POSITIVE:
            if name in self.facts and not (math.isfinite(self.facts[name]) and self.facts[name] > 0):
                raise GeometryError(f"Fact {name} is a positive number; got {self.facts[name]}.")
        if self.kind == "kspace":
            self._check_kspace()
        else:
            self._check_sinogram()

    def _check_kspace(self) -> None:
        shape, facts, arrays = self.data.shape, self.facts, self.arrays
        if len(facts.get("image_shape", ())) != 2:
            raise GeometryError(f"k-space needs image_shape (y, x); got {facts.get('image_shape')}.")
        spacing = facts.get("spacing_mm", (1.0, 1.0))
        if len(spacing) != 2 or not all(math.isfinite(s) and s > 0 for s in spacing):
            raise GeometryError(f"spacing_mm is (y, x), positive, in mm; got {spacing}.")
        if self.is_cartesian and tuple(facts["image_shape"]) != tuple(shape[-2:]):
            raise ShapeError(f"image_shape {facts['image_shape']} is not the k-space grid {tuple(shape[-2:])}.")
        if facts.get("readout_axis", "kx") not in ("kx", "ky"):
            raise ConfigError(f"readout_axis is 'kx' or 'ky'; got {facts['readout_axis']!r}.")
        if not self.is_cartesian and "trajectory" not in arrays:
            raise GeometryError(
                "Non-Cartesian k-space needs its trajectory (readout, sample, 2) in cycles per field of view; "
                "there is none. Name it in the sidecar (trajectory: FILE)."
            )
        grid = tuple(shape[-2:])
        y, x = facts["image_shape"]
        maps = ((shape[1], y, x), (shape[0], shape[1], y, x))
        wanted = {
            "mask": (grid,),
            "trajectory": ((*grid, 2),),
            "noise_covariance": ((shape[1], shape[1]),),
            "coil_maps": maps,
            "weights": (grid,),
        }
        for name, value in arrays.items():
            if tuple(value.shape) not in wanted[name]:
                choices = " or ".join(map(str, wanted[name]))
                raise ShapeError(
                    f"Array {name} has shape {tuple(value.shape)}; with data {tuple(shape)} it is {choices}."
                )
        if "trajectory" in arrays and not bool(arrays["trajectory"].isfinite().all()):
            raise GeometryError("The trajectory holds NaN or infinity.")
        if "mask" in arrays and (arrays["mask"].dtype != torch.bool or not self.is_cartesian):
            raise ShapeError(f"A mask is bool and belongs to Cartesian k-space; got {arrays['mask'].dtype}.")
        if "mask" in arrays and not bool(arrays["mask"].any()):
            raise ShapeError("The sampling mask is False throughout: no sample was measured.")

    def _check_sinogram(self) -> None:
        facts, (_, views, _) = self.facts, self.data.shape
        if facts.get("geometry") not in ("parallel", "fan"):
            raise GeometryError(f"Sinogram geometry is 'parallel' or 'fan'; got {facts.get('geometry')!r}.")
        angles = np.asarray(facts.get("angles", ()), dtype=np.float64)
        if angles.shape != (views,):
            raise ShapeError(f"{views} views need as many angles; got shape {angles.shape}.")
        if not np.isfinite(angles).all():
            raise GeometryError("An angle is NaN or infinite.")
        if np.abs(angles).max() > _LARGEST_ANGLE:
            raise GeometryError(
                f"Angles are radians; these run from {angles.min():.4g} to {angles.max():.4g}, more than two "
                "rotations. Are they degrees? If so, add angle_unit: degrees to the sidecar."
            )
        if facts["geometry"] == "fan":
            origin, detector = facts.get("source_origin_mm"), facts.get("source_detector_mm")
            if origin is None or detector is None or "detector_spacing_mm" not in facts or detector < origin:
                raise GeometryError(
                    "A fan needs detector_spacing_mm, source_origin_mm and source_detector_mm, the last the larger; "
                    f"got {facts.get('detector_spacing_mm')}, {origin} and {detector}."
                )
        if "weights" in self.arrays and self.arrays["weights"].shape != self.data.shape:
            raise ShapeError(f"weights are {tuple(self.data.shape)}; got {tuple(self.arrays['weights'].shape)}.")

    @property
    def is_cartesian(self) -> bool:
        """Whether the samples are k-space on a grid."""
        return self.axes == CARTESIAN

    @property
    def slices(self) -> int:
        """Number of slices."""
        return int(self.data.shape[0])

    @property
    def field_of_view(self) -> tuple[float, float] | None:
        """Field of view (y, x) of ``image_shape`` in mm; None when the spacing is not known, or for a sinogram."""
        if "spacing_mm" not in self.facts:
            return None
        (y, x), (dy, dx) = self.facts["image_shape"], self.facts["spacing_mm"]
        return y * dy, x * dx

    @property
    def rotation_centre(self) -> float:
        """Detector element, counted from 0, that sees the rotation axis."""
        return (self.data.shape[-1] - 1) / 2 + float(self.facts.get("centre_offset", 0.0))

    @property
    def sampling(self) -> str:
        """``"full"``, ``"lines"`` or ``"points"`` of a grid; the trajectory's name; ``"views"`` of a sinogram."""
        if self.kind == "sinogram":
            return "views"
        if not self.is_cartesian:
            return str(self.facts.get("trajectory", "trajectory"))
        mask = self.arrays.get("mask")
        if mask is None or bool(mask.all()):
            return "full"
        along = -2 if self.facts.get("readout_axis", "kx") == "ky" else -1
        return "lines" if bool((mask == mask.any(along, keepdim=True)).all()) else "points"

    @property
    def acceleration(self) -> float | None:
        """Samples of the grid over samples measured; None when the samples lie on no grid."""
        if not self.is_cartesian:
            return None
        mask = self.arrays.get("mask")
        return 1.0 if mask is None else mask.numel() / int(mask.sum())

    def after(
        self,
        step: str,
        *,
        data: Tensor | None = None,
        facts: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Tensor | None] | None = None,
    ) -> RawMeasurement:
        """Return the measurement after a step of processing.

        Parameters
        ----------
        step : str
            What was done, a sentence.
        data : Tensor, optional
            The samples after it.
        facts, arrays : mapping, optional
            Those that changed; None in place of a value removes it.
        """
        new_facts = {k: v for k, v in {**self.facts, **(facts or {})}.items() if v is not None}
        new_arrays = {k: v for k, v in {**self.arrays, **(arrays or {})}.items() if v is not None}
        data = self.data if data is None else data
        return RawMeasurement(self.kind, data, self.axes, new_facts, new_arrays, (*self.steps, step), self.provenance)

    def __reduce__(self) -> tuple[type[RawMeasurement], tuple[Any, ...]]:
        # Read-only mappings cannot be pickled; workers get plain ones and wrap them again.
        parts = (dict(self.facts), dict(self.arrays), self.steps, self.provenance)
        return RawMeasurement, (self.kind, self.data, self.axes, *parts)

    def __repr__(self) -> str:
        count = f"{self.slices} slice{'s' if self.slices != 1 else ''}"
        if self.kind == "sinogram":
            _, views, elements = self.data.shape
            low, high = (math.degrees(f(self.facts["angles"])) for f in (min, max))
            what = (
                f"{views} angles x {elements} detectors, {self.facts['geometry']} beam, {low:.4g} to {high:.4g} degrees"
            )
        else:
            _, coils, rows, columns = self.data.shape
            names = f"{self.axes[2]} {rows} x {self.axes[3]} {columns}"
            what = f"{coils} coil{'s' if coils != 1 else ''}, {names}, {self.sampling} sampling"
            if self.acceleration is not None and self.acceleration > 1:
                what += f", acceleration {self.acceleration:.2f}"
        done = f", {len(self.steps)} steps" if self.steps else ""
        return f"RawMeasurement {self.kind}, {count}, {what}{done}, from {self.provenance.format}"


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(_plain(v) for v in value)
    return value.item() if isinstance(value, np.generic) else value


def _require_known(kind: str, what: str, given: Mapping[str, Any], known: Mapping[str, tuple[str, ...]]) -> None:
    for name in given:
        if name not in known[kind]:
            raise ConfigError(f"Unknown {what} {name!r} of a {kind}; known are {', '.join(known[kind])}.")
