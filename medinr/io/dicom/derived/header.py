"""The header of a derived object: what its source's header gives, what no longer holds, and what is added.

Patient, study and frame of reference stay. Series and instance are new, and say how and from what they were derived
(PS3.3, C.7.6.1.1.3, C.7.6.1.1.4 and C.12.1.1.5).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    generate_uid,
)

from medinr.errors import ConfigError
from medinr.io.dicom.derived.quantisation import Quantisation
from medinr.io.dicom.headers import whole_number
from medinr.io.padding import HU_FLOOR

#: Added to the source's SeriesNumber, so that viewers list the derived series near, but after, its source.
SERIES_NUMBER_OFFSET = 9000

#: Of medinr as a writer of DICOM (PS3.7, D.3.3.2).
IMPLEMENTATION_CLASS_UID = UID("2.25." + str(uuid.uuid5(uuid.NAMESPACE_URL, "https://medinr/dicom").int))

MANUFACTURER = "medinr"

Code = tuple[str, str]

#: Codes of the scheme DCM that say how the pixels were derived (PS3.16, CID 7203 and CID 10033).
DERIVATIONS: dict[str, tuple[Code, ...]] = {
    "": (),
    "reconstruction": (("113963", "Iterative Reconstruction"),),
    "denoising": (("113087", "Smoothing"),),
    "resolution": (("113085", "Spatial resampling"),),
}

#: Added where the result lies on other voxels than its source.
_RESAMPLED: Code = ("113085", "Spatial resampling")

_SOURCE_IMAGE: Code = ("121322", "Source image for image processing operation")
_PROCESSING_EQUIPMENT: Code = ("109102", "Processing Equipment")

#: Tags that describe the source's stored numbers, its other pictures or its signature, not the new pixels.
_DROPPED = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "RealWorldValueMappingSequence",
    "VOILUTSequence",
    "PresentationLUTSequence",
    "IconImageSequence",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "EncryptedAttributesSequence",
    "OriginalAttributesSequence",
    "PixelDataProviderURL",
    "DataSetTrailingPadding",
    "SourceImageSequence",
    "DerivationDescription",
    "DerivationCodeSequence",
    "InstanceCreatorUID",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)

#: Bytes in one value of a byte string whose order depends on the transfer syntax.
_WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}

_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000)

#: A window shows the new values when it is not wider or narrower than their range by more than this factor.
_WINDOW_FACTOR = 20.0


@dataclass(frozen=True)
class Derivation:
    """What all instances of one derived series share.

    Attributes
    ----------
    description : str
        SeriesDescription.
    settings : str
        How the pixels were made.
    kind : str
        Key of `DERIVATIONS`.
    dated : bool
        Whether the date of writing is kept; not in de-identified series.
    series_uid : str
    made : datetime
    """

    description: str
    settings: str
    kind: str
    dated: bool = True
    series_uid: str = field(default_factory=generate_uid)
    made: datetime = field(default_factory=datetime.now)

    def __post_init__(self) -> None:
        if self.kind not in DERIVATIONS:
            known = ", ".join(filter(None, DERIVATIONS))
            raise ConfigError(f"Derivation {self.kind!r} is not known; there are {known}.")

    def codes(self, resampled: bool) -> list[Dataset]:
        """Items of DerivationCodeSequence."""
        codes = dict.fromkeys((*DERIVATIONS[self.kind], *((_RESAMPLED,) if resampled else ())))
        return [code_item(code) for code in codes]


def copied(source: Dataset) -> Dataset:
    """Copy a header so that it can be written in little endian; the source keeps its own values.

    Private tags, overlays, curves and what described the source's pixels are left out, as are elements whose bytes
    cannot be read. To be called within `medinr.io.dicom.lenient.leniently`.
    """
    little = source.original_encoding[1] is not False
    copy = _fresh(source, little)
    for keyword in _DROPPED:
        if keyword in copy:
            del copy[keyword]
    meta = getattr(source, "file_meta", None)
    syntax = meta.get("TransferSyntaxUID") if meta is not None else None
    if syntax in _LOSSY:
        # Once lossy, always lossy (PS3.3, C.7.6.1.1.5), also where the source forgot to say so.
        copy.LossyImageCompression = "01"
    return copy


def _fresh(source: Dataset, little: bool) -> Dataset:
    copy = Dataset()
    for tag in sorted(source.keys()):
        # Private; command and meta groups; group lengths; curves and overlays (groups 5000 and 6000 to 60FF).
        if tag.is_private or tag.group < 0x0008 or tag.element == 0 or tag.group >> 8 in (0x50, 0x60):
            continue
        try:
            element = source[tag]
        except Exception:
            # Bytes that do not form a value of their type; a derived object does without it.
            continue
        if element.VR == "SQ":
            copy.add(DataElement(tag, "SQ", [_fresh(item, little) for item in element.value]))
            continue
        value = element.value
        if element.VR == "UN" and not little:
            continue
        if not little and isinstance(value, bytes) and element.VR in _WORD_BYTES:
            value = _swapped(value, _WORD_BYTES[element.VR])
        elif element.VR == "UI" and isinstance(value, MultiValue):
            # De-identification replaces these in place.
            value = MultiValue(UID, list(value))
        copy.add(DataElement(tag, element.VR, value, already_converted=True))
    return copy


def _swapped(value: bytes, size: int) -> bytes:
    whole = len(value) - len(value) % size
    return np.frombuffer(value[:whole], dtype=f">u{size}").astype(f"<u{size}").tobytes()


def code_item(code: Code) -> Dataset:
    """Item of a code sequence, of the scheme DCM."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[0], "DCM", code[1]
    return item


def reference_to(source: Dataset, preserved: bool, frames: Sequence[int] = ()) -> Dataset:
    """Item of SourceImageSequence.

    Parameters
    ----------
    source : Dataset
    preserved : bool
        Whether every pixel lies where it does in the source.
    frames : sequence of int
        Frame numbers from 1, for objects of many frames.
    """
    item = Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    if frames:
        item.ReferencedFrameNumber = list(frames) if len(frames) > 1 else frames[0]
    item.PurposeOfReferenceCodeSequence = [code_item(_SOURCE_IMAGE)]
    item.SpatialLocationsPreserved = "YES" if preserved else "NO"
    return item


def mark_derived(dataset: Dataset, derivation: Derivation, number: int) -> None:
    """Make a copied header that of a new instance of a derived series; the references are set by the caller."""
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = derivation.series_uid
    # An IS holds 32 bits, and some series numbers leave no room above them.
    series_number = whole_number(dataset.get("SeriesNumber")) or 0
    dataset.SeriesNumber = series_number + SERIES_NUMBER_OFFSET if 0 <= series_number < 2**30 else SERIES_NUMBER_OFFSET
    dataset.InstanceNumber = number
    dataset.SeriesDescription = plain(derivation.description, 64)
    if derivation.dated:
        dataset.InstanceCreationDate = dataset.ContentDate = f"{derivation.made:%Y%m%d}"
        dataset.InstanceCreationTime = dataset.ContentTime = f"{derivation.made:%H%M%S}"
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [code_item(_PROCESSING_EQUIPMENT)]
    equipment.Manufacturer = equipment.ManufacturerModelName = MANUFACTURER
    equipment.SoftwareVersions = version()
    if derivation.dated:
        equipment.ContributionDateTime = f"{derivation.made:%Y%m%d%H%M%S}"
    dataset.ContributingEquipmentSequence = [*(dataset.get("ContributingEquipmentSequence") or []), equipment]


def file_meta(dataset: Dataset) -> FileMetaDataset:
    """Meta header of an object that medinr writes, in explicit VR little endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = f"MEDINR_{version()}"[:16]
    return meta


def derived_image_type(words: Any, secondary: bool) -> list[str]:
    """ImageType or FrameType of a derived image, from that of its source."""
    kept = [str(word) for word in ([words] if isinstance(words, str) else words or ())]
    kept = [word for word in kept if word != "MOSAIC"]
    second = "SECONDARY" if secondary else (kept[1:2] or ["PRIMARY"])[0]
    return ["DERIVED", second, *kept[2:]]


def set_window(place: Dataset, values: Quantisation) -> None:
    """Keep a header's windows where they show the new values; replace them by one over most of the range otherwise.

    Windows are in the unit of the values, after rescaling.
    """
    centres, widths = _numbers(place.get("WindowCenter")), _numbers(place.get("WindowWidth"))
    extent = values.high - values.low
    fits = (
        len(centres) == len(widths) > 0
        and widths[0] >= 1
        and extent / _WINDOW_FACTOR <= widths[0] <= extent * _WINDOW_FACTOR
        and centres[0] + widths[0] / 2 > values.low
        and centres[0] - widths[0] / 2 < values.high
    )
    if fits:
        return
    for keyword in ("WindowCenterWidthExplanation", "VOILUTFunction"):
        if keyword in place:
            del place[keyword]
    low, high = values.shown
    # A width below 1 is not allowed for the linear function (PS3.3, C.11.2.1.2).
    if high - low < 1:
        for keyword in ("WindowCenter", "WindowWidth"):
            if keyword in place:
                del place[keyword]
        return
    place.WindowCenter, place.WindowWidth = f"{(high + low) / 2:.6g}", f"{high - low:.6g}"


def set_pixels(dataset: Dataset, pixels: NDArray[Any]) -> None:
    """Set 16 bit pixels, shape (y, x) or (frames, y, x); low values are bright where they were in the source."""
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    if dataset.get("PhotometricInterpretation") != "MONOCHROME1":
        dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1 if pixels.dtype.kind == "i" else 0
    dataset.add(DataElement(0x7FE00010, "OW", pixels.astype(f"<{pixels.dtype.kind}2", copy=False).tobytes()))


def set_padding(dataset: Dataset, pixels: NDArray[Any], values: Quantisation) -> None:
    """Say which stored numbers are padding, where there is some."""
    padding = pixels[pixels < HU_FLOOR] if values.hounsfield else pixels[:0]
    if padding.size:
        # HU are stored as they are.
        dataset.PixelPaddingValue = int(padding.min())
        if padding.max() > padding.min():
            dataset.PixelPaddingRangeLimit = int(padding.max())


def plain(text: str, limit: int) -> str:
    """Text that every character set holds, cut at `limit` characters."""
    # A backslash separates values in DICOM, and the source's character set may hold ASCII only.
    return text.replace("\\", "/").encode("ascii", "replace").decode("ascii")[:limit]


@cache
def version() -> str:
    """Version of medinr."""
    try:
        return metadata.version("medinr")
    except metadata.PackageNotFoundError:
        return "0"


def _numbers(value: Any) -> list[float]:
    try:
        return [float(number) for number in (value if isinstance(value, (MultiValue, list)) else [value])]
    except (TypeError, ValueError):
        return []
