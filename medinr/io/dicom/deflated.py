"""Deflated DICOM, inflated only as far as its header declares pixels: a small file can hold gigabytes of zeros."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medinr.errors import FileError
from medinr.io.folder import first_bytes

#: Where the meta header starts, and how many bytes lie before the end that its group length counts from.
_PREAMBLE, _GROUP_LENGTH = 132, 12

#: Bytes that are inflated to read a header: at first, and at most (enhanced objects have long ones).
_HEADER_BYTES = (2**20, 2**26)

#: The text of a header shrinks by at most this.
_HEADER_COMPRESSION = 50

#: Bytes that may follow the pixels: padding, signatures.
_TRAILING_BYTES = 2**20

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)


def ends_header(tag: BaseTag, _: str | None, __: int) -> bool:
    """Whether a header ends before an element: at its pixels, or where zeros follow (a data set has no group 0).

    Zeros would be read as millions of empty elements.
    """
    return tag in _PIXELS or tag.group == 0


def is_deflated(path: Path) -> bool:
    """Whether the meta header of a DICOM file says that its data set is deflated (PS3.5, A.5)."""
    return DeflatedExplicitVRLittleEndian.encode() in first_bytes(path, 2**10)


def read_deflated(path: Path, pixels: bool) -> Dataset:
    """Read a deflated file without inflating more than its header declares.

    Parameters
    ----------
    path : Path
    pixels : bool
        Also read the pixels.

    Raises
    ------
    FileError
        When more comes out than the header declares.
    """
    meta = read_file_meta_info(path)
    start = _PREAMBLE + _GROUP_LENGTH + int(meta.FileMetaInformationGroupLength)
    rest = path.read_bytes()[start:]
    first, last = _HEADER_BYTES
    for most in (first, max(first, min(last, _HEADER_COMPRESSION * len(rest)))):
        inflated = zlib.decompressobj(-zlib.MAX_WBITS)
        head = inflated.decompress(rest, most)
        dataset, end = _header(head)
        if end or inflated.eof:
            break
    else:
        raise FileError(f"{path}: {len(rest)} bytes inflate to a header of more than {len(head)}. The file is damaged.")
    if end and pixels:
        wanted = end + _declared(dataset) + _TRAILING_BYTES
        whole = head + inflated.decompress(inflated.unconsumed_tail, max(1, wanted - len(head)))
        if not inflated.eof and len(whole) >= wanted:
            raise FileError(
                f"{path}: {len(rest)} bytes inflate to more than the {_declared(dataset)} bytes of pixels that the "
                "header declares. The file is damaged."
            )
        dataset = read_dataset(io.BytesIO(whole), False, True)
    return FileDataset(path, dataset, file_meta=meta, is_implicit_VR=False, is_little_endian=True)


def _header(head: bytes) -> tuple[Dataset, int]:
    """The elements before the pixels, and where these start; 0 when the bytes end before."""
    reached = False

    def stop(tag: BaseTag, kind: str | None, length: int) -> bool:
        nonlocal reached
        reached = tag in _PIXELS
        return ends_header(tag, kind, length)

    source = io.BytesIO(head)
    try:
        dataset = read_dataset(source, False, True, stop_when=stop)
    except EOFError:
        return Dataset(), 0
    return dataset, source.tell() if reached else 0


def _declared(dataset: Dataset) -> int:
    frames = int(dataset.get("NumberOfFrames") or 1)
    bits = int(dataset.get("BitsAllocated") or 16) * int(dataset.get("SamplesPerPixel") or 1)
    return int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0) * frames * bits // 8
