"""A reconstruction as DICOM beside NIfTI: whether it can be written is asked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medinr.errors import InputError
from medinr.io.dicom.derived.deidentify import require_deidentifier
from medinr.io.dicom.derived.parametric_map import require_parametric_maps, write_parametric_map
from medinr.io.dicom.derived.sources import why_not_dicom
from medinr.io.dicom.derived.write import write_derived_series
from medinr.io.provenance import notes_without_names
from medinr.jobs.reference import Reference
from medinr.volume import Volume

#: Folders within that of the result.
FOLDER = "dicom"
MAPS_FOLDER = f"{FOLDER}/maps"

#: How the pixels were derived, by task (`medinr.io.dicom.derived.header.DERIVATIONS`).
_DERIVATIONS = {"denoise": "denoising", "superres": "resolution"}

#: What the maps hold, in words.
_EXPLANATIONS = {
    "uncertainty": "standard deviation of the reconstruction",
    "null_space": "part of the image that the measurement did not decide",
}


@dataclass(frozen=True)
class DicomPlan:
    """What will be written as DICOM.

    Attributes
    ----------
    wanted : bool
        Whether the source is DICOM.
    reason : str
        Why it cannot be written all the same; empty when it can.
    deidentify : bool
    """

    wanted: bool = False
    reason: str = ""
    deidentify: bool = False


@dataclass(frozen=True)
class DicomOutcome:
    """What was written as DICOM.

    Attributes
    ----------
    facts : dict or None
        For result.json; None where the source is not DICOM.
    outputs : tuple of str
        Names within the folder of the result.
    notes : tuple of str
        For the user.
    """

    facts: dict[str, Any] | None = None
    outputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def plan_dicom(reference: Reference | None, deidentify: bool = False) -> DicomPlan:
    """Ask whether results can be written as DICOM; only headers are read.

    Parameters
    ----------
    reference : Reference or None
        The scan that the measurement was simulated from.
    deidentify : bool

    Raises
    ------
    LibraryError
        When `deidentify` is set and its library is missing.
    """
    if reference is None or reference.scan.provenance.format != "dicom":
        return DicomPlan()
    if deidentify:
        require_deidentifier()
    return DicomPlan(True, why_not_dicom(reference.scan), deidentify)


def write_dicom(
    out: Path,
    plan: DicomPlan,
    volume: Volume,
    maps: Mapping[str, Volume],
    task: str,
    settings: str,
    simulated: bool = False,
) -> DicomOutcome:
    """Write the derived series and the maps; what fails is told, not raised, as the NIfTI result stands.

    Parameters
    ----------
    out : Path
        Folder of the result.
    plan : DicomPlan
    volume : Volume
        The reconstruction, with the source files in its provenance.
    maps : mapping of str to Volume
    task, settings : str
        For the description of the series and of its derivation.
    simulated : bool
        Say there that the measurement was simulated.
    """
    if not plan.wanted:
        return DicomOutcome()
    reason, written = plan.reason, None
    what = "simulated " if simulated else ""
    notes: list[str] = []
    if not reason:
        try:
            written = write_derived_series(
                volume,
                out / FOLDER,
                description=f"medinr {what}{task}",
                settings_summary=settings,
                derivation=_DERIVATIONS.get(task, "reconstruction"),
                overwrite=True,
                deidentify=plan.deidentify,
            )
        except (InputError, OSError) as error:
            reason = str(error)
    if written is None:
        (reason,) = notes_without_names((reason,), volume.provenance.files)
        return DicomOutcome({"written": False, "reason": reason}, (), (f"not written as DICOM: {reason}",))
    notes.extend(written.notes)
    facts: dict[str, Any] = {
        "written": True,
        "quantisation_step": written.step,
        "unit": volume.unit,
        "deidentified": plan.deidentify,
        "maps": [],
    }
    outputs = [FOLDER]
    for name, one in maps.items():
        try:
            require_parametric_maps()
            write_parametric_map(
                one,
                out / MAPS_FOLDER / f"{name}.dcm",
                label=name.upper(),
                explanation=_EXPLANATIONS.get(name, name),
                overwrite=True,
                deidentify=plan.deidentify,
            )
            facts["maps"].append(name)
        except (InputError, OSError) as error:
            notes.append(f"{name} not written as a parametric map: {error}")
    if notes:
        facts["notes"] = list(notes)
    return DicomOutcome(facts, tuple(outputs), tuple(notes))
