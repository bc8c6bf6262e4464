"""DICOM headers to frames: one record per picture, whether it has a file of its own or shares one.

Classic CT and MR hold one slice a file; enhanced objects hold many, with the geometry in functional groups
(PS3.3, C.7.6.16); a Siemens mosaic holds many as tiles of one picture. All other modules use frames only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from medinr.errors import FileError, GeometryError
from medinr.io.dicom.headers import Header, header_of, words
from medinr.io.dicom.lenient import leniently
from medinr.io.dicom.mosaic import Tile, tiles_of

#: Tags that distinguish pictures of one series at one position: name for users, keywords.
LABELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("image type", ("ImageType",)),
    ("frame type", ("FrameType",)),
    ("component", ("ComplexImageComponent",)),
    ("echo time", ("EchoTime", "EffectiveEchoTime")),
    ("echo", ("EchoNumbers",)),
    ("b-value", ("DiffusionBValue",)),
    ("direction", ("DiffusionGradientOrientation",)),
    ("inversion time", ("InversionTime",)),
    ("flip angle", ("FlipAngle",)),
    ("tube voltage", ("KVP",)),
    ("stack", ("StackID",)),
    ("time point", ("TemporalPositionIdentifier", "TemporalPositionIndex")),
    ("trigger time", ("TriggerTime", "NominalCardiacTriggerDelayTime")),
    ("acquisition", ("AcquisitionNumber", "AcquisitionUID")),
)

#: Tags that tell the order of pictures at one position where nothing above distinguishes them: earliest first.
TIMES = (
    ("acquisition time", ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime")),
    ("content time", ("ContentTime",)),
    ("instance number", ("InstanceNumber",)),
)

#: Private elements that hold the b-value (s/mm^2): Siemens, GE, Philips.
_PRIVATE_B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C),
    (0x0043, "GEMS_PARM_01", 0x39),
    (0x2001, "Philips Imaging DD 001", 0x03),
)

#: GE adds this to b-values to mark what they are.
_GE_B_VALUE_OFFSET = 1_000_000_000

__all__ = ["LABELS", "TIMES", "Frame", "frames_of", "groups_of", "number_of", "value_in"]

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Frame:
    """One picture: where it is (LPS mm, as in DICOM) and how to read its values.

    A tag that is absent is None; where it is required, `need` raises an error that names the file and the tag.

    Attributes
    ----------
    header : Header
        Of its file.
    number : int or None
        Of the frame in its file, from 0; None where the file holds one picture.
    rows, columns : int
    position, orientation, pixel_spacing : tuple of float or None
        ImagePositionPatient, ImageOrientationPatient, PixelSpacing.
    thickness, slice_gap : float or None
        SliceThickness and SpacingBetweenSlices in mm.
    slope, intercept : float or None
        Of the modality rescale.
    rescale_type : str
    tile : Tile or None
        Its place in a mosaic.
    labels, times : tuple of (str, str)
        What distinguishes it from other pictures at its position.
    """

    header: Header
    number: int | None
    rows: int
    columns: int
    position: Numbers | None
    orientation: Numbers | None
    pixel_spacing: Numbers | None
    thickness: float | None
    slice_gap: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    tile: Tile | None
    labels: tuple[tuple[str, str], ...]
    times: tuple[tuple[str, str], ...]

    @property
    def path(self) -> Path:
        """The file."""
        return self.header.path

    @property
    def modality(self) -> str:
        """Modality (0008,0060)."""
        return self.header.modality

    @property
    def frame_of_reference(self) -> str:
        """FrameOfReferenceUID (0020,0052)."""
        return self.header.frame_of_reference

    @property
    def name(self) -> str:
        """File name, with the number of the frame or tile (from 1) where a file holds several."""
        if self.tile is not None:
            return f"{self.path.name}, tile {self.tile.number + 1}"
        return self.path.name if self.number is None else f"{self.path.name}, frame {self.number + 1}"

    def need(self, value: Numbers | None, tag: str) -> Numbers:
        """Return `value`, or raise an error with the missing tag and the file.

        Raises
        ------
        GeometryError
        """
        if value is None:
            raise GeometryError(
                f"{self.name}: {tag} is missing or malformed, so the slice has no place in the patient. "
                "Export the series again with its geometry."
            )
        return value


def frames_of(dataset: Dataset, path: Path) -> list[Frame] | str:
    """List the pictures that a file holds, or say what it is when it is no scan.

    Raises
    ------
    FileError
        When the header ends early, is damaged, or counts other frames than it describes.
    """
    with leniently(path):
        header = header_of(dataset, path)
        if isinstance(header, str):
            return header
        if "PerFrameFunctionalGroupsSequence" not in dataset:
            if header.frames > 1:
                return f"a film of {header.frames} frames without functional groups (5200,9230) that would place them"
            frame = _frame(dataset, [dataset], header, None)
            return [frame] if "MOSAIC" not in header.image_type else _split_mosaic(frame, dataset)
        groups = dataset.PerFrameFunctionalGroupsSequence
        if len(groups) != header.frames:
            raise FileError(
                f"{path.name}: NumberOfFrames (0028,0008) is {header.frames}, but functional groups (5200,9230) "
                f"describe {len(groups)}. Export the series again."
            )
        shared = _groups((dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0])
        return [
            _frame(dataset, [*_groups(item), *shared, dataset], header, number) for number, item in enumerate(groups)
        ]


def groups_of(dataset: Dataset, number: int | None) -> list[Dataset]:
    """List the data sets in which a frame's tags may be, the most specific first."""
    if number is None:
        return [dataset]
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    return [*_groups(dataset.PerFrameFunctionalGroupsSequence[number]), *_groups(shared), dataset]


def value_in(places: list[Dataset], *keywords: str) -> Any:
    """Return the value of the first keyword that is there, in the first data set that has it; None without one."""
    for keyword in keywords:
        tag = _tag(keyword)
        for place in places:
            # Asking the keys is ten times faster than asking the data set, and most tags are absent.
            if tag in place.keys():  # noqa: SIM118
                return place[tag].value
    return None


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def number_of(value: Any) -> float | None:
    """Return a finite number, or None where there is none."""
    numbers = _numbers([value], 1)
    return numbers[0] if numbers else None


def _groups(item: Dataset) -> list[Dataset]:
    # A functional group is a sequence of one item, such as PlanePositionSequence; private ones do not count. Directions
    # of diffusion are one level below.
    found: list[Dataset] = []
    for element in item:
        if isinstance(element.value, Sequence) and len(element.value) and not element.tag.is_private:
            found.append(element.value[0])
            below = element.value[0].get("DiffusionGradientDirectionSequence")
            found.extend(below[:1] if below else [])
    return found


def _frame(dataset: Dataset, places: list[Dataset], header: Header, number: int | None) -> Frame:
    def find(*keywords: str) -> Any:
        return value_in(places, *keywords)

    labels = [(label, _text(find(*keywords))) for label, keywords in LABELS]
    if header.modality == "MR" and number is None and not dict(labels)["b-value"]:
        labels.append(("b-value", _private_b_value(dataset)))
    times = [(label, _text(find(*keywords))) for label, keywords in TIMES]
    return Frame(
        header=header,
        number=number,
        rows=header.rows,
        columns=header.columns,
        position=_numbers(find("ImagePositionPatient"), 3),
        orientation=_numbers(find("ImageOrientationPatient"), 6),
        pixel_spacing=_numbers(find("PixelSpacing"), 2),
        thickness=number_of(find("SliceThickness")),
        slice_gap=number_of(find("SpacingBetweenSlices")),
        slope=number_of(find("RescaleSlope")),
        intercept=number_of(find("RescaleIntercept")),
        rescale_type=str(find("RescaleType") or ""),
        tile=None,
        labels=tuple((label, value) for label, value in labels if value),
        times=tuple((label, value) for label, value in times if value),
    )


def _split_mosaic(whole: Frame, dataset: Dataset) -> list[Frame]:
    tiles = tiles_of(dataset, whole)
    return [
        replace(whole, rows=tile.rows, columns=tile.columns, position=position, tile=tile) for tile, position in tiles
    ]


def _private_b_value(dataset: Dataset) -> str:
    for group, creator, element in _PRIVATE_B_VALUES:
        try:
            value = dataset.private_block(group, creator)[element].value
        except (KeyError, AttributeError):
            continue
        first = value[0] if isinstance(value, (list, tuple, Sequence)) or hasattr(value, "append") else value
        number = number_of(first.decode("ascii", "replace") if isinstance(first, bytes) else first)
        if number is not None:
            return f"{number % _GE_B_VALUE_OFFSET:g}"
    return ""


def _text(value: Any) -> str:
    if isinstance(value, (str, int, float)) or value is None:
        return "" if value is None else str(value)
    return "/".join(words(value)) if isinstance(value, Iterable) else str(value)


def _numbers(value: Any, count: int) -> Numbers | None:
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None
