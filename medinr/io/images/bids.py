"""What stands beside a scan in BIDS and dcm2niix: JSON sidecars, b-values, and what file names say.

Source: Brain Imaging Data Structure 1.10 (Gorgolewski et al., 2016), "Common principles", "Magnetic resonance imaging".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medinr.io.recognise import is_accessible
from medinr.volume import ScanFacts

#: A sidecar of more bytes is not read.
MOST_SIDECAR_BYTES = 1_000_000

#: Endings of scans, longest first; what stands before them is the stem that sidecars share.
ENDINGS: tuple[str, ...] = (
    ".nii.gz",
    ".hdr.gz",
    ".img.gz",
    ".mgh.gz",
    ".nii",
    ".hdr",
    ".img",
    ".mgz",
    ".mgh",
    ".nrrd",
    ".nhdr",
)
ENDINGS += (".mha", ".mhd")

#: The only keys that are taken from a sidecar; nothing that names a person, a place or a day is among them.
KEYS = (
    "AcquisitionMatrixPE",
    "BaseResolution",
    "ComplexImageComponent",
    "EchoTime",
    "FlipAngle",
    "ImageType",
    "InPlanePhaseEncodingDirectionDICOM",
    "InversionTime",
    "KVP",
    "LossyImageCompression",
    "LossyImageCompressionMethod",
    "LossyImageCompressionRatio",
    "MagneticFieldStrength",
    "Modality",
    "RepetitionTime",
    "SliceThickness",
    "SliceTiming",
    "Units",
)

#: Folders above a scan in which a BIDS data set's root is looked for (subject, session, kind of data, root).
_LEVELS = 4

_MOST_SLICE_TIMES = 10_000

#: Parts of file names that differ between two scans which belong together, and what the second is.
_PARTNERS = (
    ("_part-mag", "_part-phase", "phase"),
    ("_part-phase", "_part-mag", "magnitude"),
    ("_part-real", "_part-imag", "imaginary part"),
    ("_part-imag", "_part-real", "real part"),
    ("_magnitude1", "_phase1", "phase"),
    ("_magnitude2", "_phase2", "phase"),
    ("_phase1", "_magnitude1", "magnitude"),
    ("_phase2", "_magnitude2", "magnitude"),
)
_END_PARTNERS = (
    ("_imaginary", "_real", "real part"),
    ("_real", "_imaginary", "imaginary part"),
    ("_magnitude", "_phase", "phase"),
    ("_phase", "_magnitude", "magnitude"),
    ("_mag", "_phase", "phase"),
    ("_phase", "_mag", "magnitude"),
    ("_ph", "", "magnitude"),
    ("", "_ph", "phase"),
)


def stem_of(path: Path) -> str:
    """File name without the ending of a scan.

    Examples
    --------
    >>> stem_of(Path("sub-01_part-phase_bold.nii.gz"))
    'sub-01_part-phase_bold'
    """
    lower = path.name.lower()
    for ending in ENDINGS:
        if lower.endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def read_sidecar(scan: Path) -> tuple[dict[str, Any], list[str]]:
    """Read the known keys of a scan's JSON sidecars: those of a BIDS data set's upper folders, then its own.

    Parameters
    ----------
    scan : Path

    Returns
    -------
    fields : dict
        Known keys only (`KEYS`), values as they stand; empty where there is no sidecar.
    notes : list of str
        In words, when a sidecar was not read. A bad sidecar never keeps a scan from being read.
    """
    fields: dict[str, Any] = {}
    notes: list[str] = []
    for sidecar in _sidecars(scan):
        reason, content = _json_object(sidecar)
        if reason:
            notes.append(f"a JSON sidecar was not read: {reason}")
        fields.update({key: content[key] for key in KEYS if key in content})
    return fields, notes


def facts_of(fields: Mapping[str, Any]) -> ScanFacts:
    """Facts of the acquisition from a sidecar; BIDS gives times in s, `ScanFacts` holds ms. Odd values are left out."""
    words = fields.get("ImageType")
    thickness = _positive(fields, "SliceThickness")
    return ScanFacts(
        image_type=tuple(_plain_words(words)) if isinstance(words, list) else (),
        thickness=thickness,
        acquired_matrix=_acquired_matrix(fields),
        lossy=_lossy(fields),
        echo_time=_milliseconds(fields, "EchoTime"),
        repetition_time=_milliseconds(fields, "RepetitionTime"),
        inversion_time=_milliseconds(fields, "InversionTime"),
        flip_angle=_positive(fields, "FlipAngle"),
        field_strength=_positive(fields, "MagneticFieldStrength"),
        slice_times=_slice_times(fields.get("SliceTiming")),
    )


def read_b_value(scan: Path, index: int) -> float | None:
    """b-value (s/mm^2) of one volume of a diffusion scan, from the ``.bval`` file beside it; None without one."""
    path = scan.with_name(f"{stem_of(scan)}.bval")
    if not is_accessible(path) or path.stat().st_size > MOST_SIDECAR_BYTES:
        return None
    try:
        values = [float(word) for word in path.read_text("utf-8").split()]
    except (ValueError, OSError):
        return None
    usable = index < len(values) and math.isfinite(values[index]) and values[index] >= 0
    return values[index] if usable else None


def partner_note(scan: Path) -> str:
    """Return a note when the phase of a magnitude, or another part of the signal, lies beside it; else nothing."""
    stem = stem_of(scan)
    ending = scan.name[len(stem) :]
    for mine, theirs, what in _PARTNERS:
        if mine in stem and is_accessible(scan.with_name(stem.replace(mine, theirs) + ending)):
            return _partner_words(what)
    for mine, theirs, what in _END_PARTNERS:
        if stem.endswith(mine):
            name = stem[: len(stem) - len(mine)] + theirs
            if name != stem and is_accessible(scan.with_name(name + ending)):
                return _partner_words(what)
    return ""


def _partner_words(what: str) -> str:
    return f"the {what} of this scan lies beside it; medinr.io.images.complex_pairs joins the two to a complex scan"


def _sidecars(scan: Path) -> Iterator[Path]:
    stem = stem_of(scan)
    root = _data_set_root(scan)
    if root is not None:
        yield from _inherited(scan, stem, root)
    yield scan.with_name(f"{stem}.json")


def _data_set_root(scan: Path) -> Path | None:
    """Folder above a scan that holds a data set's description, when the scan is named by BIDS."""
    if not _is_named_by_bids(scan):
        return None
    for folder in list(scan.absolute().parents)[: _LEVELS + 1]:
        if is_accessible(folder / "dataset_description.json"):
            return folder
    return None


def _is_named_by_bids(scan: Path) -> bool:
    """Whether a name starts with BIDS's subject entity (``sub-...``)."""
    return re.match(r"sub-[A-Za-z0-9]+", scan.name) is not None


def _inherited(scan: Path, stem: str, root: Path) -> Iterator[Path]:
    # The inheritance principle: same suffix, and no entity that the scan does not have; the root's come first.
    own = stem.split("_")
    folders = [folder for folder in scan.absolute().parents if folder == root or root in folder.parents]
    for folder in reversed(folders):
        try:
            candidates = sorted(folder.glob(f"*{own[-1]}.json"))
        except OSError:
            continue
        for candidate in candidates:
            parts = candidate.stem.split("_")
            if parts[-1] == own[-1] and candidate.stem != stem and set(parts[:-1]) <= set(own[:-1]):
                yield candidate


def _json_object(path: Path) -> tuple[str, dict[str, Any]]:
    """Reason why it was not read (empty when it was, or is not there), and content."""
    try:
        if path.is_symlink() and path.resolve().parent != path.parent.resolve():
            return "it is a link out of the scan's folder", {}
        if not path.is_file():
            return "", {}
        if path.stat().st_size > MOST_SIDECAR_BYTES:
            return f"it holds more than {MOST_SIDECAR_BYTES} bytes", {}
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        return f"it cannot be opened ({error.strerror})", {}
    except (ValueError, RecursionError):
        return "it is no valid JSON", {}
    return ("", content) if isinstance(content, dict) else ("it is no JSON object", {})


def _number(fields: Mapping[str, Any], key: str) -> float | None:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _positive(fields: Mapping[str, Any], key: str) -> float | None:
    number = _number(fields, key)
    return number if number is not None and number > 0 else None


def _milliseconds(fields: Mapping[str, Any], key: str) -> float | None:
    seconds = _positive(fields, key)
    return None if seconds is None else seconds * 1000


def _slice_times(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) > _MOST_SLICE_TIMES:
        return ()
    times = [_number({"time": value}, "time") for value in values]
    known = [time for time in times if time is not None and time >= 0]
    return tuple(known) if len(known) == len(times) else ()


def _plain_words(values: list[Any]) -> Iterator[str]:
    # Words of DICOM's ImageType only; a sidecar may hold anything.
    for value in values[:32]:
        if isinstance(value, str) and re.fullmatch(r"[A-Z0-9_ .:+-]{1,32}", value):
            yield value


def _acquired_matrix(fields: Mapping[str, Any]) -> tuple[int, int] | None:
    frequency, phase = _positive(fields, "BaseResolution"), _positive(fields, "AcquisitionMatrixPE")
    direction = fields.get("InPlanePhaseEncodingDirectionDICOM")
    if frequency is None or phase is None or direction not in ("ROW", "COL"):
        return None
    return (int(frequency), int(phase)) if direction == "COL" else (int(phase), int(frequency))


def _lossy(fields: Mapping[str, Any]) -> str:
    if str(fields.get("LossyImageCompression", "")).strip() not in ("01", "1", "YES", "True"):
        return ""
    ratio = _positive(fields, "LossyImageCompressionRatio")
    return "lossy compression" + (f", 1:{ratio:g}" if ratio is not None else "")
