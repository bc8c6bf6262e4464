"""Who was scanned, and when: read so that pseudonyms can be made, never written or shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from medinr.io.dicom.lenient import leniently

_TAGS = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
)


@dataclass(frozen=True)
class Identity:
    """Identifiers of a person and a study; none is part of the text form.

    Attributes
    ----------
    person : str
        Patient ID with its issuer, or name and birth date where there is no ID; empty when the file has neither.
    study : str
        StudyInstanceUID; may be empty.
    moment : str
        Date and time of the study as digits; empty when the date is unknown.
    """

    person: str = field(repr=False)
    study: str = field(repr=False)
    moment: str = field(repr=False)


def read_identity(path: Path) -> Identity:
    """Read whose a DICOM file is.

    Raises
    ------
    FileError
        When the file is damaged.
    """
    with leniently(path):
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
        number, issuer, name, birth, study, date, time = (str(dataset.get(tag) or "").strip() for tag in _TAGS)
    if number:
        person = f"number|{issuer.upper()}|{number.upper()}"
    else:
        person = f"name|{' '.join(name.upper().replace('^', ' ').split())}|{birth}" if name.strip("^ ") else ""
    digits = date.replace(".", "")
    moment = digits + time.replace(":", "") if len(digits) == 8 and digits.isdigit() else ""
    return Identity(person, study, moment)
