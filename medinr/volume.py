"""A scan in millimetres: voxels with their position, unit and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medinr.errors import GeometryError, IntensityError, ShapeError, UnitError

MODALITIES = ("MR", "CT", "OT")
UNITS = ("a.u.", "HU", "1/mm")

#: Parts of the complex MR signal; empty when unknown.
COMPONENTS = ("", "magnitude", "phase", "real", "imaginary", "complex")

#: Those whose absolute value is no picture of the tissue.
WITHOUT_MAGNITUDE = ("phase", "imaginary")

#: Distance of slices over width of pixels up to which voxels count as cubic.
THICKEST = 1.5

Affine = NDArray[np.float64]
Array = NDArray[np.float32] | NDArray[np.complex64]


@dataclass(frozen=True)
class ScanFacts:
    """What a header says about how a scan was acquired; None or empty where it says nothing.

    Attributes
    ----------
    component : {"", "magnitude", "phase", "real", "imaginary", "complex"}
        Of the complex MR signal.
    image_type : tuple of str
        DICOM's words, such as ``("ORIGINAL", "PRIMARY", "M")``.
    thickness : float or None
        Slice thickness in mm, which may differ from the distance of the slices.
    acquired_matrix : tuple of int or None
        Samples along (x, y) that were measured; fewer than pixels where k-space was zero-filled.
    lossy : str
        Lossy compression in words; empty when none is known of.
    inverted : bool
        Low values are shown bright (MONOCHROME1).
    bits_stored : int or None
    window : tuple of float or None
        Centre and width at which the scanner shows it, in the volume's unit.
    echo_time, repetition_time, inversion_time : float or None
        In ms.
    flip_angle : float or None
        In degrees.
    b_value : float or None
        In s/mm^2.
    field_strength : float or None
        In tesla.
    slice_times : tuple of float
        When each slice was acquired, in s.
    """

    component: str = ""
    image_type: tuple[str, ...] = ()
    thickness: float | None = None
    acquired_matrix: tuple[int, int] | None = None
    lossy: str = ""
    inverted: bool = False
    bits_stored: int | None = None
    window: tuple[float, float] | None = None
    echo_time: float | None = None
    repetition_time: float | None = None
    inversion_time: float | None = None
    flip_angle: float | None = None
    b_value: float | None = None
    field_strength: float | None = None
    slice_times: tuple[float, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Where a volume came from, without anything that identifies the patient.

    Attributes
    ----------
    format : str
        ``"nifti"``, ``"dicom"``, ``"mgh"``, ``"nrrd"``, ``"metaimage"``, ``"measurement"`` or ``"array"``.
    files : tuple of Path
        Source files; for DICOM one per slice, in slice order.
    sha256 : str
        Hash of the source (of the file, or over the sorted hashes of a series' files).
    frame_of_reference : str
        DICOM frame of reference UID, empty for other formats.
    notes : tuple of str
        Irregularities found while reading, in words.
    facts : ScanFacts
    in_slice_order : bool
        Whether files, if there are as many as slices, belong to one slice each; not where slices were cut anew.
    frames : tuple of int
        Of an enhanced DICOM object: for every slice, the number of its frame in the file, from 0.
    """

    format: str = "array"
    files: tuple[Path, ...] = ()
    sha256: str = ""
    frame_of_reference: str = ""
    notes: tuple[str, ...] = ()
    facts: ScanFacts = ScanFacts()
    in_slice_order: bool = True
    frames: tuple[int, ...] = ()

    def of_slices(self, numbers: Sequence[int], count: int) -> Provenance:
        """Return the provenance of some of `count` slices, in the order of their numbers."""
        files, frames = self.files, self.frames
        if self.in_slice_order and len(files) == count:
            files = tuple(files[number] for number in numbers)
        if len(frames) == count:
            frames = tuple(frames[number] for number in numbers)
        return replace(self, files=files, frames=frames)

    def cut_anew(self) -> Provenance:
        """Return the provenance of slices that are none of the source's: across them, or on another grid."""
        return replace(self, in_slice_order=False, frames=())


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels on a regular grid in patient space.

    Parameters
    ----------
    array : ndarray, shape (z, y, x), float32 or complex64
    affine : ndarray, shape (4, 4)
        Maps the homogeneous index ``(x, y, z, 1)`` to RAS millimetres (the NIfTI convention).
    modality : {"MR", "CT", "OT"}
    unit : {"a.u.", "HU", "1/mm"}
    provenance : Provenance

    Raises
    ------
    ShapeError, GeometryError, UnitError
        When the parts do not form a scan.

    Examples
    --------
    >>> Volume(np.zeros((3, 4, 5), np.float32), np.diag([0.5, 0.5, 4.0, 1.0]), "MR")
    Volume MR, 5 x 4 pixels x 3 slices, 0.50 x 0.50 x 4.00 mm, axes R A S, a.u., from array
    """

    array: Array
    affine: Affine
    modality: str = "OT"
    unit: str = "a.u."
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise ShapeError(f"A Volume is (z, y, x); got an array of shape {self.array.shape}.")
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"An affine is a finite 4x4 matrix in mm; got {affine.tolist()}.")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise GeometryError("The affine is singular: two voxel axes point the same way or a spacing is zero.")
        if self.modality not in MODALITIES:
            raise UnitError(f"Modality {self.modality!r} is not one of {', '.join(MODALITIES)}.")
        if self.unit not in UNITS:
            raise UnitError(f"Unit {self.unit!r} is not one of {', '.join(UNITS)}.")
        object.__setattr__(self, "affine", affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel spacing along (x, y, z) in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def nearly_cubic(self) -> bool:
        """Whether voxels are about as long along every axis, see `THICKEST`."""
        return max(self.spacing) <= THICKEST * min(self.spacing)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""
        z, y, x = self.array.shape
        return z, y, x

    @property
    def axes(self) -> tuple[str, str, str]:
        """Patient direction that each of (x, y, z) points to most: letters of L/R, A/P, S/I."""
        directions = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        letters = []
        for column in directions.T:
            axis = int(np.argmax(np.abs(column)))
            letters.append(("LR", "PA", "IS")[axis][int(column[axis] > 0)])
        return letters[0], letters[1], letters[2]

    @property
    def plane(self) -> str:
        """Name of the slice plane: axial, coronal or sagittal (nearest, when oblique)."""
        return {"S": "axial", "I": "axial", "A": "coronal", "P": "coronal"}.get(self.axes[2], "sagittal")

    def with_array(self, array: Array) -> Volume:
        """Return other voxel values on the same grid, shape (z, y, x)."""
        if array.shape != self.array.shape:
            raise ShapeError(f"The grid has shape {self.array.shape}; got values of shape {array.shape}.")
        return replace(self, array=array)

    def select(self, slices: Sequence[int]) -> Volume:
        """Keep some slices; the affine follows, so every kept voxel stays where it was.

        Parameters
        ----------
        slices : sequence of int
            Increasing, evenly spaced slice numbers, counted from 0.

        Raises
        ------
        GeometryError
            When a number is outside the volume, or the numbers are not evenly spaced.
        """
        numbers = list(slices)
        count = self.shape[0]
        if not numbers or min(numbers) < 0 or max(numbers) >= count:
            raise GeometryError(f"Slices {numbers} were asked for; the volume has slices 0 to {count - 1}.")
        steps = {b - a for a, b in pairwise(numbers)}
        if len(steps) > 1 or any(step <= 0 for step in steps):
            raise GeometryError(
                f"Slices {numbers} are not evenly spaced and increasing, so no single affine describes them. "
                "Choose evenly spaced slices, or run once per group."
            )
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, 2] * numbers[0]
        affine[:3, 2] *= steps.pop() if steps else 1
        return replace(
            self, array=self.array[numbers], affine=affine, provenance=self.provenance.of_slices(numbers, count)
        )

    def require_finite(self, name: str = "the scan") -> None:
        """Refuse NaN and infinity (raises `IntensityError`, naming the first slice that holds some)."""
        for number in range(len(self.array)):
            self._require_finite_slice(number, name)

    def _require_finite_slice(self, number: int, name: str) -> None:
        plane = self.array[number]
        bad = int(plane.size - np.isfinite(plane).sum())
        if bad:
            raise IntensityError(
                f"{name}, slice {number}: {bad} of {plane.size} voxels are NaN or infinite. "
                "Replace them (e.g. with 0 outside the body) or choose other slices."
            )

    def require_usable(self, name: str = "the scan") -> None:
        """Refuse values nothing can be fitted to: NaN, infinity, or slices of zeros only.

        Raises
        ------
        IntensityError
            Naming the first slice that is unusable.
        """
        for number, plane in enumerate(self.array):
            self._require_finite_slice(number, name)
            if not plane.any():
                raise IntensityError(f"{name}, slice {number}: every voxel is zero. Choose other slices with --slices.")

    def __repr__(self) -> str:
        z, y, x = self.shape
        dx, dy, dz = self.spacing
        return (
            f"Volume {self.modality}, {x} x {y} pixels x {z} slices, {dx:.2f} x {dy:.2f} x {dz:.2f} mm, "
            f"axes {' '.join(self.axes)}, {self.unit}, from {self.provenance.format}"
        )
