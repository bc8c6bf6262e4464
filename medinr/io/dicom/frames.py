"""DICOM headers to frames: one record per picture, whether it has a file of its own or shares one.

Classic CT and MR hold one slice a file; enhanced objects hold many, with the geometry in functional groups
(PS3.3, C.7.6.16). All other modules use frames only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import UID

from medinr.errors import FileError, GeometryError
from medinr.io.dicom.lenient import leniently

#: Tags that distinguish pictures of one series at one position: name for users, keyword.
VARIANTS = (
    ("image type", "ImageType"),
    ("image type", "FrameType"),
    ("echo time", "EchoTime"),
    ("echo time", "EffectiveEchoTime"),
    ("b-value", "DiffusionBValue"),
    ("inversion time", "InversionTime"),
    ("time point", "TemporalPositionIdentifier"),
    ("time point", "TemporalPositionIndex"),
    ("trigger time", "TriggerTime"),
    ("trigger delay", "NominalCardiacTriggerDelayTime"),
    ("acquisition", "AcquisitionNumber"),
)

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Frame:
    """One picture: where it is (LPS mm, as in DICOM) and how to read its values.

    A tag that is absent is None; where it is required, `need` raises an error that names the file and the tag.
    `film` above 1 is the number of pictures in a file that does not give their positions.
    """

    path: Path
    number: int | None
    series: str
    modality: str
    description: str
    frame_of_reference: str
    rows: int
    columns: int
    samples: int
    position: Numbers | None
    orientation: Numbers | None
    pixel_spacing: Numbers | None
    thickness: float | None
    slice_gap: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    mosaic: bool
    film: int
    variants: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """File name, with the frame's number (from 1) where a file holds several."""
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


def read_header(path: Path, pixels: bool = False) -> Dataset | None:
    """Read one file; None when it is not DICOM.

    Raises
    ------
    FileError
        When it is DICOM but its header is cut short.
    """
    with leniently(path):
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
        return dataset if _kind(dataset) or "Modality" in dataset else None


def frames_of(dataset: Dataset, path: Path) -> list[Frame]:
    """List the pictures that a file holds; none for a report, a plan or a structure set.

    Raises
    ------
    FileError
        When the header ends early or is damaged.
    """
    with leniently(path):
        if "Rows" not in dataset or "Columns" not in dataset:
            if _kind(dataset).endswith("Image Storage"):
                raise FileError(f"{path}: the header ends before Rows (0028,0010); it was cut. Copy it again.")
            return []
        if "PerFrameFunctionalGroupsSequence" not in dataset:
            return [_frame(dataset, [dataset], path, None)]
        shared = _groups((dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0])
        return [
            _frame(dataset, [*_groups(item), *shared, dataset], path, number)
            for number, item in enumerate(dataset.PerFrameFunctionalGroupsSequence)
        ]


def _kind(dataset: Dataset) -> str:
    # The meta header has it too, and is intact where the data set is truncated.
    meta = getattr(dataset, "file_meta", None) or Dataset()
    uid = dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
    return UID(uid).name if uid else ""


def _groups(item: Dataset) -> list[Dataset]:
    # A functional group is a sequence of one item, such as PlanePositionSequence; private ones do not count.
    return [
        element.value[0]
        for element in item
        if isinstance(element.value, Sequence) and len(element.value) and not element.tag.is_private
    ]


def _frame(dataset: Dataset, places: list[Dataset], path: Path, number: int | None) -> Frame:
    def find(keyword: str) -> Any:
        return next((place[keyword].value for place in places if keyword in place), None)

    image_type = _words(find("ImageType"))
    variants = ((label, _words(find(keyword))) for label, keyword in VARIANTS)
    return Frame(
        path=path,
        number=number,
        series=str(dataset.get("SeriesInstanceUID") or ""),
        modality=str(dataset.get("Modality") or "OT"),
        description=str(dataset.get("SeriesDescription") or ""),
        frame_of_reference=str(dataset.get("FrameOfReferenceUID") or ""),
        rows=int(dataset.Rows or 0),
        columns=int(dataset.Columns or 0),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        position=_numbers(find("ImagePositionPatient"), 3),
        orientation=_numbers(find("ImageOrientationPatient"), 6),
        pixel_spacing=_numbers(find("PixelSpacing"), 2),
        thickness=_number(find("SliceThickness")),
        slice_gap=_number(find("SpacingBetweenSlices")),
        slope=_number(find("RescaleSlope")),
        intercept=_number(find("RescaleIntercept")),
        rescale_type=str(find("RescaleType") or ""),
        film=int(dataset.get("NumberOfFrames") or 1) if number is None else 0,
        mosaic="MOSAIC" in image_type.split("/"),
        variants=tuple((label, value) for label, value in variants if value),
    )


def _words(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, (MultiValue, list)) else str(value or "")


def _number(value: Any) -> float | None:
    numbers = _numbers([value], 1)
    return numbers[0] if numbers else None


def _numbers(value: Any, count: int) -> Numbers | None:
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None
