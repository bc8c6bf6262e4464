"""Series of a folder, and the choice of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medinr.errors import FileError, GeometryError, MedinrError
from medinr.io.dicom.frames import VARIANTS, Frame, frames_of, read_header
from medinr.io.dicom.geometry import affine_of, in_order, repeated
from medinr.io.hashes import files_below, looks_like_dicom


@dataclass(frozen=True)
class Series:
    """Pictures that belong in one stack, in the order of their position.

    Attributes
    ----------
    number : int
        By which users choose it, from 1, in the order of the files' names.
    frames : tuple of Frame
    variant : str
        What distinguishes it from a stack at the same position, such as ``"echo time 80"``; mostly empty.
    """

    number: int
    frames: tuple[Frame, ...]
    variant: str = ""

    @property
    def words(self) -> str:
        """Description for users: the scanner's description and the geometry; nothing identifies the patient."""
        first = self.frames[0]
        spacing = "unknown spacing"
        if first.pixel_spacing:
            row, column = first.pixel_spacing
            spacing = f"{column:.2f} x {row:.2f} mm"
        try:
            step = float(np.linalg.norm(affine_of(self.frames, [])[:3, 2]))
            spacing = spacing.replace(" mm", f" x {step:.2f} mm")
        except MedinrError:
            spacing += ", no regular stack"
        parts = (
            first.modality,
            f"{first.description!r}" if first.description else "",
            f"{len(self.frames)} slice{'s' if len(self.frames) > 1 else ''}",
            f"{first.columns} x {first.rows} pixels",
            spacing,
            self.variant,
        )
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Listing:
    """The series of a folder or file, with notes on other files."""

    path: Path
    series: tuple[Series, ...]
    notes: tuple[str, ...]


def list_series(path: Path | str) -> Listing:
    """Find the series in a folder (with its subfolders) or a file, by content; pixels are not read.

    A series is what shares SeriesInstanceUID, matrix, orientation and spacing; where several pictures then
    stand at one place, they are told apart by image type, echo, b-value or time.

    Raises
    ------
    FileError
        When there is nothing there, or no DICOM picture in it.
    """
    path = Path(path)
    notes: list[str] = []
    frames = _gather(path, notes)
    groups: dict[tuple[object, ...], list[Frame]] = {}
    for frame in frames:
        groups.setdefault(_key(frame), []).append(frame)
    stacks = [stack for group in groups.values() for stack in _split_repeated(group)]
    series = (Series(number, stack, words) for number, (stack, words) in enumerate(stacks, start=1))
    return Listing(path, tuple(series), tuple(notes))


def choose_series(listing: Listing, number: int | None) -> Series:
    """Return the only series, or the one of that number.

    Raises
    ------
    FileError
        When a choice is needed or the number is not there; the message lists what there is.
    """
    count = len(listing.series)
    if number is None and count == 1:
        return listing.series[0]
    if number is not None and 1 <= number <= count:
        return listing.series[number - 1]
    found = "; ".join(f"{series.number}: {series.words}" for series in listing.series)
    asked = "" if number is None else f"series {number} was asked for; "
    raise FileError(f"{listing.path}: {asked}there are {count} series, choose with --series N.\n{found}")


def _gather(path: Path, notes: list[str]) -> list[Frame]:
    if path.is_file():
        candidates = [path]
    elif path.is_dir():
        candidates = files_below(path)
    else:
        raise FileError(f"{path}: no such file or folder.")
    if not candidates:
        raise FileError(f"{path}: the folder is empty. Give the folder that holds the DICOM slices.")
    frames: list[Frame] = []
    foreign = without_picture = 0
    for candidate in candidates:
        header = read_header(candidate) if looks_like_dicom(candidate) else None
        if header is None:
            foreign += 1
            continue
        found = frames_of(header, candidate)
        without_picture += not found
        frames.extend(found)
    if not frames:
        raise FileError(
            f"{path}: none of {len(candidates)} file(s) is a DICOM picture. Give a folder of slices, "
            "or a NIfTI file by its name."
        )
    if foreign:
        notes.append(f"{foreign} file(s) that are not DICOM were left aside")
    if without_picture:
        notes.append(f"{without_picture} DICOM file(s) without a picture (report, plan, index) were left aside")
    return frames


def _key(frame: Frame) -> tuple[object, ...]:
    orientation = tuple(round(cosine, 3) + 0.0 for cosine in frame.orientation or ())
    spacing = tuple(round(value, 4) for value in frame.pixel_spacing or ())
    return frame.series, frame.modality, frame.rows, frame.columns, orientation, spacing


def _split_repeated(group: Sequence[Frame]) -> Iterator[tuple[tuple[Frame, ...], str]]:
    try:
        ordered = in_order(group)
    except GeometryError:
        # Listing continues; reading this series raises an error that names the tag and the file.
        yield tuple(group), ""
        return
    if repeated(ordered) is None:
        yield tuple(ordered), ""
        return
    for label in dict.fromkeys(label for label, _ in VARIANTS):
        parts: dict[str, list[Frame]] = {}
        for frame in ordered:
            parts.setdefault(dict(frame.variants).get(label, ""), []).append(frame)
        if len(parts) > 1:
            for value, part in parts.items():
                for stack, words in _split_repeated(part):
                    yield stack, ", ".join(filter(None, (f"{label} {value or 'not given'}", words)))
            return
    yield tuple(ordered), ""
