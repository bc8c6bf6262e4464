"""Stored pixels of a DICOM slice to real values: decoding, rescaling, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import UID

from medinr.errors import FileError
from medinr.io.dicom.frames import Frame
from medinr.io.padding import fill_padding

#: A padding value above this in HU could be tissue, and is left unchanged.
_HU_PADDING_AT_MOST = -900.0

#: What to install for a transfer syntax that numpy and Pillow do not decode.
_PLUGINS = {
    "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg",
    "High-Throughput": "pylibjpeg pylibjpeg-openjpeg",
    "JPEG-LS": "pyjpegls",
    "JPEG": "pylibjpeg pylibjpeg-libjpeg",
}


def decode(dataset: Dataset, name: str) -> NDArray[Any]:
    """Return the stored numbers of a file, shape (rows, columns) or (frames, rows, columns).

    To be called within `medinr.io.dicom.lenient.leniently`, as a damaged stream makes decoders fail in many ways.

    Raises
    ------
    FileError
        When the pixels are colour, missing, cut short, or compressed in a way that needs a plugin.
    """
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or "PALETTE" in str(dataset.get("PhotometricInterpretation")):
        raise FileError(f"{name}: holds colours, not intensities. Give the scan itself, not a picture of it.")
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise FileError(f"{name}: the file ends before its pixels. Copy it again.")
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID") or pydicom.uid.ImplicitVRLittleEndian))
    if not syntax.is_transfer_syntax:
        raise FileError(f"{name}: transfer syntax {syntax} is unknown to pydicom. Export it uncompressed.")
    _require_all_bytes(dataset, syntax, name)
    try:
        return np.asarray(dataset.pixel_array)
    except (RuntimeError, NotImplementedError, ImportError) as error:
        plugin = next((plugin for word, plugin in _PLUGINS.items() if word in syntax.name), "")
        if plugin and "missing dependencies" in str(error):
            raise FileError(f"{name}: compressed as {syntax.name}; to read it, pip install {plugin}.") from error
        raise FileError(f"{name}: the {syntax.name} pixels cannot be decoded. Copy the file again.") from error


def real_values(stored: NDArray[Any], dataset: Dataset, frame: Frame) -> tuple[NDArray[np.float32], int]:
    """Convert one slice's stored numbers to HU or the scanner's real values.

    ``value = slope * stored + intercept``, or the modality table where there is one. CT padding becomes
    `medinr.io.padding.HU_FLOOR`, MR padding 0.

    Parameters
    ----------
    stored : ndarray, shape (rows, columns)
    dataset : Dataset
    frame : Frame

    Returns
    -------
    values : ndarray, shape (rows, columns), float32
    padded : int
        How many pixels were padding.

    Raises
    ------
    FileError
        When a CT slice has no rescale slope or intercept.
    """
    if dataset.get("ModalityLUTSequence"):
        values = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float32)
    else:
        if frame.modality == "CT" and (frame.intercept is None or frame.slope is None):
            raise FileError(
                f"{frame.name}: RescaleIntercept (0028,1052) or RescaleSlope (0028,1053) is missing, so the "
                "numbers are not Hounsfield units. Export the series again."
            )
        slope = 1.0 if frame.slope is None else frame.slope
        values = (stored * slope + (frame.intercept or 0.0)).astype(np.float32)
    padding = _padding(stored, dataset)
    if frame.modality == "CT" and is_hounsfield(frame):
        return values, fill_padding(values, padding & (values <= _HU_PADDING_AT_MOST))
    values[padding] = 0.0
    return values, int(padding.sum())


def is_hounsfield(frame: Frame) -> bool:
    """Whether a CT slice is in HU, by its rescale type; dual-energy maps, for example, are not."""
    # Absent or unspecified (US) means HU for CT (PS3.3, C.8.2.1); some write HU_MOD or "Houndsfield Unit".
    return frame.rescale_type.upper() in ("", "US") or frame.rescale_type.upper().startswith("H")


def _padding(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_]:
    if dataset.get("PixelPaddingValue") is None or stored.dtype.kind not in "iu":
        return np.zeros(stored.shape, dtype=bool)
    bits = 8 * stored.dtype.itemsize
    ends = [
        int(dataset.PixelPaddingValue),
        int(dataset.get("PixelPaddingRangeLimit") or dataset.PixelPaddingValue),
    ]
    if stored.dtype.kind == "i":
        # Scanners write a signed padding value under an unsigned tag: 63536 is -2000 in 16 bits.
        ends = [end - (1 << bits) if end >= 1 << (bits - 1) else end for end in ends]
    return np.asarray((stored >= min(ends)) & (stored <= max(ends)))


def _require_all_bytes(dataset: Dataset, syntax: UID, name: str) -> None:
    if (syntax.is_compressed and not syntax.is_deflated) or "PixelData" not in dataset:
        return
    frames = int(dataset.get("NumberOfFrames") or 1)
    wanted = (int(dataset.Rows) * int(dataset.Columns) * frames * int(dataset.BitsAllocated) + 7) // 8
    found = len(dataset.PixelData)
    if found < wanted:
        raise FileError(f"{name}: {found} of {wanted} bytes of pixels are there. Copy the file again.")
