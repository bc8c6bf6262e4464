"""Small synthetic DICOM inputs that fuzzing starts from: one of each way in which scans are stored.

All bytes are the same in every run, so that an input is reproduced from its seed and number.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

#: Written into every file; no message may repeat them.
IDENTIFIERS = {
    "PatientName": "Musterfrau^Erika",
    "PatientID": "HOSP-4711",
    "PatientBirthDate": "19640812",
    "AccessionNumber": "ACC-0815",
    "InstitutionName": "Klinik Beispiel",
}

Files = dict[str, bytes]

_SHAPE = (4, 12, 16)


def dicom_originals() -> dict[str, Files]:
    """Files of every original by its kind: relative path -> bytes."""
    ct, mr = ("CT", CTImageStorage), ("MR", MRImageStorage)
    deflated = _series(*ct, DeflatedExplicitVRLittleEndian)
    return {
        "classic CT": _series(*ct, ExplicitVRLittleEndian),
        "classic MR, implicit": _series(*mr, ImplicitVRLittleEndian),
        "classic MR, big-endian": _series(*mr, ExplicitVRBigEndian),
        "classic CT, RLE": _series(*ct, RLELossless),
        "classic CT, JPEG 2000": _series(*ct, JPEG2000Lossless),
        "classic CT, deflated": deflated,
        "one deflated file": {"0.dcm": deflated["0.dcm"]},
        "two echoes": _series(*mr, ExplicitVRLittleEndian) | _series(*mr, ExplicitVRLittleEndian, echo=80, prefix="b"),
        "enhanced MR": {"enhanced.dcm": _enhanced()},
        "mosaic": {"mosaic.dcm": _mosaic()},
        "zip of a series": {"series.zip": _zip(_series(*ct, ExplicitVRLittleEndian))},
    }


def reference_of(kind: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Values (z, y, x) and RAS affine of an original of one series, as they were put in."""
    modality = "CT" if "CT" in kind or "zip" in kind else "MR"
    values = _values(modality).astype(np.float32)
    corner = [-7.5, -6.25, 0.0]
    if modality == "CT":
        values -= 1024
    if kind == "enhanced MR":
        values = 2 * values - 10
    if "JPEG 2000" in kind:
        values = values.repeat(4, 1).repeat(4, 2)
    if kind == "mosaic":
        # The tags place the corner of the whole mosaic, of two by two tiles.
        corner = [-15 + 0.9 * 8, -12 + 0.8 * 6, 0.0]
    lps = np.diag([0.9, 0.8, 3.0, 1.0])
    lps[:3, 3] = corner
    return values, np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def _uid(*words: object) -> UID:
    return generate_uid(entropy_srcs=["fuzz", *map(str, words)])


def _values(modality: str) -> NDArray[np.int16]:
    noise = np.random.default_rng(0).integers(0, 60, _SHAPE)
    y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in _SHAPE[1:]), indexing="ij")
    body = np.where(x**2 + y**2 < 0.8, 1024 if modality == "CT" else 400, 24)
    return (body + noise).astype(np.int16)


def _dataset(modality: str, sop_class: UID, syntax: UID, *words: object) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = _uid(modality, syntax, *words)
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    for keyword, value in IDENTIFIERS.items():
        setattr(dataset, keyword, value)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, _uid(keyword, modality, syntax))
    dataset.StudyDate, dataset.SeriesNumber, dataset.SeriesDescription = "20200102", 3, "fuzz"
    dataset.Modality, dataset.ImageType = modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Manufacturer, dataset.PatientPosition = "Synthetic", "HFS"
    return dataset


def _set_pixels(dataset: Dataset, values: NDArray[np.int16], order: str = "<") -> None:
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.PixelData = values.astype(f"{order}i2").tobytes()
    dataset["PixelData"].VR = "OW"


def _bytes(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _series(modality: str, sop_class: UID, syntax: UID, *, echo: int = 20, prefix: str = "") -> Files:
    compressed = syntax.is_encapsulated
    files = {}
    for number, values in enumerate(_values(modality)):
        written = ExplicitVRLittleEndian if compressed else syntax
        if syntax == JPEG2000Lossless:
            # OpenJPEG halves the image five times.
            values = values.repeat(4, 0).repeat(4, 1)
        dataset = _dataset(modality, sop_class, written, number, prefix)
        dataset.InstanceNumber, dataset.AcquisitionNumber = number + 1, 1
        dataset.PixelSpacing, dataset.SliceThickness = ["0.8", "0.9"], "3"
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [-7.5, -6.25, 3.0 * number]
        if modality == "CT":
            dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
            dataset.PixelPaddingValue = 0
        else:
            dataset.EchoTime, dataset.RepetitionTime = echo, 500
        _set_pixels(dataset, values, ">" if syntax == ExplicitVRBigEndian else "<")
        if compressed:
            dataset.compress(syntax, generate_instance_uid=False)
        files[f"{prefix}{number}.dcm"] = _bytes(dataset)
    return files


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _enhanced() -> bytes:
    dataset = _dataset("MR", EnhancedMRImageStorage, ExplicitVRLittleEndian, "enhanced")
    dataset.NumberOfFrames = _SHAPE[0]
    dataset.SharedFunctionalGroupsSequence = [
        _item(
            PixelMeasuresSequence=[_item(PixelSpacing=["0.8", "0.9"], SliceThickness="3")],
            PlaneOrientationSequence=[_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[_item(ImagePositionPatient=[-7.5, -6.25, 3.0 * number])],
            PixelValueTransformationSequence=[_item(RescaleSlope=2, RescaleIntercept=-10, RescaleType="US")],
            FrameContentSequence=[_item(DimensionIndexValues=[1, number + 1], StackID="1")],
        )
        for number in range(_SHAPE[0])
    ]
    _set_pixels(dataset, _values("MR"))
    return _bytes(dataset)


def _mosaic() -> bytes:
    dataset = _dataset("MR", MRImageStorage, ExplicitVRLittleEndian, "mosaic")
    dataset.Manufacturer, dataset.ImageType = "SIEMENS", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    dataset.PixelSpacing, dataset.SliceThickness, dataset.SpacingBetweenSlices = ["0.8", "0.9"], "3", "3"
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-15, -12, 0]
    dataset.AcquisitionMatrix = [16, 0, 0, 12]
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", _csa({"NumberOfImagesInMosaic": ["4"], "SliceNormalVector": ["0", "0", "1"]}))
    protocol = "### ASCCONV BEGIN ###\nsSliceArray.lSize = 4\n### ASCCONV END ###"
    block.add_new(0x20, "OB", _csa({"MrPhoenixProtocol": [protocol]}))
    a, b, c, d = _values("MR")
    _set_pixels(dataset, np.block([[a, b], [c, d]]).astype(np.int16))
    return _bytes(dataset)


def _csa(tags: dict[str, list[str]]) -> bytes:
    """Siemens' private header, second format: names with lists of strings."""
    found = b"SV10\4\3\2\1" + struct.pack("<2I", len(tags), 77)
    for name, values in tags.items():
        found += struct.pack("<64si4s3i", name.encode(), len(values), b"FD", 4, len(values), 77)
        for value in values:
            text = value.encode() + b"\0"
            found += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + b"\0" * (-len(text) % 4)
    return found


def _zip(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(f"study/{name}"), data)
        archive.writestr(zipfile.ZipInfo("study/README.txt"), b"synthetic")
    return buffer.getvalue()


def rewritten(data: bytes, change: Callable[[Dataset], None]) -> bytes:
    """Return a file with its tags changed, values unchecked; as it was where it cannot be parsed or written.

    Parameters
    ----------
    data : bytes
    change : callable
        Called with the data set; what it raises leaves the file as it was.
    """
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(io.BytesIO(data), force=True)
            change(dataset)
            buffer = io.BytesIO()
            dataset.save_as(buffer, enforce_file_format=False)
            return buffer.getvalue()
        except Exception:
            return data
