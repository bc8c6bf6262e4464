"""A DICOM series to a volume in Hounsfield units or the scanner's real values, in RAS millimetres."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medinr.errors import FileError, GeometryError
from medinr.io.dicom.choose import choose_series
from medinr.io.dicom.facts import facts_of
from medinr.io.dicom.frames import Frame
from medinr.io.dicom.geometry import affine_of, tilt_degrees
from medinr.io.dicom.pixels import is_hounsfield, pictures, real_values
from medinr.io.dicom.series import DAMAGED, Listing, Series, list_series
from medinr.io.dicom.straighten import straighten as straightened
from medinr.io.hashes import combine_hashes, hash_file
from medinr.io.limits import require_readable_size
from medinr.io.padding import HU_FLOOR, padding_note
from medinr.volume import Affine, Provenance, Volume

__all__ = ["iterate_slices", "list_series", "name_left_aside", "read_dicom_series", "read_series"]

_log = logging.getLogger(__name__)

#: Files named in one message, and lines of a log: a folder may hold thousands.
_NAMED, _MOST_LINES = 5, 20

#: Files that were named in this process.
_told: set[tuple[Path, str]] = set()

#: Threads that read files to hash them; more gain nothing.
_READERS = 2


def read_dicom_series(
    path: Path | str,
    series: int | str | None = None,
    *,
    slices: Sequence[int] | None = None,
    straighten: bool = False,
) -> Volume:
    """Read one series of a folder, zip archive, DICOMDIR or single file as a volume.

    Slices are ordered by position along their normal, never by name. Classic (one slice a file) and
    enhanced (many frames a file) CT and MR and Siemens mosaics are read. CT comes in HU, with padding outside
    the field of view set to -1024.

    Parameters
    ----------
    path : Path or str
    series : int or str, optional
        Which one, where there are several: number from 1 (`list_series` numbers them), SeriesInstanceUID, or text that
        fits its description.
    slices : sequence of int, optional
        Evenly spaced slice numbers from 0; only their pixels are read.
    straighten : bool
        Resample a stack that leans off the slice normal (gantry tilt) to a straight grid.

    Returns
    -------
    Volume
        With one source file per slice in its provenance (one in all, for enhanced objects and mosaics).

    Raises
    ------
    FileError
        When nothing readable is there, a series must be chosen, or pixels are colour or cut short.
    LibraryError
        When pixels are compressed in a way that needs the extra ``dicom``.
    GeometryError
        When the slices form no regular stack: missing, repeated, uneven, tilted, or without position.
    """
    listing = list_series(path)
    notes: list[str] = []
    chosen = choose_series(listing, series, notes)
    return read_series(listing, chosen, notes, slices=slices, straighten=straighten)


def read_series(
    listing: Listing,
    series: Series,
    notes: Sequence[str] = (),
    *,
    slices: Sequence[int] | None = None,
    straighten: bool = False,
) -> Volume:
    """Read a series that was chosen from a listing; see `read_dicom_series`.

    Raises
    ------
    FileError, LibraryError, GeometryError
        As `read_dicom_series`, and when files beside the slices cannot be read: each may be one of them.
    """
    _require_nothing_lost(listing, series)
    noted = [*notes, *listing.notes]
    frames = series.frames
    first = frames[0]
    try:
        affine = affine_of(frames, noted, tilted=straighten)
    except GeometryError as error:
        raise GeometryError(f"{error}{_damaged_beside(listing, series)}") from error
    require_readable_size((first.columns, first.rows, len(frames)), first.name)
    facts = facts_of(first, noted)
    files = _files(frames)
    # The whole series is what is recognised again, also when one slice of it is read.
    digest = combine_hashes(_hashes(files))
    leaning = tilt_degrees(affine) if straighten else 0.0
    if slices is not None and not leaning:
        frames, affine = _selected(frames, affine, slices)
    array = _read_pixels(frames, noted)
    hounsfield = is_hounsfield(first)
    if first.modality == "CT" and not hounsfield:
        noted.append(f"CT whose values are not Hounsfield units (RescaleType {first.rescale_type})")
    if leaning:
        array, affine = straightened(array, affine, HU_FLOOR if hounsfield else 0.0)
        noted.append(f"resampled to a straight grid: the stack leant by {leaning:.1f} degrees (gantry tilt)")
    volume = Volume(
        array,
        affine,
        first.modality if first.modality in ("MR", "CT") else "OT",
        "HU" if hounsfield else "a.u.",
        Provenance(
            "dicom",
            _files(frames),
            digest,
            first.frame_of_reference,
            tuple(noted),
            facts,
            not leaning,
            _numbers(frames),
        ),
    )
    return volume.select(slices) if slices is not None and leaning else volume


def iterate_slices(series: Series) -> Iterator[NDArray[np.float32]]:
    """Give the real values of every slice of a series in turn, shape (rows, columns); only one is in memory.

    Raises
    ------
    FileError, LibraryError
        As `read_dicom_series`.
    """
    for frame, stored, dataset in pictures(series.frames):
        values = np.empty((frame.rows, frame.columns), dtype=np.float32)
        real_values(stored, frame, dataset, values)
        yield values


def name_left_aside(listing: Listing) -> None:
    """Log the names of files that may be slices and cannot be read, once each: outputs count them without names."""
    new = [one for one in listing.left_out if one.may_be_missed and (one.path, one.kind) not in _told]
    _told.update((one.path, one.kind) for one in new)
    for one in new[:_MOST_LINES]:
        _log.warning("left aside: %s (%s)", one.path, one.kind)
    if len(new) > _MOST_LINES:
        _log.warning("left aside: %d more like these", len(new) - _MOST_LINES)


def _require_nothing_lost(listing: Listing, series: Series) -> None:
    name_left_aside(listing)
    lost = listing.lost_beside(series)
    if lost:
        kinds = {one.path: one.kind for one in listing.left_out}
        named = ", ".join(f"{path.name} ({kinds[path]})" for path in lost[:_NAMED])
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        raise FileError(
            f"{listing.path}: {len(lost)} file(s) beside the slices cannot be read, and each may be one of them: "
            f"{named}{more}. Make them readable, or move them elsewhere."
        )


def _damaged_beside(listing: Listing, series: Series) -> str:
    folders = {frame.path.parent for frame in series.frames}
    damaged = [one.path.name for one in listing.left_out if one.kind == DAMAGED and one.path.parent in folders]
    return f" Damaged files beside it were left aside: {', '.join(damaged[:_NAMED])}." if damaged else ""


def _files(frames: Sequence[Frame]) -> tuple[Path, ...]:
    files = tuple(frame.path for frame in frames)
    # Frames and tiles that share one file have it once.
    return files if len(set(files)) == len(files) else tuple(dict.fromkeys(files))


def _numbers(frames: Sequence[Frame]) -> tuple[int, ...]:
    """Frame numbers of a stack that is in one file; none for classic files."""
    if len({frame.path for frame in frames}) > 1:
        return ()
    return tuple(frame.number for frame in frames if frame.number is not None)


def _hashes(files: Sequence[Path]) -> list[str]:
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(hash_file, files))


def _selected(frames: Sequence[Frame], affine: Affine, slices: Sequence[int]) -> tuple[tuple[Frame, ...], Affine]:
    """Choose frames as `Volume.select` does, and with its errors, before their pixels are read."""
    numbers = np.arange(len(frames), dtype=np.float32).reshape(-1, 1, 1)
    chosen = Volume(numbers, affine).select(slices)
    return tuple(frames[int(number)] for number in chosen.array.ravel()), chosen.affine


def _read_pixels(frames: Sequence[Frame], notes: list[str]) -> NDArray[np.float32]:
    array = np.empty((len(frames), frames[0].rows, frames[0].columns), dtype=np.float32)
    padded = 0
    # Frames that share a file are read together, so that the file is read once.
    places: dict[Path, list[int]] = {}
    for number, frame in enumerate(frames):
        places.setdefault(frame.path, []).append(number)
    order = [number for numbers in places.values() for number in numbers]
    for number, (frame, stored, dataset) in zip(order, pictures([frames[number] for number in order]), strict=True):
        known, below = real_values(stored, frame, dataset, array[number])
        padded += known + below
    if padded:
        hounsfield = is_hounsfield(frames[0])
        notes.append(padding_note(padded) if hounsfield else padding_note(padded, 0, ""))
    return array
