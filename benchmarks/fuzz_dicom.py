"""Damage to what DICOM files are made of: elements, lengths, values, frames, sequences, transfer syntaxes."""

from __future__ import annotations

import copy
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import pydicom
from numpy.random import Generator
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from benchmarks.fuzz_damage import Damage, Files, pick
from benchmarks.fuzz_dicom_originals import rewritten

#: What readers use: pixels, geometry, values, variants.
_KEYWORDS = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"),
    *("NumberOfFrames", "PlanarConfiguration", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("ImagePositionPatient", "ImageOrientationPatient", "GantryDetectorTilt", "RescaleSlope"),
    *("RescaleIntercept", "RescaleType", "PixelPaddingValue", "PixelPaddingRangeLimit", "WindowCenter"),
    *("WindowWidth", "SmallestImagePixelValue", "PhotometricInterpretation", "Modality", "ImageType"),
    *("InstanceNumber", "SeriesNumber", "EchoTime", "AcquisitionMatrix", "TemporalPositionIdentifier"),
    *("DiffusionBValue", "TriggerTime", "AcquisitionNumber", "ImagerPixelSpacing", "SOPClassUID"),
    *("SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SpecificCharacterSet"),
    "LossyImageCompression",
)

_EXTREME: tuple[object, ...] = (
    *(0, 1, -1, 2, 7, 15, 17, 255, 256, 4096, 32768, 63536, 65535, 65536, 2**31 - 1, -(2**31), 2**32 - 1, 10**15),
    *(0.0, -0.0, 1e-30, 1e30, -1e300, 0.1, "nan", "inf", "-inf"),
    *("", "abc", " 1 ", "1e999", "1\\2\\3\\4", "\0", "9" * 400),
    *([], [0, 0], [1, 0, 0, 0, 1, 0], [1, 0, 0, 1, 0, 0], ["a", "b"], [1e9, 1e9, 1e9], None),
)

#: Transfer syntaxes that a file may claim without being encoded so.
_SYNTAXES = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.100",
    "1.2.840.10008.1.2.5",
    "1.2.3.4",
    "",
)

_VRS = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB", b"OD", b"OF"),
    *(b"OL", b"OV", b"OW", b"PN", b"SH", b"SL", b"SQ", b"SS", b"ST", b"TM", b"UC", b"UI", b"UL", b"UN", b"UR"),
    *(b"US", b"UT", b"ZZ"),
)

#: Value representations whose length takes four bytes.
_LONG_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))

#: A file that inflates to this much although its header declares a few hundred pixels.
_INFLATED = 48 * 2**20


@dataclass(frozen=True)
class _Span:
    """Where an element's header, length, value and end are in a file."""

    start: int
    length_at: int
    length_size: int
    value: int
    end: int


def _spans(data: bytes) -> list[_Span]:
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        if dataset.file_meta.get("TransferSyntaxUID") == "1.2.840.10008.1.2.1.99":
            return []
        tags = list(dataset.keys())
        raw: list[Any] = [dataset.get_item(tag) for tag in tags]
    except Exception:
        return []
    spans = []
    for element in raw:
        tell, length = getattr(element, "value_tell", 0), getattr(element, "length", None)
        if not tell or length is None or length == 0xFFFFFFFF:
            continue
        long = element.is_implicit_VR or element.VR in _LONG_VRS
        header = 8 if element.is_implicit_VR or not long else 12
        spans.append(_Span(tell - header, tell - (4 if long else 2), 4 if long else 2, tell, tell + length))
    return spans


def change_lengths(files: Files, rng: Generator) -> str:
    """Give an element another length, or another value representation."""
    name, data = pick(files, rng)
    spans = _spans(data)
    if not spans:
        return ""
    span = spans[int(rng.integers(len(spans)))]
    if rng.random() < 0.3 and span.length_size == 2:
        vr = _VRS[int(rng.integers(len(_VRS)))]
        files[name] = data[: span.start + 4] + vr + data[span.start + 6 :]
        return f"VR at {span.start} of {name}: {vr.decode()}"
    right = span.end - span.value
    lengths = (
        0,
        1,
        right + 1,
        right + 2,
        max(right - 1, 0),
        0xFFFF,
        0xFFFE,
        0x7FFFFFFF,
        0xFFFFFFFF,
        int(rng.integers(2**32)),
    )
    length = lengths[int(rng.integers(len(lengths)))] % (1 << 8 * span.length_size)
    field = length.to_bytes(span.length_size, "little")
    files[name] = data[: span.length_at] + field + data[span.length_at + span.length_size :]
    return f"length at {span.length_at} of {name}: {length}"


def move_elements(files: Files, rng: Generator) -> str:
    """Remove, repeat or exchange whole elements."""
    name, data = pick(files, rng)
    spans = _spans(data)
    if len(spans) < 2:
        return ""
    a, b = sorted(rng.choice(len(spans), 2, replace=False))
    first, second = spans[a], spans[b]
    one, two = data[first.start : first.end], data[second.start : second.end]
    how = int(rng.integers(3))
    if how == 0:
        files[name] = data[: first.start] + data[first.end :]
    elif how == 1:
        files[name] = data[: first.end] + one + data[first.end :]
    else:
        files[name] = data[: first.start] + two + data[first.end : second.start] + one + data[second.end :]
    return f"element at {first.start} of {name} {('removed', 'repeated', 'exchanged')[how]}"


def change_values(files: Files, rng: Generator) -> str:
    """Set one to three tags to extreme values, in one file or in all."""
    everywhere = rng.random() < 0.6
    picked = [name for name in files if isinstance(files[name], bytes)] if everywhere else [pick(files, rng)[0]]
    changes = []
    for _ in range(int(rng.integers(1, 4))):
        keyword = _KEYWORDS[int(rng.integers(len(_KEYWORDS)))]
        changes.append((keyword, _EXTREME[int(rng.integers(len(_EXTREME)))], rng.random() < 0.15))

    def change(dataset: Dataset) -> None:
        for keyword, value, removed in changes:
            for place in _places(dataset, keyword):
                if removed:
                    place.pop(keyword, None)
                else:
                    setattr(place, keyword, value)

    for name in picked:
        data = files[name]
        files[name] = rewritten(data, change) if isinstance(data, bytes) else data
    said = ", ".join(f"{keyword} {'removed' if removed else repr(value)[:40]}" for keyword, value, removed in changes)
    return f"{'all files' if everywhere else picked[0]}: {said}"


def _places(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The data sets that hold a tag, in functional groups too; the whole one when none does."""
    found = [dataset] if keyword in dataset else []
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for item in dataset.get(name) or []:
            for element in item:
                if isinstance(element.value, Sequence):
                    found += [inner for inner in element.value if keyword in inner]
    return found or [dataset]


def change_frames(files: Files, rng: Generator) -> str:
    """Remove, repeat, empty or shuffle items of functional groups, or declare another number of frames."""
    name, data = pick(files, rng)
    how = int(rng.integers(6))

    def change(dataset: Dataset) -> None:
        frames = dataset.get("PerFrameFunctionalGroupsSequence")
        if frames is None or how == 5:
            dataset.NumberOfFrames = [0, 2, 3, 1000, 10**9, -4][int(rng.integers(6))]
        elif how == 0:
            frames.pop(int(rng.integers(len(frames))))
        elif how == 1:
            frames.append(copy.deepcopy(frames[int(rng.integers(len(frames)))]))
        elif how == 2:
            frames[int(rng.integers(len(frames)))] = Dataset()
        elif how == 3:
            dataset.SharedFunctionalGroupsSequence = []
        else:
            dataset.PerFrameFunctionalGroupsSequence = [*reversed(frames)] * int(rng.integers(1, 40))

    files[name] = rewritten(data, change)
    return f"frames of {name} changed ({how})"


def nest_sequences(files: Files, rng: Generator) -> str:
    """Put sequences into sequences, up to 3000 deep, before the pixels."""
    name, data = pick(files, rng)
    depth = int(rng.integers(2, 3000))
    spans = _spans(data)
    place = next((span.start for span in spans if data[span.start : span.start + 2] == b"\x20\x00"), 0)
    if not place:
        return ""
    explicit = data[place + 4 : place + 6].isalpha()
    opening = struct.pack("<2H", 0x0018, 0x9999) + (b"SQ\0\0" if explicit else b"") + b"\xff" * 4
    opening += struct.pack("<2HI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closing = struct.pack("<2HI", 0xFFFE, 0xE00D, 0) + struct.pack("<2HI", 0xFFFE, 0xE0DD, 0)
    nested = opening * depth + (closing * depth if rng.random() < 0.7 else b"")
    files[name] = data[:place] + nested + data[place:]
    return f"{depth} nested sequences in {name}"


def claim_syntax(files: Files, rng: Generator) -> str:
    """Claim another transfer syntax than the file has."""
    name, data = pick(files, rng)
    syntax = _SYNTAXES[int(rng.integers(len(_SYNTAXES)))].encode()
    at = data.find(b"\x02\x00\x10\x00UI", 0, 600)
    if at < 0:
        return ""
    old = int.from_bytes(data[at + 6 : at + 8], "little")
    new = syntax + b"\0" * (len(syntax) % 2)
    changed = data[: at + 6] + len(new).to_bytes(2, "little") + new + data[at + 8 + old :]
    # The group length in front counts these bytes.
    if changed[132:138] == b"\x02\x00\x00\x00UL":
        group = int.from_bytes(changed[140:144], "little") + len(new) - old
        changed = changed[:140] + max(group, 0).to_bytes(4, "little") + changed[144:]
    files[name] = changed
    return f"{name} claims {syntax.decode() or 'no syntax'}"


def inflate(files: Files, rng: Generator) -> str:
    """Append zeros to a deflated data set, so that a few kB inflate to many MB."""
    name, data = pick(files, rng)
    start = _deflated_at(data)
    if not start:
        return ""
    try:
        plain = zlib.decompress(data[start:], -zlib.MAX_WBITS)
    except zlib.error:
        return ""
    length = int(rng.integers(_INFLATED // 2, _INFLATED))
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # A private element of zeros behind the pixels, or zeros without any element.
    header = struct.pack("<2H2sHI", 0x7FE1, 0x1010, b"OB", 0, length) if rng.random() < 0.7 else b""
    packed = packer.compress(plain + header) + packer.compress(b"\0" * length) + packer.flush()
    files[name] = data[:start] + packed + b"\0" * (len(packed) % 2)
    return f"{name} inflates to {length + len(plain)} bytes"


def _deflated_at(data: bytes) -> int:
    if b"1.2.840.10008.1.2.1.99" not in data[:600] or data[132:138] != b"\x02\x00\x00\x00UL":
        return 0
    return 144 + int.from_bytes(data[140:144], "little")


DICOM_FILE: tuple[Damage, ...] = (
    change_lengths,
    move_elements,
    change_values,
    change_values,
    change_frames,
    nest_sequences,
    claim_syntax,
    inflate,
)
