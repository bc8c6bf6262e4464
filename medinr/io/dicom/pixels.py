"""Stored pixels of DICOM slices to real values: decoding, rescaling, padding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
)

from medinr.errors import FileError, LibraryError
from medinr.io.dicom.frames import Frame
from medinr.io.dicom.headers import read_header
from medinr.io.dicom.isolated import ISOLATED, decode_isolated
from medinr.io.dicom.lenient import leniently
from medinr.io.limits import FREELY_INFLATED_BYTES, require_plausible_size
from medinr.io.padding import fill_padding

#: A padding value above this in HU could be tissue, and is left unchanged.
HU_PADDING_AT_MOST = -900.0

#: Decoders in the order of preference. GDCM ends the process on damaged JPEG 2000, so others come first.
_DECODERS = (
    (JPEG2000TransferSyntaxes, ("pylibjpeg", "pillow", ISOLATED)),
    (JPEGLSTransferSyntaxes, ("pyjpegls", ISOLATED)),
    ((JPEGBaseline8Bit,), ("pillow", ISOLATED)),
    ((JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), (ISOLATED,)),
)

#: Bits of stored numbers whose sign a padding tag may have wrong.
_SIGN_BITS = 16


def pictures(frames: Sequence[Frame]) -> Iterator[tuple[Frame, NDArray[Any], Dataset | None]]:
    """Give the stored numbers of every frame, shape (rows, columns), one at a time.

    Numbers that a file stores as they are in memory are read from where they lie; others are decoded, frame by frame.

    Parameters
    ----------
    frames : sequence of Frame

    Yields
    ------
    frame : Frame
    stored : ndarray, shape (rows, columns)
    dataset : Dataset or None
        The whole file, where it had to be parsed again.

    Raises
    ------
    FileError
        When pixels are colour, missing, cut short or damaged.
    LibraryError
        When they are compressed in a way that needs a library that is not installed.
    """
    for _, shared in groupby(frames, key=lambda frame: frame.path):
        part = list(shared)
        _require_size(part[0])
        if part[0].header.stored.offset is not None and not part[0].header.stored.table:
            for frame in part:
                yield frame, _as_stored(frame), None
        else:
            yield from _decoded(part)


def real_values(
    stored: NDArray[Any], frame: Frame, dataset: Dataset | None, out: NDArray[np.float32]
) -> tuple[int, int]:
    """Convert one slice's stored numbers to HU or the scanner's real values.

    ``value = slope * stored + intercept``, or the modality table where there is one. CT padding becomes
    `medinr.io.padding.HU_FLOOR`, MR padding 0.

    Parameters
    ----------
    stored : ndarray, shape (rows, columns)
    frame : Frame
    dataset : Dataset or None
        The file, where real values come from a table.
    out : ndarray, shape (rows, columns), float32
        Filled with the values.

    Returns
    -------
    padded, clipped : int
        How many pixels were declared as padding, or lay below the range of HU.

    Raises
    ------
    FileError
        When a CT slice has no rescale slope or intercept.
    """
    padding = _padding(stored, frame)
    rescaled(stored, frame, dataset, out)
    if is_hounsfield(frame):
        if padding is not None:
            padding &= (out <= HU_PADDING_AT_MOST) | _beyond_tissue(frame)
        known = 0 if padding is None else int(padding.sum())
        return known, fill_padding(out, padding) - known
    if padding is None:
        return 0, 0
    out[padding] = 0.0
    return int(padding.sum()), 0


def rescaled(stored: NDArray[Any], frame: Frame, dataset: Dataset | None, out: NDArray[np.float32]) -> None:
    """Convert stored numbers as `real_values` does, padding among them."""
    stored = _within_stored_bits(stored, frame)
    if frame.header.stored.table and dataset is not None:
        out[:] = apply_modality_lut(stored, dataset)
        return
    if frame.modality == "CT" and (frame.intercept is None or frame.slope is None):
        raise FileError(
            f"{frame.name}: RescaleIntercept (0028,1052) or RescaleSlope (0028,1053) is missing, so the "
            "numbers are not Hounsfield units. Export the series again."
        )
    _rescale(stored, 1.0 if frame.slope is None else frame.slope, frame.intercept or 0.0, out)


def _rescale(stored: NDArray[Any], slope: float, intercept: float, out: NDArray[np.float32]) -> None:
    if slope == 1.0 and intercept == round(intercept) and stored.dtype.itemsize <= 2 and stored.dtype.kind in "iu":
        # Whole numbers of 16 bits are exact in float32, and three times as fast.
        out[:] = stored
        out += np.float32(intercept)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            out[:] = stored * np.float64(slope) + np.float64(intercept)


def is_hounsfield(frame: Frame) -> bool:
    """Whether a slice is CT in HU, by its rescale type; dual-energy maps, for example, are not."""
    # Absent or unspecified (US) means HU for CT (PS3.3, C.8.2.1); some write HU_MOD or "Houndsfield Unit".
    if frame.modality != "CT":
        return False
    return frame.rescale_type.upper() in ("", "US") or frame.rescale_type.upper().startswith("H")


def _padding(stored: NDArray[Any], frame: Frame) -> NDArray[np.bool_] | None:
    values, limit = frame.header.stored.padding, frame.header.stored.padding_limit
    if not values or stored.dtype.kind not in "iu":
        return None
    bits = 8 * stored.dtype.itemsize
    if limit is not None:
        low, high = sorted(_as_kind(end, stored.dtype.kind, bits) for end in (values[0], limit))
        return np.asarray((stored >= low) & (stored <= high))
    # Scanners write -2000 as 63536 under an unsigned tag, and the other way round: what counts are the bits.
    found = np.zeros(stored.shape, dtype=bool)
    for value in values:
        wanted = _as_kind(value, stored.dtype.kind, bits)
        if np.iinfo(stored.dtype).min <= wanted <= np.iinfo(stored.dtype).max:
            found |= stored == wanted
    return found


def _as_kind(value: int, kind: str, bits: int) -> int:
    if kind == "i" and value >= 1 << (bits - 1):
        return value - (1 << bits)
    if kind == "u" and value < 0:
        return value + (1 << bits)
    return value


def _beyond_tissue(frame: Frame) -> bool:
    """Whether the padding value, read as a signed number, lies below every HU: 63536 stands for -2000."""
    slope, intercept = frame.slope or 1.0, frame.intercept or 0.0
    signed = (_as_kind(value, "i", _SIGN_BITS) for value in frame.header.stored.padding)
    limits = () if frame.header.stored.padding_limit is None else (frame.header.stored.padding_limit,)
    return not limits and all(value < 0 and slope * value + intercept <= HU_PADDING_AT_MOST for value in signed)


def _within_stored_bits(stored: NDArray[Any], frame: Frame) -> NDArray[Any]:
    """Drop bits above BitsStored, which may hold overlays; only as read from the file, decoders do it themselves."""
    facts = frame.header.stored
    unused = facts.bits_allocated - facts.bits_stored
    if facts.offset is None or unused <= 0 or stored.dtype.kind not in "iu":
        return stored
    shifted: NDArray[Any] = np.right_shift(np.left_shift(stored, unused), unused)
    return shifted


def _require_size(frame: Frame) -> None:
    facts, header = frame.header.stored, frame.header
    if facts.samples != 1 or "PALETTE" in facts.photometric:
        raise FileError(
            f"{frame.path.name}: holds colours, not intensities. Give the scan itself, not a picture of it."
        )
    if not facts.syntax.is_transfer_syntax:
        raise FileError(
            f"{frame.path.name}: transfer syntax {_shown(facts.syntax)} is unknown. Export it uncompressed."
        )
    shape, itemsize = (header.columns, header.rows, header.frames), facts.bits_allocated / 8
    if facts.syntax.is_encapsulated and math.prod(shape) * itemsize <= FREELY_INFLATED_BYTES:
        # An empty slice shrinks to next to nothing in JPEG 2000.
        return
    size = header.path.stat().st_size
    require_plausible_size(
        shape, itemsize, size, header.path.name, compressed=facts.syntax.is_compressed or facts.syntax.is_deflated
    )


def _shown(syntax: UID) -> str:
    return syntax if set(syntax) <= set("0123456789.") else "(damaged)"


def _as_stored(frame: Frame) -> NDArray[Any]:
    facts = frame.header.stored
    kind = f"<{'i' if facts.signed else 'u'}{facts.bits_allocated // 8}"
    count = frame.header.rows * frame.header.columns
    start = (facts.offset or 0) + (frame.number or 0) * count * facts.bits_allocated // 8
    stored = np.fromfile(frame.path, dtype=kind, count=count, offset=start)
    if stored.size < count:
        raise FileError(
            f"{frame.name}: {stored.size} of {count} pixels are there; the file was cut short. Copy it again."
        )
    return _tile(stored.reshape(frame.header.rows, frame.header.columns), frame)


def _tile(picture: NDArray[Any], frame: Frame) -> NDArray[Any]:
    tile = frame.tile
    if tile is None:
        return picture
    return picture[tile.row : tile.row + tile.rows, tile.column : tile.column + tile.columns]


def _decoded(frames: Sequence[Frame]) -> Iterator[tuple[Frame, NDArray[Any], Dataset]]:
    path = frames[0].path
    with leniently(path):
        dataset = read_header(path, pixels=True)
        if dataset is None:
            raise FileError(f"{path}: the file changed while it was read. Read it again.")
        if "TransferSyntaxUID" not in dataset.file_meta:
            # A file without meta header: its encoding was found by its first tag.
            dataset.file_meta.TransferSyntaxUID = _guessed_syntax(dataset)
        _require_pixels(dataset, frames[0])
    picture: NDArray[Any] | None = None
    for frame in frames:
        with leniently(path):
            if picture is None or frame.tile is None:
                picture = _decode(dataset, frame)
            cut = _tile(picture, frame)
        yield frame, cut, dataset


def _decode(dataset: Dataset, frame: Frame) -> NDArray[Any]:
    syntax = frame.header.stored.syntax
    try:
        plugin = _plugin(syntax)
        if plugin == ISOLATED:
            stored = decode_isolated(frame.path, frame.number or 0)
        else:
            stored = np.asarray(pixel_array(dataset, index=frame.number or 0, raw=True, decoding_plugin=plugin))
    except (RuntimeError, NotImplementedError, ImportError) as error:
        if "missing dependencies" in str(error):
            raise LibraryError(
                f"{frame.path.name}: compressed as {syntax.name}; to read it: pip install {_library(syntax)}."
            ) from error
        raise FileError(
            f"{frame.path.name}: the {syntax.name} pixels cannot be decoded: the file is damaged, or made in a way "
            "that no decoder here knows. Export it uncompressed."
        ) from error
    if stored.shape != (frame.header.rows, frame.header.columns):
        raise FileError(f"{frame.name}: pixels of shape {stored.shape}; the header has another shape.")
    return stored


def _library(syntax: UID) -> str:
    return "pylibjpeg pylibjpeg-openjpeg" if syntax in JPEG2000TransferSyntaxes else "python-gdcm"


@cache
def _plugin(syntax: UID) -> str:
    """The decoder to use, of those that are installed; empty where pydicom may choose."""
    preferred = next((plugins for syntaxes, plugins in _DECODERS if syntax in syntaxes), ())
    if not preferred:
        return ""
    installed = get_decoder(syntax).available_plugins
    return next((plugin for plugin in preferred if plugin in installed), "")


def _guessed_syntax(dataset: Dataset) -> UID:
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _require_pixels(dataset: Dataset, frame: Frame) -> None:
    syntax, name = frame.header.stored.syntax, frame.path.name
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise FileError(f"{name}: the file ends before its pixels. Copy it again.")
    if syntax.is_encapsulated or "PixelData" not in dataset:
        return
    header = frame.header
    wanted = (header.rows * header.columns * header.frames * header.stored.bits_allocated + 7) // 8
    if len(dataset.PixelData) < wanted:
        raise FileError(f"{name}: {len(dataset.PixelData)} of {wanted} bytes of pixels are there. Copy the file again.")
