"""The source of a derived object: its headers, whether one can be made of them, and the frame of every slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from medinr.errors import FileError, GeometryError, InputError
from medinr.io.dicom.frames import Frame, frames_of, number_of
from medinr.io.dicom.geometry import LPS_TO_RAS, SPACING_MM, SPACING_RELATIVE, normal
from medinr.io.dicom.headers import read_header
from medinr.io.dicom.kinds import class_name
from medinr.io.dicom.lenient import leniently
from medinr.io.grid import SAME_GRID_MM, reorder
from medinr.volume import Affine, Volume

#: Objects of one slice a file from which derived ones are made.
SINGLE_FRAME = (CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage)

#: Objects of many frames a file from which derived ones are made.
ENHANCED = (EnhancedCTImageStorage, EnhancedMRImageStorage)

#: Without these (keyword, tag) an object belongs to no study and cannot be referred to.
_IDENTIFYING = (
    ("SOPClassUID", "0008,0016"),
    ("SOPInstanceUID", "0008,0018"),
    ("StudyInstanceUID", "0020,000D"),
    ("SeriesInstanceUID", "0020,000E"),
)

Moves = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class Source:
    """One source file: its header, without pixels, and the pictures in it."""

    header: Dataset
    frames: tuple[Frame, ...]

    @property
    def enhanced(self) -> bool:
        """Whether it is an object of many frames."""
        return self.header.SOPClassUID in ENHANCED


@dataclass(frozen=True, eq=False)
class Place:
    """A frame and the source that holds it."""

    source: Source
    frame: Frame
    corners: NDArray[np.float64] = field(repr=False)

    @classmethod
    def of(cls, source: Source, frame: Frame) -> Place:
        """Find the corner pixels of a frame, shape (4, 3) in LPS mm (raises `GeometryError` where it has no place)."""
        row, column = _cosines(frame)
        row_spacing, column_spacing = frame.need(frame.pixel_spacing, "PixelSpacing (0028,0030)")
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * column_spacing, column * row_spacing, normal(frame)
        affine[:3, 3] = frame.need(frame.position, "ImagePositionPatient (0020,0032)")
        return cls(source, frame, _corners(affine, (1, frame.rows, frame.columns))[0])

    @property
    def normal(self) -> NDArray[np.float64]:
        """Row direction x column direction, shape (3,)."""
        return normal(self.frame)


def why_not_dicom(scan: Volume) -> str:
    """Say why results on this scan cannot be written as DICOM; empty when they can. Pixels are not read.

    To be asked before anything is computed. The words name no file and nothing of the patient, so that they can be
    kept in a result.
    """
    try:
        on_source_voxels(scan, open_sources(scan))
    except InputError as error:
        return str(error)
    return ""


def open_sources(scan: Volume) -> list[Source]:
    """Read the headers of a scan's source files.

    Raises
    ------
    FileError
        When there are none, or no derived object can be made of them.
    """
    files = tuple(dict.fromkeys(scan.provenance.files))
    if scan.provenance.format != "dicom" or not files:
        raise FileError(
            f"The scan came from {scan.provenance.format} with {len(files)} DICOM file(s); a derived DICOM object "
            "needs the headers of its source. Write NIfTI instead."
        )
    return [_open(file, number) for number, file in enumerate(files, start=1)]


def _open(file: Path, number: int) -> Source:
    # Results keep these words, and file names may identify the patient.
    name = f"Source file {number}"
    if not file.is_file():
        raise FileError(f"{name} of the series is not there any more. Write NIfTI instead, or bring it back.")
    try:
        with leniently(file):
            header = read_header(file)
            frames = "" if header is None else frames_of(header, file)
            kind = class_name(header or Dataset())
            found = {keyword: str((header or Dataset()).get(keyword) or "") for keyword, _ in _IDENTIFYING}
    except InputError as error:
        raise FileError(f"{name} of the series cannot be read as DICOM any more. Write NIfTI instead.") from error
    if header is None or isinstance(frames, str):
        raise FileError(f"{name} of the series is no scan ({frames or 'not DICOM'}). Write NIfTI instead.")
    for keyword, tag in _IDENTIFYING:
        if not found[keyword]:
            raise FileError(f"{name} of the series has no {keyword} ({tag}). Write NIfTI instead.")
    if found["SOPClassUID"] not in (*SINGLE_FRAME, *ENHANCED):
        kind = kind if kind.endswith("Storage") else "of an unknown class"
        raise FileError(
            f"{name} of the series is {kind}; derived objects are made of CT, MR, PET, "
            "enhanced CT and enhanced MR. Write NIfTI instead."
        )
    return Source(header, tuple(frames))


def on_source_voxels(volume: Volume, sources: Sequence[Source]) -> tuple[Volume, list[Place]] | None:
    """Find the source frame of every slice.

    Parameters
    ----------
    volume : Volume
        Perhaps reoriented, or with some of the source's slices only.
    sources : sequence of Source

    Returns
    -------
    volume : Volume
        In the voxel order of the frames, slices by position along their normal.
    places : list of Place
        One per slice.
    None
        When the volume lies on other voxels.

    Raises
    ------
    FileError
        When several frames lie where a slice is, and nothing tells which of them it is.
    """
    places = [Place.of(source, frame) for source in sources for frame in source.frames if frame.tile is None]
    if not places or any(len(source.frames) > 1 and not source.enhanced for source in sources):
        return None
    try:
        moved = reorder(volume, _moves(volume, places[0].frame))
    except GeometryError:
        return None
    _, rows, columns = moved.shape
    places = [place for place in places if (place.frame.rows, place.frame.columns) == (rows, columns)]
    if not places:
        return None
    wanted = _corners(LPS_TO_RAS @ moved.affine, moved.shape)
    found = np.stack([place.corners for place in places])
    allowed = SPACING_MM + 2 * SPACING_RELATIVE * moved.spacing[2]
    chosen = []
    frames = moved.provenance.frames if len(moved.provenance.frames) == len(wanted) else (None,) * len(wanted)
    for corners, frame in zip(wanted, frames, strict=True):
        off = np.linalg.norm(found - corners, axis=2).max(axis=1)
        near = np.flatnonzero(off <= min(allowed, off.min() + SAME_GRID_MM))
        if not len(near):
            return None
        chosen.append(_only([places[number] for number in near], volume, frame))
    if not _as_regular(wanted, np.stack([place.corners for place in chosen])):
        return None
    return moved, chosen


def _as_regular(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> bool:
    # Scanners round positions, so slices lie off the volume's line by as much as they lie off their own.
    off = float(np.linalg.norm(wanted - found, axis=2).max())
    origins = found[:, 0]
    irregular = 0.0
    if len(origins) > 2:
        steps = np.stack([np.ones(len(origins)), np.arange(len(origins))], axis=1)
        fitted = steps @ np.linalg.lstsq(steps, origins, rcond=None)[0]
        # The volume's line goes through the first and the last slice, which may be off themselves.
        irregular = 2 * float(np.linalg.norm(origins - fitted, axis=1).max())
    return off <= SAME_GRID_MM + irregular


def _corners(affine: Affine, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Centres of the four corner pixels of every slice, shape (slices, 4, 3)."""
    slices, rows, columns = shape
    x, y = columns - 1, rows - 1
    pixels = np.array([[0, 0], [x, 0], [0, y], [x, y]], dtype=np.float64)
    in_plane: NDArray[np.float64] = pixels @ affine[:3, :2].T + affine[:3, 3]
    return in_plane[None] + np.arange(slices)[:, None, None] * affine[:3, 2]


def _cosines(frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    row, column = np.array(frame.need(frame.orientation, "ImageOrientationPatient (0020,0037)")).reshape(2, 3)
    return row, column


def _moves(volume: Volume, frame: Frame) -> Moves:
    row, column = _cosines(frame)
    wanted = np.stack([row, column, normal(frame)], axis=1)
    directions = (LPS_TO_RAS @ volume.affine)[:3, :3]
    directions = directions / np.linalg.norm(directions, axis=0)
    moves: Moves = np.rint(directions.T @ wanted).astype(int)
    return moves


def _only(places: list[Place], volume: Volume, frame: int | None) -> Place:
    if frame is not None:
        places = [place for place in places if place.frame.number == frame] or places
    if len(places) == 1:
        return places[0]
    facts = volume.provenance.facts
    known = {
        "echo time": facts.echo_time,
        "b-value": facts.b_value,
        "inversion time": facts.inversion_time,
    }
    for label, value in known.items():
        if value is not None:
            places = [
                place for place in places if number_of(dict(place.frame.labels).get(label)) in (None, value)
            ] or places
    if facts.image_type:
        words = "/".join(facts.image_type)
        places = [place for place in places if words in _words(place.frame)] or places
    if facts.component:
        component = facts.component.upper()
        places = [place for place in places if dict(place.frame.labels).get("component") == component] or places
    if len(places) > 1:
        raise FileError(
            f"{len(places)} frames of the source lie at one place, and nothing tells which of them a result belongs "
            "to. Write NIfTI instead."
        )
    return places[0]


def _words(frame: Frame) -> tuple[str | None, ...]:
    return dict(frame.labels).get("image type"), dict(frame.labels).get("frame type")
