"""Series of a folder, a zip archive or a DICOMDIR: which stacks of slices are there, and what else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from medinr.errors import FileError, InputError, MedinrError
from medinr.io.archive import is_zip, unpack
from medinr.io.dicom.directory import is_directory_file, referenced_files
from medinr.io.dicom.frames import Frame, frames_of
from medinr.io.dicom.geometry import affine_of, normal
from medinr.io.dicom.headers import read_header
from medinr.io.dicom.kinds import what_to_do
from medinr.io.dicom.variants import stacks_of, without_copies
from medinr.io.folder import LeftOut, first_bytes, looks_like_dicom, survey

#: Direction cosines of one series agree to within this: 0.1 mm at the far corner of a slice.
SAME_COSINE = 2e-4

#: Pixel spacings of one series agree to within this relative difference.
SAME_SPACING = 1e-4

#: What a file is called whose header cannot be read.
DAMAGED = "a damaged DICOM file"

#: Words in a description or image type that mark scans made for planning other scans.
_LOCALISER_WORDS = (
    "localizer",
    "localiser",
    "scout",
    "topogram",
    "surview",
    "survey",
    "scanogram",
    "3-plane",
    "3plane",
)


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

    @cached_property
    def problem(self) -> str:
        """Why the slices form no regular stack, in words; empty when they do."""
        try:
            affine_of(self.frames, [])
        except MedinrError as error:
            return str(error)
        return ""

    @cached_property
    def kind(self) -> str:
        """One of ``volume``, ``single slice``, ``localiser``, ``screenshot``, ``colours``, ``no regular stack``."""
        header = self.frames[0].header
        described = " ".join((header.description, *header.image_type)).lower()
        if header.stored.samples != 1 or "PALETTE" in header.stored.photometric:
            return "colours"
        if "Secondary Capture" in header.sop_class:
            return "screenshot"
        if any(word in described for word in _LOCALISER_WORDS):
            return "localiser"
        if self.problem:
            return "no regular stack"
        return "volume" if len(self.frames) > 1 else "single slice"

    @property
    def plane(self) -> str:
        """Axial, coronal or sagittal (nearest, when oblique); empty where the orientation is not known."""
        try:
            along = np.abs(normal(self.frames[0]))
        except MedinrError:
            return ""
        return ("sagittal", "coronal", "axial")[int(np.argmax(along))]

    @property
    def words(self) -> str:
        """Description for users: date, number, the scanner's description, geometry; nothing names the patient."""
        first = self.frames[0]
        header = first.header
        spacing = "unknown spacing"
        if first.pixel_spacing:
            row, column = first.pixel_spacing
            spacing = f"{column:.2f} x {row:.2f} mm"
        if self.problem:
            spacing += ", no regular stack"
        else:
            step = float(np.linalg.norm(affine_of(self.frames, [])[:3, 2]))
            spacing = spacing.replace(" mm", f" x {step:.2f} mm")
        parts = (
            header.modality,
            f"{header.description!r}" if header.description else "",
            header.date,
            "" if header.number is None else f"no. {header.number}",
            "contrast agent" if header.contrast_agent else "",
            f"{len(self.frames)} slice{'s' if len(self.frames) > 1 else ''}",
            self.plane,
            f"{first.columns} x {first.rows} pixels",
            spacing,
            self.variant,
            self.kind if self.kind in ("localiser", "screenshot", "colours") else "",
        )
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Listing:
    """The series below a path, and what else is there.

    Attributes
    ----------
    path : Path
        As it was given.
    series : tuple of Series
    left_out : tuple of LeftOut
        Files that are no part of any series; their names are for the terminal alone.
    notes : tuple of str
        The same in numbers, without names.
    """

    path: Path
    series: tuple[Series, ...]
    left_out: tuple[LeftOut, ...]

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What was left out, counted by kind; nothing names a file."""
        counts = Counter(one.kind for one in self.left_out)
        return tuple(f"left aside: {count} x {kind}" for kind, count in counts.items())

    def lost_beside(self, series: Series) -> list[Path]:
        """Return unreadable files in the folders of a series: each may be one of its slices."""
        folders = {frame.path.parent for frame in series.frames}
        return [one.path for one in self.left_out if one.lost and one.path.parent in folders]


def is_dicom_source(path: Path) -> bool:
    """Whether a path is for the DICOM reader: a folder, a DICOM file, or a zip archive.

    Raises
    ------
    FileError
        When it is a file that cannot be read.
    """
    return path.is_dir() or (path.is_file() and (looks_like_dicom(path) or is_zip(path)))


def list_series(path: Path | str) -> Listing:
    """Find the series in a folder (with its subfolders), a zip archive, a DICOMDIR or a file; pixels are not read.

    A series is what shares patient, SeriesInstanceUID, frame of reference, matrix, orientation and spacing; where
    several pictures then stand at one place, they are told apart by image type, echo, b-value or time.

    Raises
    ------
    FileError
        When there is nothing there, or no DICOM picture in it.
    """
    path = Path(path)
    left_out: list[LeftOut] = []
    frames = _gather(path, left_out)
    frames, copies = without_copies(frames)
    left_out += [LeftOut(copy.path, "a second copy of a slice") for copy in copies]
    stacks = [(stack, _joined(owner, words)) for owner, group in _groups(frames) for stack, words in stacks_of(group)]
    series = (Series(number, stack, words) for number, (stack, words) in enumerate(stacks, start=1))
    return Listing(path, tuple(series), tuple(left_out))


def _candidates(path: Path, left_out: list[LeftOut]) -> list[Path]:
    if path.is_file() and is_zip(path):
        return _below(unpack(path), path, left_out)
    if path.is_file():
        return referenced_files(path, left_out) if is_directory_file(path) else [path]
    if path.is_dir():
        return _below(path, path, left_out)
    first_bytes(path, 1)  # says why there is nothing: no such file, or a link that leads nowhere
    raise FileError(f"{path}: neither a file nor a folder.")


def _below(folder: Path, path: Path, left_out: list[LeftOut]) -> list[Path]:
    files, unreadable = survey(folder)
    left_out += unreadable
    if not files and not unreadable:
        raise FileError(f"{path}: the folder is empty. Give the folder that holds the DICOM slices.")
    return files


def _gather(path: Path, left_out: list[LeftOut]) -> list[Frame]:
    candidates = _candidates(path, left_out)
    frames: list[Frame] = []
    reasons: list[str] = []
    for candidate in candidates:
        try:
            header = read_header(candidate) if looks_like_dicom(candidate) else None
            found = "not DICOM" if header is None else frames_of(header, candidate)
        except InputError as error:
            if candidate == path:
                raise
            reasons.append(str(error))
            left_out.append(LeftOut(candidate, DAMAGED))
            continue
        if isinstance(found, str):
            left_out.append(LeftOut(candidate, found))
        else:
            frames += found
    if not frames:
        raise FileError(_nothing(path, len(candidates), left_out, reasons))
    return frames


def _nothing(path: Path, count: int, left_out: Sequence[LeftOut], reasons: Sequence[str]) -> str:
    kinds = Counter(one.kind for one in left_out)
    if path.is_file() and len(left_out) == 1 and left_out[0].path == path and left_out[0].kind != "not DICOM":
        return f"{path}: {left_out[0].kind}, not a scan. {what_to_do(left_out[0].kind)}"
    found = "; ".join(f"{number} x {kind}" for kind, number in kinds.items())
    named = [one.path.name for one in left_out if one.may_be_missed and one.kind != DAMAGED]
    lines = [
        f"{path}: none of {count} file(s) is a DICOM picture. Give a folder of slices, or a NIfTI file by its name."
    ]
    if found:
        lines.append(f"There: {found}.")
    if named:
        lines.append(f"Not readable: {', '.join(named)}.")
    lines += reasons[:3]
    advice = {what_to_do(kind) for kind in kinds} - {what_to_do("")}
    return "\n".join([*lines, *advice])


def _groups(frames: Sequence[Frame]) -> list[tuple[str, list[Frame]]]:
    """Frames of one series, matrix, orientation and spacing, and whose they are where one series has two owners."""
    groups: list[list[Frame]] = []
    by_key: dict[tuple[object, ...], list[list[Frame]]] = {}
    owners: dict[str, dict[str, dict[str, int]]] = {}
    for frame in frames:
        header = frame.header
        for kind, owner in (("patient", header.patient), ("frame of reference", header.frame_of_reference)):
            known = owners.setdefault(header.series, {}).setdefault(kind, {})
            known.setdefault(owner, len(known) + 1)
        size = (header.modality, frame.rows, frame.columns, header.stored.samples)
        alike = by_key.setdefault((header.patient, header.series, header.frame_of_reference, *size), [])
        group = next((group for group in alike if _same_plane(group[0], frame)), None)
        if group is None:
            group = []
            alike.append(group)
            groups.append(group)
        group.append(frame)
    return [(_owner(group[0], owners[group[0].header.series]), group) for group in groups]


def _owner(frame: Frame, owners: dict[str, dict[str, int]]) -> str:
    """Say which patient and frame of reference it is, where one SeriesInstanceUID has several of them."""
    mine = {"patient": frame.header.patient, "frame of reference": frame.header.frame_of_reference}
    return ", ".join(f"{kind} {known[mine[kind]]}" for kind, known in owners.items() if len(known) > 1)


def _joined(*words: str) -> str:
    return ", ".join(filter(None, words))


def _same_plane(a: Frame, b: Frame) -> bool:
    return _close(a.orientation, b.orientation, SAME_COSINE, 0.0) and _close(
        a.pixel_spacing, b.pixel_spacing, 0.0, SAME_SPACING
    )


def _close(a: tuple[float, ...] | None, b: tuple[float, ...] | None, absolute: float, relative: float) -> bool:
    if a is None or b is None:
        return a is b
    return bool(np.allclose(a, b, atol=absolute, rtol=relative))


__all__ = ["DAMAGED", "Listing", "Series", "is_dicom_source", "list_series"]
