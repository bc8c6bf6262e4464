"""A DICOM series to a volume in Hounsfield units or the scanner's real values, in RAS millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.errors import FileError
from medinr.io.dicom.frames import Frame, read_header
from medinr.io.dicom.geometry import affine_of
from medinr.io.dicom.lenient import leniently
from medinr.io.dicom.pixels import decode, is_hounsfield, real_values
from medinr.io.dicom.series import choose_series, list_series
from medinr.io.hashes import combine_hashes, hash_file
from medinr.io.limits import require_readable_size
from medinr.io.padding import padding_note
from medinr.volume import Provenance, Volume

__all__ = ["list_series", "read_dicom_series"]


def read_dicom_series(path: Path | str, series: int | None = None) -> Volume:
    """Read one series of a folder, or a single file, as a volume.

    Slices are ordered by position along their normal, never by name. Classic (one slice a file) and
    enhanced (many frames a file) CT and MR are read. CT comes in HU, with padding outside
    the field of view set to -1024.

    Parameters
    ----------
    path : Path or str
        Folder (subfolders count) or file.
    series : int, optional
        Which one, from 1, where there are several; `list_series` numbers them.

    Returns
    -------
    Volume
        With one source file per slice in its provenance (one in all, for enhanced objects).

    Raises
    ------
    FileError
        When nothing readable is there, a series must be chosen, or pixels are colour, a mosaic, cut short or
        compressed beyond what is installed.
    GeometryError
        When the slices form no regular stack: missing, repeated, uneven, tilted, or without position.
    """
    listing = list_series(path)
    frames = choose_series(listing, series).frames
    first = frames[0]
    _refuse_pictures(first)
    notes = list(listing.notes)
    affine = affine_of(frames, notes)
    require_readable_size((first.columns, first.rows, len(frames)), first.name)
    array = _read_pixels(frames, notes)
    files = tuple(frame.path for frame in frames) if first.number is None else (first.path,)
    digest = combine_hashes(hash_file(file) for file in dict.fromkeys(files))
    hounsfield = first.modality == "CT" and is_hounsfield(first)
    if first.modality == "CT" and not hounsfield:
        notes.append(f"CT whose values are not Hounsfield units (RescaleType {first.rescale_type})")
    return Volume(
        array,
        affine,
        first.modality if first.modality in ("MR", "CT") else "OT",
        "HU" if hounsfield else "a.u.",
        Provenance("dicom", files, digest, first.frame_of_reference, tuple(notes)),
    )


def _refuse_pictures(frame: Frame) -> None:
    if frame.mosaic:
        raise FileError(
            f"{frame.name}: a Siemens mosaic, all slices as tiles of one picture (ImageType (0008,0008)). "
            "Convert it with dcm2niix and give the NIfTI file."
        )
    if frame.film > 1:
        raise FileError(
            f"{frame.name}: {frame.film} frames without functional groups (5200,9230), so they have no place in the "
            "patient. Export the series slice by slice."
        )
    if frame.samples != 1:
        raise FileError(f"{frame.name}: holds colours, not intensities. Give the scan, not a picture of it.")


def _read_pixels(frames: Sequence[Frame], notes: list[str]) -> NDArray[np.float32]:
    array = np.empty((len(frames), frames[0].rows, frames[0].columns), dtype=np.float32)
    padded = 0
    # Frames that share a file are read together, so that the file is decoded once.
    places: dict[Path, list[int]] = {}
    for number, frame in enumerate(frames):
        places.setdefault(frame.path, []).append(number)
    for path, numbers in places.items():
        with leniently(path):
            dataset = read_header(path, pixels=True)
            if dataset is None:
                raise FileError(f"{path}: the file changed while it was read. Read it again.")
            stored = decode(dataset, path.name)
            for number in numbers:
                array[number], count = real_values(_picture(stored, frames[number]), dataset, frames[number])
                padded += count
    if padded:
        hounsfield = frames[0].modality == "CT" and is_hounsfield(frames[0])
        notes.append(padding_note(padded) if hounsfield else padding_note(padded, 0, ""))
    return array


def _picture(stored: NDArray[Any], frame: Frame) -> NDArray[Any]:
    picture = stored if frame.number is None or stored.ndim == 2 else stored[frame.number]
    if picture.shape != (frame.rows, frame.columns):
        raise FileError(f"{frame.name}: pixels of shape {picture.shape}; the header has another shape.")
    return picture
