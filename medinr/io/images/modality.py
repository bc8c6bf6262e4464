"""Modality and component of a scan whose format does not name them, by the best evidence at hand.

In this order: what the caller says, the JSON sidecar, the file's name, the header's text, the values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.errors import UnitError
from medinr.io.images.bids import stem_of
from medinr.io.images.intensities import are_signed, resemble_ct, resemble_phase, sample_values
from medinr.volume import MODALITIES

#: How to correct a guess.
_OVERRIDE = "say --modality to override"

#: Words of a file name (between `_`, `-`, `.` and blanks) that name the modality.
# fmt: off
_MR_WORDS = frozenset((
    "mr", "mri", "fmri", "t1", "t2", "pd", "t1w", "t2w", "pdw", "t1c", "t1ce", "t1gd", "t2star", "t2starw", "flair",
    "bold", "cbv", "sbref", "dwi", "dti", "adc", "swi", "asl", "m0scan", "epi", "mprage", "mp2rage", "unit1", "tse",
    "gre", "megre", "mese", "vfa", "t1map", "t2map", "t2starmap", "r1map", "r2map", "r2starmap", "pdmap", "chimap",
    "tb1map", "tb1epi", "phasediff", "fieldmap", "magnitude", "magnitude1", "magnitude2", "phase1", "phase2",
    "angio", "inplanet1", "inplanet2",
))
# fmt: on
_CT_WORDS = frozenset(("ct", "cbct", "ldct", "ncct", "cta"))
_OTHER_WORDS = frozenset(("pet", "spect"))

#: Last words of a file name that name the part of the complex signal (BIDS, dcm2niix).
_LAST_WORDS = {
    "ph": "phase",
    "phase": "phase",
    "phase1": "phase",
    "phase2": "phase",
    "phasediff": "phase",
    "mag": "magnitude",
    "magnitude": "magnitude",
    "magnitude1": "magnitude",
    "magnitude2": "magnitude",
    "real": "real",
    "imag": "imaginary",
    "imaginary": "imaginary",
}
_PARTS = {"mag": "magnitude", "phase": "phase", "real": "real", "imag": "imaginary"}

#: Values of a scan that is named CT reach at least down to fat, or they may be no HU.
_FAT_HU = -100.0

#: With one of these words, "phase" is one of the contrast agent, the heart or the breath.
# fmt: off
_OTHER_PHASES = frozenset((
    "arterial", "venous", "portal", "portovenous", "delayed", "late", "early", "nephrographic", "excretory",
    "corticomedullary", "equilibrium", "systolic", "diastolic", "systole", "diastole", "cardiac", "breathing",
    "respiratory", "expiration", "inspiration", "contrast", "native",
))
# fmt: on

#: Words of DICOM's ImageType that name the part of the complex signal.
_IMAGE_TYPES = {
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
    "PHASE_MAP": "phase",
    "M": "magnitude",
    "MAGNITUDE": "magnitude",
    "M_FFE": "magnitude",
    "M_SE": "magnitude",
    "R": "real",
    "REAL": "real",
    "R_FFE": "real",
    "I": "imaginary",
    "IMAGINARY": "imaginary",
    "I_FFE": "imaginary",
}

#: Keys of a sidecar that only one modality has.
_MR_KEYS = ("EchoTime", "RepetitionTime", "MagneticFieldStrength", "FlipAngle", "InversionTime")
_CT_KEYS = ("KVP",)


@dataclass(frozen=True)
class Kind:
    """What a scan shows.

    Attributes
    ----------
    modality : {"MR", "CT", "OT"}
    unit : {"a.u.", "HU"}
    component : str
        One of `medinr.volume.COMPONENTS`.
    notes : tuple of str
        Every guess in words.
    """

    modality: str
    unit: str
    component: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Evidence:
    modality: str = ""
    component: str = ""
    source: str = ""


def find_kind(
    array: NDArray[Any],
    path: Path,
    modality: str | None = None,
    sidecar: Mapping[str, Any] | None = None,
    header_text: str = "",
) -> Kind:
    """Find a scan's modality, unit and component.

    Parameters
    ----------
    array : ndarray, shape (z, y, x), float32 or complex64
    path : Path
        Only the file's name is looked at.
    modality : {"MR", "CT", "OT"}, optional
        What the caller says.
    sidecar : mapping, optional
        Fields from `medinr.io.images.bids.read_sidecar`.
    header_text : str
        Free text of the header.

    Returns
    -------
    Kind
        Phase, real and imaginary parts are MR in arbitrary units and keep every value.

    Raises
    ------
    UnitError
        When `modality` is none of those.
    """
    if modality is not None and modality not in MODALITIES:
        raise UnitError(f"Modality {modality!r} is not one of {', '.join(MODALITIES)}.")
    if np.iscomplexobj(array):
        return Kind(modality or "MR", "a.u.", "complex")
    evidence = [_of_sidecar(sidecar or {}), _of_name(path), _of_header(header_text)]
    values = sample_values(array)
    if modality is not None:
        return _as_told(modality, evidence, values)
    if resemble_ct(values):
        # An arterial phase is a CT: a name that only ends in "phase" is too weak against the values.
        evidence = [item for item in evidence if not (item.component and not item.modality)]
    for item in evidence:
        if item.modality or item.component:
            return _by_evidence(item, evidence, values)
    return _by_values(values)


def _as_told(modality: str, evidence: list[_Evidence], values: NDArray[np.float32]) -> Kind:
    if modality != "MR":
        return Kind(modality, "HU" if modality == "CT" else "a.u.", "")
    component, source = _component(evidence)
    if component:
        return Kind("MR", "a.u.", component, (f"taken as {component} of the MR signal, because {source} says so",))
    if resemble_phase(values):
        return Kind("MR", "a.u.", "phase", (_phase_words(values),))
    return Kind("MR", "a.u.", "")


def _by_evidence(item: _Evidence, evidence: list[_Evidence], values: NDArray[np.float32]) -> Kind:
    if item.modality == "CT":
        unit, reservation = _unit_of_ct(values)
        return Kind("CT", unit, "", (f"taken as CT, because {item.source} says so; {_OVERRIDE}", *reservation))
    if item.modality == "OT":
        return Kind("OT", "a.u.", "", (f"taken as neither MR nor CT, because {item.source} says so; {_OVERRIDE}",))
    component, _ = _component(evidence)
    what = f"MR, {component}," if component else "MR,"
    notes = [f"taken as {what} because {item.source} says so; {_OVERRIDE}"]
    if not component and resemble_phase(values):
        component = "phase"
        notes.append(_phase_words(values))
    elif resemble_ct(values):
        notes.append("its values are distributed as those of a CT in HU; if it is one, say --modality CT")
    return Kind("MR", "a.u.", component, tuple(notes))


def _by_values(values: NDArray[np.float32]) -> Kind:
    if resemble_ct(values):
        words = "its values have the peaks of air and soft tissue in Hounsfield units"
        return Kind("CT", "HU", "", (f"taken as CT in HU, because {words}; {_OVERRIDE}",))
    if resemble_phase(values):
        return Kind("MR", "a.u.", "phase", (_phase_words(values),))
    notes = [f"taken as MR, because no sidecar, name or value says otherwise; {_OVERRIDE}"]
    if are_signed(values):
        notes.append(
            f"values reach down to {values.min():g} without the peaks of a CT in HU: a signed map (a difference, a "
            "phase)? Of a CT without air around the body, say --modality CT"
        )
    return Kind("MR", "a.u.", "", tuple(notes))


def _phase_words(values: NDArray[np.float32]) -> str:
    return (
        f"taken as phase of the MR signal, because its values fill the range {values.min():.5g} to {values.max():.5g}; "
        f"{_OVERRIDE}"
    )


def _unit_of_ct(values: NDArray[np.float32]) -> tuple[str, tuple[str, ...]]:
    if values.size and values.min() <= _FAT_HU:
        return "HU", ()
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    return "a.u.", (f"values from {low:g} to {high:g} are not evidently HU; --modality CT takes them so",)


def _component(evidence: list[_Evidence]) -> tuple[str, str]:
    return next(((item.component, item.source) for item in evidence if item.component), ("", ""))


def _of_sidecar(fields: Mapping[str, Any]) -> _Evidence:
    source = "the JSON sidecar"
    named = str(fields.get("Modality", "")).strip().upper()
    if named in ("MR", "MRI"):
        modality = "MR"
    elif named == "CT":
        modality = "CT"
    elif named:
        modality = "OT"
    elif any(key in fields for key in _MR_KEYS):
        modality = "MR"
    else:
        modality = "CT" if any(key in fields for key in _CT_KEYS) else ""
    component = {"MAGNITUDE": "magnitude", "PHASE": "phase", "REAL": "real", "IMAGINARY": "imaginary"}.get(
        str(fields.get("ComplexImageComponent", "")).strip().upper(), ""
    )
    words = fields.get("ImageType")
    if not component and isinstance(words, list):
        # dcm2niix appends the part of the signal; of several words the last is the most specific.
        found = [_IMAGE_TYPES[word.upper()] for word in words if isinstance(word, str) and word.upper() in _IMAGE_TYPES]
        component = found[-1] if found else ""
    if not component and str(fields.get("Units", "")).strip().lower() == "rad":
        component = "phase"
    if modality in ("CT", "OT"):
        component = ""
    return _Evidence(modality or ("MR" if component else ""), component, source)


def _of_name(path: Path) -> _Evidence:
    stem = stem_of(path).lower()
    source = "the file's name"
    part = re.search(r"(?:^|_)part-(mag|phase|real|imag)(?:_|$)", stem)
    if part is not None:
        return _Evidence("MR", _PARTS[part[1]], source)
    words = [word for word in re.split(r"[^a-z0-9]+", stem) if word]
    modalities = {
        modality
        for modality, known in (("MR", _MR_WORDS), ("CT", _CT_WORDS), ("OT", _OTHER_WORDS))
        if known & set(words)
    }
    modality = modalities.pop() if len(modalities) == 1 else ""
    if not words or modality in ("CT", "OT") or _OTHER_PHASES & set(words):
        return _Evidence(modality, "", source)
    # dcm2niix adds a letter when the name is taken: _pha, _phb.
    last = re.sub(r"^ph[a-z]$", "ph", words[-1])
    component = _LAST_WORDS.get(last, "") if len(words) > 1 or last.startswith("phase") else ""
    if not component and "phase" in words:
        component = "phase"
    return _Evidence(modality, component, source)


def _of_header(text: str) -> _Evidence:
    source = "the header's description"
    if re.search(r"(?i)\bphase[ _-]?(?:image|map)\b", text):
        return _Evidence("MR", "phase", source)
    named = {word.upper() for word in re.findall(r"(?i)\bmodality\s*[=:]\s*(MR|CT)\b", text)}
    return _Evidence(named.pop(), "", source) if len(named) == 1 else _Evidence()
