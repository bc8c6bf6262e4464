"""Siemens mosaics: all slices of a time point as tiles of one picture.

The private header (CSA) says how many slices there are and in which direction they are stacked; the position in the
standard header is that of the whole picture, as if it were one slice (nibabel's notes on mosaics say how these relate).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from medinr.errors import FileError, GeometryError

if TYPE_CHECKING:
    from medinr.io.dicom.frames import Frame

#: Private element that counts the slices where there is no CSA header.
_COUNT_TAG = (0x0019, 0x100A)

#: A stacking direction is parallel to the slice normal to within this cosine.
_PARALLEL = 0.999


@dataclass(frozen=True)
class Tile:
    """One slice of a mosaic: its number from 0, first row and column in the picture, and size in pixels."""

    number: int
    row: int
    column: int
    rows: int
    columns: int


def tiles_of(dataset: Dataset, whole: Frame) -> list[tuple[Tile, tuple[float, ...]]]:
    """Return the tiles of a mosaic and the LPS position (mm) of each tile's first pixel.

    Parameters
    ----------
    dataset : Dataset
        Header, with its private elements.
    whole : Frame
        The picture as a whole.

    Raises
    ------
    FileError
        When the header does not say how many slices there are, or the picture cannot be cut into them.
    GeometryError
        When the header does not say where they are.
    """
    facts = _private_facts(dataset)
    found = facts.get("NumberOfImagesInMosaic") or [dataset[_COUNT_TAG].value if _COUNT_TAG in dataset else 0]
    count = int(found[0])
    if count < 1:
        raise FileError(
            f"{whole.name}: a Siemens mosaic without NumberOfImagesInMosaic in its private header (0029,1010), which "
            "was perhaps removed. Convert the original with dcm2niix, or export single slices."
        )
    side = math.ceil(math.sqrt(count))
    if whole.rows % side or whole.columns % side:
        raise FileError(
            f"{whole.name}: a mosaic of {count} slices has {side} x {side} tiles, which do not divide "
            f"{whole.columns} x {whole.rows} pixels. Export single slices."
        )
    rows, columns = whole.rows // side, whole.columns // side
    cosines = np.array(whole.need(whole.orientation, "ImageOrientationPatient (0020,0037)")).reshape(2, 3)
    row_spacing, column_spacing = whole.need(whole.pixel_spacing, "PixelSpacing (0028,0030)")
    corner = np.array(whole.need(whole.position, "ImagePositionPatient (0020,0032)"))
    first = corner + cosines[0] * column_spacing * (whole.columns - columns) / 2
    first = first + cosines[1] * row_spacing * (whole.rows - rows) / 2
    step = _direction(facts, cosines, whole) * _distance(whole)
    return [
        (
            Tile(number, number // side * rows, number % side * columns, rows, columns),
            tuple(float(value) for value in first + number * step),
        )
        for number in range(count)
    ]


def slice_times(dataset: Dataset) -> tuple[float, ...]:
    """Return when each slice of a mosaic was acquired, in s; empty where the header does not say."""
    return tuple(float(time) / 1000 for time in _private_facts(dataset).get("MosaicRefAcqTimes", []))


def _private_facts(dataset: Dataset) -> dict[str, list[Any]]:
    with warnings.catch_warnings():
        # nibabel warns that its DICOM readers are experimental; only its parser of CSA headers is used.
        warnings.simplefilter("ignore")
        from nibabel.nicom.csareader import get_csa_header

        header = get_csa_header(dataset, "image")
    return {} if header is None else {name: list(tag["items"]) for name, tag in header["tags"].items()}


def _direction(facts: dict[str, list[Any]], cosines: Any, whole: Frame) -> Any:
    normal = np.cross(cosines[0], cosines[1])
    stated = facts.get("SliceNormalVector") or []
    if len(stated) != 3:
        raise GeometryError(
            f"{whole.name}: a mosaic without SliceNormalVector in its private header, so the order of its slices is "
            "unknown. Convert the original with dcm2niix, or export single slices."
        )
    along = float(np.array(stated, dtype=float) @ normal)
    if abs(along) < _PARALLEL:
        raise GeometryError(f"{whole.name}: SliceNormalVector {stated} is not the normal of the slices. Is it damaged?")
    # The cosines have more digits than the private vector.
    return normal * np.sign(along)


def _distance(whole: Frame) -> float:
    distance = whole.slice_gap or whole.thickness
    if not distance:
        raise GeometryError(f"{whole.name}: a mosaic needs SpacingBetweenSlices (0018,0088), which is missing.")
    return abs(distance)
