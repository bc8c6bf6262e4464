"""What a folder holds that may be a scan: DICOM series and files of other formats, and what is left out and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from medinr.errors import FileError, InputError
from medinr.io.dicom.series import Listing, Series, list_series
from medinr.io.folder import survey
from medinr.io.images.bids import stem_of
from medinr.io.images.pairs import scan_files
from medinr.io.recognise import recognise

#: Kinds of files that hold a scan each (`medinr.io.recognise`).
_SCANS = ("nifti", "analyze", "mgh", "nrrd", "metaimage")

#: Kinds of DICOM series that are no scan.
_NO_SCANS = {
    "localiser": "a localiser",
    "screenshot": "a picture of a screen (secondary capture)",
    "colours": "colours, not intensities",
}

#: A series of more stacks (time points, diffusion directions) is left out, as a file of four dimensions is.
_MOST_STACKS = 8

#: Longest reason that is shown.
_LONGEST = 300


@dataclass(frozen=True)
class Candidate:
    """A DICOM series, or a file of another format.

    Attributes
    ----------
    path : Path
        File, or folder of the series.
    name : str
        The same below the folder that is searched, with the number of the series, for messages.
    series : int or None
        Its number where `path` holds several.
    files : tuple of Path
    stack : tuple of (Listing, Series) or None
        Of DICOM, what was found at `path`.
    words : str
        Description of the series, or name of the file; tells the contrast and is not written.
    agent : bool
        Whether the header names a contrast agent.
    """

    path: Path
    name: str
    series: int | None
    files: tuple[Path, ...]
    stack: tuple[Listing, Series] | None = field(repr=False)
    words: str = field(repr=False)
    agent: bool = False


@dataclass(frozen=True)
class Excluded:
    """A scan, or a file that may have been one, that is not in the manifest.

    Attributes
    ----------
    name : str
        Below the folder that was searched.
    reason : str
    """

    name: str
    reason: str


@dataclass
class Found:
    """Candidates of a folder, what was left out, and numbers of other files by kind."""

    candidates: list[Candidate] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


def find_candidates(root: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Found:
    """Search a folder and its subfolders for scans, by content and not by names; pixels are not read.

    Parameters
    ----------
    root : Path
    progress : callable
        Called with the number of files that were looked at, and of all.

    Raises
    ------
    FileError
        When it is no folder, or cannot be opened.
    """
    if not root.is_dir():
        raise FileError(f"{root}: no such folder. A manifest is built from the folder that holds the scans.")
    files, unreadable = survey(root)
    found = Found(excluded=[Excluded(_below(one.path, root), one.kind) for one in unreadable])
    dicom: list[Path] = []
    inside = root.resolve()
    partners: set[Path] = set()
    for number, file in enumerate(files):
        progress(number, 2 * len(files))
        if file.is_symlink() and not file.resolve().is_relative_to(inside):
            found.excluded.append(Excluded(_below(file, root), "a link that leads out of the folder"))
            continue
        try:
            kind = recognise(file).kind
            if kind == "dicom":
                dicom.append(file)
            elif kind in _SCANS and file not in partners:
                own = scan_files(file)
                partners.update(own)
                name = _below(file, root)
                found.candidates.append(Candidate(file, name, None, own, None, stem_of(file)))
            elif kind not in _SCANS:
                found.others[kind] += 1
        except InputError as error:
            found.excluded.append(Excluded(_below(file, root), in_words(error, root)))
    done = len(files)
    for folder, count in _topmost(dicom).items():
        _series_of(folder, root, found)
        done += count
        progress(done, 2 * len(files))
    progress(2 * len(files), 2 * len(files))
    found.candidates.sort(key=lambda one: (one.path, one.series or 0))
    return found


def in_words(error: InputError, root: Path) -> str:
    """Return an error in one line, paths below the folder."""
    text = str(error).replace(f"{root}{os.sep}", "").replace(str(root), root.name)
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


def _below(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    # A name may hold control characters, which a terminal would obey.
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _topmost(files: Iterable[Path]) -> dict[Path, int]:
    """Folders that hold DICOM files and are not below another such folder, with the number of files below each."""
    counts = Counter(file.parent for file in files)
    topmost: Counter[Path] = Counter()
    for folder, count in counts.items():
        upper = [parent for parent in folder.parents if parent in counts]
        topmost[upper[-1] if upper else folder] += count
    return dict(sorted(topmost.items()))


def _series_of(folder: Path, root: Path, found: Found) -> None:
    try:
        listing = list_series(folder)
    except InputError as error:
        found.excluded.append(Excluded(_below(folder, root), in_words(error, root)))
        return
    for left_out in listing.left_out:
        if left_out.lost or "damaged" in left_out.kind:
            found.excluded.append(Excluded(_below(left_out.path, root), left_out.kind))
        elif left_out.kind != "not DICOM":
            found.others[left_out.kind] += 1
    listings = {folder: listing}
    stacks = Counter(series.frames[0].header.series for series in listing.series)
    for series in listing.series:
        if stacks[series.frames[0].header.series] > _MOST_STACKS:
            continue
        files = tuple(dict.fromkeys(frame.path for frame in series.frames))
        try:
            path, stack = _place(series, files, listings)
        except InputError as error:
            found.excluded.append(Excluded(_below(files[0].parent, root), in_words(error, root)))
            continue
        number = stack.number if len(listings[path].series) > 1 else None
        name = _below(path, root) + (f", series {number}" if number else "")
        reason = _NO_SCANS.get(series.kind) or series.problem
        if series.frames[0].modality not in ("MR", "CT"):
            reason = reason or f"modality {series.frames[0].modality[:16]}; a manifest lists MR and CT"
        if reason:
            found.excluded.append(Excluded(name, in_words(InputError(reason), root)))
            continue
        header = series.frames[0].header
        words = " ".join((header.description, *header.image_type, series.variant))
        at_path = listings[path], stack
        found.candidates.append(Candidate(path, name, number, files, at_path, words, header.contrast_agent))
    for uid, count in stacks.items():
        if count > _MOST_STACKS:
            first = next(one for one in listing.series if one.frames[0].header.series == uid)
            reason = f"{count} stacks in one series (time, diffusion); a manifest lists series of up to {_MOST_STACKS}"
            found.excluded.append(Excluded(_below(first.frames[0].path.parent, root), reason))


def _place(series: Series, files: tuple[Path, ...], listings: dict[Path, Listing]) -> tuple[Path, Series]:
    """File or folder of a series, the smallest that holds it, and the series as it is listed there."""
    path = files[0] if len(files) == 1 else Path(os.path.commonpath([file.parent for file in files]))
    if path not in listings:
        listings[path] = list_series(path)
    same = [one for one in listings[path].series if _pictures(one) == _pictures(series)]
    if len(same) != 1:
        raise FileError(f"{path}: the series changed while it was read. Run the command again.")
    return path, same[0]


def _pictures(series: Series) -> list[tuple[Path, int | None]]:
    return [(frame.path, frame.number) for frame in series.frames]
