"""Headers of DICOM files: read tolerantly, and reduced to what reading a scan needs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medinr.errors import FileError
from medinr.io.dicom.deflated import ends_header, is_deflated, read_deflated
from medinr.io.dicom.kinds import class_name, no_scan
from medinr.io.dicom.lenient import leniently
from medinr.io.dicom.privacy import scrubbed

#: Elements larger than this are read only when they are asked for: a header can hold a film.
_DEFER_BYTES = 2**20

#: Tag of whole-number pixels (7FE0,0010) in little endian; those of floating point have others.
_PIXEL_DATA = b"\xe0\x7f\x10\x00"

#: Bytes of a pixel element before its values, by transfer syntax that stores them as they are in memory.
_ELEMENT_BYTES = {ExplicitVRLittleEndian: 12, ImplicitVRLittleEndian: 8}


#: Descriptions without identifying words, by patient, series and text: finding the words takes milliseconds.
_scrubbed: dict[tuple[str, str, str], str] = {}
_MOST_DESCRIPTIONS = 4096


@dataclass(frozen=True)
class Stored:
    """How a file stores its pixels.

    Attributes
    ----------
    syntax : UID
        Transfer syntax.
    bits_allocated, bits_stored : int
    signed : bool
    samples : int
        Values per pixel; more than one are colours.
    photometric : str
    padding : tuple of int
        Values that mark pixels outside the field of view, as the header has them (their sign may be wrong).
    padding_limit : int or None
        Other end of a range of such values.
    offset : int or None
        Where the first pixel is in the file, if they are stored as they are in memory (little endian, integer).
    table : bool
        Real values come from a table (ModalityLUTSequence).
    """

    syntax: UID
    bits_allocated: int
    bits_stored: int
    signed: bool
    samples: int
    photometric: str
    padding: tuple[int, ...]
    padding_limit: int | None
    offset: int | None
    table: bool


@dataclass(frozen=True)
class Header:
    """What the frames of one file share.

    Attributes
    ----------
    path : Path
    patient : str
        Hash that tells patients apart within one run; never written or shown.
    series, instance, frame_of_reference : str
        UIDs.
    modality, description, date, contrast_agent : str
        Of the series; the description has no identifying words. The date is ``YYYY-MM-DD``.
    number : int or None
        SeriesNumber, by which scanners count.
    image_type : tuple of str
    rows, columns, frames : int
    stored : Stored
    """

    path: Path
    patient: str = field(repr=False)
    series: str = field(repr=False)
    instance: str = field(repr=False)
    frame_of_reference: str = field(repr=False)
    sop_class: str
    modality: str
    description: str
    date: str
    number: int | None
    contrast_agent: bool
    image_type: tuple[str, ...]
    rows: int
    columns: int
    frames: int
    stored: Stored


def read_header(path: Path, pixels: bool = False) -> Dataset | None:
    """Read one file; None when it is not DICOM.

    Raises
    ------
    FileError
        When it is DICOM but its header is cut short, or it cannot be read.
    """
    with leniently(path):
        dataset = read_deflated(path, pixels) if is_deflated(path) else _read(path, pixels)
        return dataset if class_name(dataset) or "Modality" in dataset or "Rows" in dataset else None


def _read(path: Path, pixels: bool) -> Dataset:
    if pixels:
        return pydicom.dcmread(path, force=True)
    with path.open("rb") as file:
        dataset: Dataset = read_partial(file, stop_when=ends_header, force=True, defer_size=_DEFER_BYTES)
        # Where the pixel element starts, so that the file need not be parsed again to read them.
        start = file.tell()
        dataset.pixel_element_offset = start if file.read(len(_PIXEL_DATA)) == _PIXEL_DATA else None
    return dataset


def header_of(dataset: Dataset, path: Path) -> Header | str:
    """Reduce a header, or return what the object is when it is no scan.

    To be called within `medinr.io.dicom.lenient.leniently`.

    Raises
    ------
    FileError
        When the header ends before the size of its pictures.
    """
    if kind := no_scan(dataset):
        return kind
    if "Rows" not in dataset or "Columns" not in dataset:
        if class_name(dataset).endswith("Image Storage"):
            raise FileError(f"{path}: the header ends before Rows (0028,0010); it was cut. Copy it again.")
        return "a DICOM object without a picture"
    patient = _patient(dataset)
    return Header(
        path=path,
        patient=patient,
        series=str(dataset.get("SeriesInstanceUID") or ""),
        instance=str(dataset.get("SOPInstanceUID") or ""),
        frame_of_reference=str(dataset.get("FrameOfReferenceUID") or ""),
        sop_class=class_name(dataset),
        modality=str(dataset.get("Modality") or "OT"),
        description=_description(dataset, patient),
        date=_date(dataset),
        number=whole_number(dataset.get("SeriesNumber")),
        contrast_agent=bool(str(dataset.get("ContrastBolusAgent") or "").strip()),
        image_type=words(dataset.get("ImageType")),
        rows=int(dataset.Rows or 0),
        columns=int(dataset.Columns or 0),
        frames=int(dataset.get("NumberOfFrames") or 1),
        stored=_stored(dataset),
    )


def words(value: Any) -> tuple[str, ...]:
    """Return a value of one or several words as a tuple of them."""
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)


def whole_number(value: Any) -> int | None:
    """Return a whole number, or None where there is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def whole_numbers(value: Any) -> tuple[int, ...]:
    """Return the whole numbers of a value that should be one and may be several, or none."""
    parts = value if isinstance(value, (list, tuple)) or hasattr(value, "__iter__") else [value]
    numbers = (whole_number(part) for part in ([parts] if isinstance(parts, (str, bytes)) else parts))
    return tuple(number for number in numbers if number is not None)


def _stored(dataset: Dataset) -> Stored:
    syntax = UID(str(getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID") or ImplicitVRLittleEndian))
    allocated = int(dataset.get("BitsAllocated") or 16)
    element = _ELEMENT_BYTES.get(syntax) if syntax.is_transfer_syntax else None
    start = getattr(dataset, "pixel_element_offset", None)
    # Without a meta header the encoding is guessed: such files are read the slow way.
    known = "TransferSyntaxUID" in getattr(dataset, "file_meta", Dataset())
    plain = known and element is not None and start is not None and allocated in (8, 16, 32)
    limits = whole_numbers(dataset.get("PixelPaddingRangeLimit"))
    return Stored(
        syntax=syntax,
        bits_allocated=allocated,
        bits_stored=int(dataset.get("BitsStored") or allocated),
        signed=bool(int(dataset.get("PixelRepresentation") or 0)),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        photometric=str(dataset.get("PhotometricInterpretation") or ""),
        padding=whole_numbers(dataset.get("PixelPaddingValue")),
        padding_limit=limits[0] if limits else None,
        offset=start + element if plain and start is not None and element is not None else None,
        table=bool(dataset.get("ModalityLUTSequence")),
    )


def _description(dataset: Dataset, patient: str) -> str:
    text = str(dataset.get("SeriesDescription") or dataset.get("ProtocolName") or "")
    key = (patient, str(dataset.get("SeriesInstanceUID") or ""), text)
    if key not in _scrubbed:
        if len(_scrubbed) >= _MOST_DESCRIPTIONS:
            _scrubbed.clear()
        _scrubbed[key] = scrubbed(text, dataset)
    return _scrubbed[key]


def _patient(dataset: Dataset) -> str:
    name = "".join(str(dataset.get("PatientName") or "").replace("^", " ").upper().split())
    issuer, number = dataset.get("IssuerOfPatientID") or "", dataset.get("PatientID") or ""
    return hashlib.sha256(f"{issuer}|{number}|{name}|{dataset.get('PatientBirthDate') or ''}".encode()).hexdigest()


def _date(dataset: Dataset) -> str:
    for keyword in ("SeriesDate", "AcquisitionDate", "StudyDate", "ContentDate"):
        text = str(dataset.get(keyword) or "").replace(".", "")
        if len(text) == 8 and text.isdigit():
            return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return ""
