"""Derived objects of one slice each: on the source's voxels, or on another grid in its frame of reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from medinr.errors import GeometryError
from medinr.io.dicom.derived.flattened import flattened
from medinr.io.dicom.derived.header import (
    Derivation,
    copied,
    derived_image_type,
    file_meta,
    mark_derived,
    plain,
    reference_to,
    set_padding,
    set_pixels,
    set_window,
)
from medinr.io.dicom.derived.quantisation import Quantisation
from medinr.io.dicom.derived.real_world import real_world_mapping
from medinr.io.dicom.geometry import COSINE_TOLERANCE, LPS_TO_RAS
from medinr.volume import Volume

#: Tags of a source slice that do not hold for a slice elsewhere.
_OF_ONE_SLICE = (
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "AcquisitionMatrix",
    "InPlanePhaseEncodingDirection",
    "ReconstructionDiameter",
    "FieldOfViewShape",
    "FieldOfViewDimensions",
    "GantryDetectorTilt",
    "TableHeight",
    "TablePosition",
    "Exposure",
    "ExposureInuAs",
    "ExposureInmAs",
    "ExposureTime",
    "ExposureTimeInuS",
    "ExposureTimeInms",
    "XRayTubeCurrent",
    "XRayTubeCurrentInuA",
    "XRayTubeCurrentInmA",
    "CTDIvol",
    "ImageComments",
    "PatientOrientation",
    "PixelAspectRatio",
    "PixelSpacingCalibrationType",
    "PixelSpacingCalibrationDescription",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "StackID",
    "InStackPositionNumber",
    "TemporalPositionIndex",
    "ReferencedImageSequence",
)

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stack:
    """Where the slices of a derived series lie, in LPS mm as in DICOM.

    Attributes
    ----------
    row, column : ndarray, shape (3,)
        Unit directions in which x and y grow.
    origins : ndarray, shape (slices, 3)
        Centre of each slice's first pixel; slices follow their normal.
    spacing : tuple of float
        Along (x, y, z).
    backwards : bool
        Whether the volume's slices run against the normal, so that the last is written first.
    """

    row: Numbers
    column: Numbers
    origins: Numbers
    spacing: tuple[float, float, float]
    backwards: bool

    @property
    def normal(self) -> Numbers:
        """Row direction x column direction, shape (3,)."""
        return np.cross(self.row, self.column)


def stack_of(volume: Volume) -> Stack:
    """Find where a volume's slices lie.

    Raises
    ------
    GeometryError
        When its axes are not perpendicular: DICOM has no place for sheared slices.
    """
    lps = LPS_TO_RAS @ volume.affine
    unit = lps[:3, :3] / np.linalg.norm(lps[:3, :3], axis=0)
    if np.abs(unit.T @ unit - np.eye(3)).max() > COSINE_TOLERANCE:
        raise GeometryError(
            "The volume's axes are not perpendicular, and a DICOM series cannot lean. Write NIfTI, or resample it "
            "first."
        )
    origins = lps[:3, 3] + np.arange(volume.shape[0])[:, None] * lps[:3, 2]
    backwards = bool(np.linalg.det(unit) < 0)
    return Stack(unit[:, 0], unit[:, 1], origins[::-1] if backwards else origins, volume.spacing, backwards)


def slice_on_source(
    header: Dataset, plane: NDArray[np.float32], values: Quantisation, derivation: Derivation, place: tuple[int, int]
) -> Dataset:
    """Make a derived slice on the pixels of its source.

    Parameters
    ----------
    header : Dataset
        Copy of the source's (`medinr.io.dicom.derived.header.copied`), which becomes that of the slice.
    plane : ndarray, shape (y, x)
    values : Quantisation
    derivation : Derivation
    place : tuple of int
        The slice's number from 1, and how many there are.
    """
    header.SourceImageSequence = [reference_to(header, preserved=True)]
    return _complete(header, plane, values, derivation, place, resampled=False)


def slice_elsewhere(
    sources: Sequence[Dataset],
    nearest: tuple[Dataset, int | None],
    plane: NDArray[np.float32],
    values: Quantisation,
    derivation: Derivation,
    stack: Stack,
    place: tuple[int, int],
) -> Dataset:
    """Make a derived slice on another grid.

    Parameters
    ----------
    sources : sequence of Dataset
        Headers of what it was made from.
    nearest : Dataset and frame
        The header that is copied, and in an object of many frames the nearest one, from 0.
    plane : ndarray, shape (y, x)
    values : Quantisation
    derivation : Derivation
    stack : Stack
    place : tuple of int
        The slice's number from 1, and how many there are.
    """
    header, frame = nearest
    derived = copied(header) if frame is None else flattened(header, frame)
    for keyword in _OF_ONE_SLICE:
        if keyword in derived:
            del derived[keyword]
    origin = stack.origins[place[0] - 1]
    derived.ImagePositionPatient = _decimals(origin)
    derived.ImageOrientationPatient = _decimals([*stack.row, *stack.column])
    x, y, z = stack.spacing
    derived.PixelSpacing = _decimals([y, x])
    derived.SliceThickness = derived.SpacingBetweenSlices = _decimals([z])[0]
    derived.SliceLocation = _decimals([float(origin @ stack.normal)])[0]
    derived.SourceImageSequence = [reference_to(source, preserved=False) for source in sources]
    return _complete(derived, plane, values, derivation, place, resampled=True)


def _complete(
    derived: Dataset,
    plane: NDArray[np.float32],
    values: Quantisation,
    derivation: Derivation,
    place: tuple[int, int],
    resampled: bool,
) -> Dataset:
    number, count = place
    mark_derived(derived, derivation, number)
    derived.ImageType = derived_image_type(derived.get("ImageType"), secondary=True)
    derived.DerivationDescription = plain(derivation.settings, 1024)
    codes = derivation.codes(resampled)
    if codes:
        derived.DerivationCodeSequence = codes
    # PET counts its slices (PS3.3, C.8.9.4).
    if "ImageIndex" in derived:
        derived.ImageIndex, derived.NumberOfSlices = number, count
    if "ImagesInAcquisition" in derived:
        del derived["ImagesInAcquisition"]
    _set_rescaling(derived, values)
    set_window(derived, values)
    stored = values.stored(plane)
    set_pixels(derived, stored)
    set_padding(derived, stored, values)
    derived.file_meta = file_meta(derived)
    return derived


def _set_rescaling(derived: Dataset, values: Quantisation) -> None:
    kind = derived.get("RescaleType")
    # MR without a rescaling stays without one where the stored numbers are the values.
    rescaled = "RescaleSlope" in derived or "RescaleIntercept" in derived
    if values.identity and derived.get("Modality") == "MR" and not rescaled:
        return
    derived.RescaleSlope, derived.RescaleIntercept = f"{values.slope:.9g}", f"{values.intercept:.9g}"
    if derived.get("Modality") == "MR":
        derived.RealWorldValueMappingSequence = [real_world_mapping(values, "a.u.")]
    if not kind and derived.get("Modality") != "PT":
        derived.RescaleType = "HU" if derived.get("Modality") == "CT" else "US"


def _decimals(numbers: Sequence[float] | Numbers) -> list[str]:
    # Rounding leaves no direction cosines such as 1e-17, whose exponents some readers stumble over.
    return [format_number_as_ds(round(float(number), 10) + 0.0) for number in numbers]
