"""A measurement: the data of each slice, and the facts needed to model them.

Parameters are plain values and arrays, not objects, so that a measurement can be saved, inspected and reused.
`medinr.acquisition` turns the facts into an operator and a noise model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from medinr.errors import ShapeError
from medinr.volume import Affine, Provenance, Volume


@dataclass(frozen=True, eq=False)
class Measurement:
    """Data of one or more slices measured the same way.

    Attributes
    ----------
    task : str
        Way of measuring: denoise, superres, kspace, ct, or another of `medinr.acquisition`.
    data : Tensor, shape (slices, ...)
        Per task ``(y, x)``, coarse ``(y, x)``, ``(coil, line, kx)``, ``(coil, point)`` or
        ``(coil, readout, sample)``, ``(angle, detector)``; one coil has no axis.
    parameters : mapping
        Plain values that describe how it was measured: sampled lines, noise level, angles, seed.
    arrays : mapping of str to Tensor
        Coil maps and the like.
    affine : ndarray, shape (4, 4)
        Of the image grid to be reconstructed, index (x, y, z) to RAS mm.
    image_shape : (int, int)
        Pixels (y, x) of that grid.
    modality, unit : str
        Of the image.
    provenance : Provenance
        Of the scan it was simulated from, or of the raw file.
    """

    task: str
    data: Tensor
    parameters: Mapping[str, Any]
    affine: Affine
    image_shape: tuple[int, int]
    modality: str
    unit: str
    arrays: Mapping[str, Tensor] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if self.data.ndim < 2:
            raise ShapeError(f"Measured data are (slices, ...); got shape {tuple(self.data.shape)}.")

    @property
    def slices(self) -> int:
        """Number of slices."""
        return int(self.data.shape[0])

    @property
    def slice_numbers(self) -> tuple[int, ...]:
        """Number of each slice in the scan it was simulated from; counted from 0 when there was none."""
        return tuple(int(number) for number in self.parameters.get("slices", range(self.slices)))

    @property
    def spacing(self) -> tuple[float, float]:
        """Pixel spacing (y, x) of the image grid in mm."""
        x, y = np.linalg.norm(self.affine[:3, :2], axis=0)
        return float(y), float(x)

    def volume(self, images: np.ndarray[Any, Any]) -> Volume:
        """Return reconstructed slices ``(slices, y, x)`` as a volume at their position in patient space."""
        return Volume(images.astype(np.float32), self.affine, self.modality, self.unit, self.provenance)

    def __repr__(self) -> str:
        y, x = self.image_shape
        return f"Measurement {self.task}, {self.slices} slices, data {tuple(self.data.shape)}, image {x} x {y} pixels"
