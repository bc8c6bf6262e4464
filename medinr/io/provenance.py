"""Provenance as it may be written: without names of files and without identifiers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from medinr.volume import Provenance

#: What stands in a note in place of a file's name.
A_FILE = "a file"

#: Hexadecimal digits that are kept of a hash that stands for an identifier.
_DIGITS = 16

_HASHED = "sha256:"

#: Names that can only be those of files: anything with a folder in front, and the endings of scans and their sidecars.
_LIKE_A_FILE = re.compile(
    r"""(?x)
    (?<! [^\s('"] ) (?: [A-Za-z]:[\\/] | ~?/ | \.\.?[\\/] ) [^\s,;:()'"]+
    | [^\s,;:()'"\\/]+ \. (?: dcm | ima | nii | hdr | img | mg[hz] | nrrd | nhdr | mh[ad] | json | bvals? | bvecs?
      | h5 | hdf5 | mat | np[yz] | cfl | ya?ml | csv | zip | gz | safetensors | raw | par | rec ) (?: \.gz )? \b
    """,
    re.IGNORECASE,
)

#: Shorter names, and those of small letters alone, may be words of the note itself.
_SHORTEST_STEM = 4


def without_names(provenance: Provenance) -> Provenance:
    """Reduce a provenance to what may be written into a file.

    Files, and the folders that they are in, are often called after patients; a frame of reference UID is found in the
    hospital's archive.

    Parameters
    ----------
    provenance : Provenance

    Returns
    -------
    Provenance
        Without files; the frame of reference is replaced by a hash (the same for the same UID, so that two scans can
        still be compared); notes name no file. Format, hash of the source and facts stay.
    """
    return replace(
        provenance,
        files=(),
        frame_of_reference=hashed_identifier(provenance.frame_of_reference),
        notes=notes_without_names(provenance.notes, provenance.files),
    )


def hashed_identifier(identifier: str) -> str:
    """Hash of an identifier, for comparison only; an empty or hashed one is returned as it is.

    Examples
    --------
    >>> hashed_identifier("1.2.840.1")
    'sha256:f9a13599155b7052'
    >>> hashed_identifier(hashed_identifier("1.2.840.1")) == hashed_identifier("1.2.840.1")
    True
    """
    if not identifier or identifier.startswith(_HASHED):
        return identifier
    return _HASHED + hashlib.sha256(identifier.encode()).hexdigest()[:_DIGITS]


def notes_without_names(notes: Iterable[str], files: Sequence[Path] = ()) -> tuple[str, ...]:
    """Replace names of files in notes by "a file".

    Parameters
    ----------
    notes : iterable of str
    files : sequence of Path
        Known source files; other names are recognised by their folder or their ending.

    Examples
    --------
    >>> notes_without_names(["Doe_John.nii.gz: sform and qform differ", "IM7 was left out"], [Path("scans/IM7")])
    ('a file: sform and qform differ', 'a file was left out')
    """
    names = sorted({name for file in files for name in _names(file)}, key=len, reverse=True)
    known = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?:\.\w+)*(?!\w)" for name in names)) if names else None
    return tuple(_replaced(note, known) for note in notes)


def last_part(path: str) -> str:
    r"""Last part of a path of any system; of a name, the name.

    Examples
    --------
    >>> last_part("D:\\scans\\heads.csv"), last_part("brain_mr")
    ('heads.csv', 'brain_mr')
    """
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def _names(file: Path) -> set[str]:
    stem = file.name.split(".")[0]
    own_word = len(stem) >= _SHORTEST_STEM and not (stem.isalpha() and stem.islower())
    folder = {str(file.parent)} if len(file.parent.parts) > 1 else set()
    return {str(file), file.name, *folder, *({stem} if own_word else ())}


def _replaced(note: str, known: re.Pattern[str] | None) -> str:
    if known is not None:
        note = known.sub(A_FILE, note)
    return _LIKE_A_FILE.sub(A_FILE, note)
