"""Texts of a header for listings, without the words by which the same header identifies the patient.

Technicians write names, numbers and dates into descriptions of series and studies. What is removed: every word of an
identifying attribute (the list of PS3.15, table E.1-1, as far as it names persons, numbers and places), dates, UIDs and
long numbers. A name that stands in the description alone cannot be recognised.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

#: What stands in place of what was removed.
REMOVED = "***"

#: Identifying attributes beside those that are names of persons by their type (PN).
_IDENTIFYING = (
    "PatientID",
    "OtherPatientIDs",
    "IssuerOfPatientID",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "MedicalRecordLocator",
    "MilitaryRank",
    "BranchOfService",
    "AccessionNumber",
    "StudyID",
    "AdmissionID",
    "ServiceEpisodeID",
    "FillerOrderNumberImagingServiceRequest",
    "PlacerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "ScheduledProcedureStepID",
    "PerformedProcedureStepID",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "CurrentPatientLocation",
    "StationName",
    "PerformedStationName",
    "DeviceSerialNumber",
    "DeviceUID",
    "GantryID",
    "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers",
)

#: Sequences whose items hold more of them.
_NESTED = (
    "OtherPatientIDsSequence",
    "RequestAttributesSequence",
    "ReferringPhysicianIdentificationSequence",
    "PerformingPhysicianIdentificationSequence",
    "OperatorIdentificationSequence",
    "InstitutionCodeSequence",
)

#: Stand in names of departments and stations, and say nothing there.
_ORDINARY = frozenset({"ct", "mr", "mri", "mrt", "pet"})

#: Shorter words must stand alone; longer ones are found within others too ("Musterfraucontrol").
_ALONE, _WITHIN = 4, 6

#: Letters that have no accent to be stripped.
_LETTERS = {"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i"}

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system command, such as the window's title
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # control sequence
    r"|\x1b[ -/]*[0-~]"
)

_MONTH = r"(?:jan|feb|mar|mär|maer|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-zä]*"
_DATES = re.compile(
    rf"""(?xi)
    (?<!\d) (?P<y>\d{{4}}) [-./_\ ] (?P<m>\d{{1,2}}) [-./_\ ] (?P<d>\d{{1,2}}) (?!\d)
    | (?<!\d) (?P<d2>\d{{1,2}}) [-./_\ ] (?P<m2>\d{{1,2}}) [-./_\ ] (?P<y2>\d{{4}}|\d{{2}}) (?!\d)
    | (?<!\d) (?P<d3>\d{{1,2}}) (?:st|nd|rd|th)? [-./_,\ ]* {_MONTH} [-./_,\ ]* (?:\d{{4}}|\d{{2}}) (?!\d)
    | (?<![^\W\d_]) {_MONTH} [-./_,\ ]* (?P<d4>\d{{1,2}}) (?:st|nd|rd|th)? [-./_,\ ]+ \d{{4}} (?!\d)
    | (?<![^\W\d_]) {_MONTH} [-./_,\ ]* (?:19|20)\d{{2}} (?!\d)
    """
)
_UIDS = re.compile(r"(?<![\d.])[0-2](?:\.\d+){3,}")
_NUMBERS = re.compile(r"\d{6,}")


def scrubbed(text: str, dataset: Dataset) -> str:
    """Remove from a text what identifies the patient, institution or staff by the header that it comes from.

    Call within `medinr.io.dicom.lenient.leniently`, as damaged values raise.

    Parameters
    ----------
    text : str
        Such as SeriesDescription.
    dataset : Dataset
        Header of the same file.

    Returns
    -------
    str
        On one line, without control characters. Words are compared without regard to case and accents, ``ü`` being
        ``u`` or ``ue``; a name of a few letters is removed where it stands alone only.

    Examples
    --------
    >>> header = Dataset()
    >>> header.PatientName, header.PatientBirthDate = "Li^Müller", "19640812"
    >>> scrubbed("Liver t2 MUELLER 12.08.1964 (li)", header)
    'Liver t2 *** *** (***)'
    """
    text = printable(text)
    if not text:
        return text
    hidden = [False] * len(text)
    for start, stop in (*_patterns(text), *_known_words(text, identifying_words(dataset))):
        hidden[start:stop] = [True] * (stop - start)
    pieces = []
    for place, letter in enumerate(text):
        if not hidden[place]:
            pieces.append(letter)
        elif place == 0 or not hidden[place - 1]:
            pieces.append(REMOVED)
    return "".join(pieces)


def printable(text: str) -> str:
    """Remove what is not to be seen: escape sequences of terminals, control and formatting characters, line breaks."""
    text = _ESCAPES.sub("", text)
    text = "".join(" " if letter.isspace() else letter for letter in text)
    return "".join(letter for letter in text if unicodedata.category(letter)[0] != "C").strip()


def identifying_words(dataset: Dataset) -> frozenset[str]:
    """Words of a header's identifying attributes, in small letters without accents; those of one letter do not count.

    Parameters
    ----------
    dataset : Dataset
        Sequences of persons, requests and institutions are searched too, others are not.
    """
    return _words(tuple(_values(dataset)), str(dataset.get("PatientBirthDate") or ""))


@lru_cache(maxsize=32)  # the slices of a series have them in common
def _words(values: tuple[str, ...], birth_date: str) -> frozenset[str]:
    words: set[str] = set()
    for value in values:
        for component in re.split(r"[\^=]", value):
            parts = [word for spelling in _spellings(component) for word in re.findall(r"[^\W_]+", spelling)]
            words.update(parts)
            words.update(part for word in parts for part in re.findall(r"[^\W\d_]{3,}|\d{3,}", word))
            # As a whole, and without the gaps: "von der Leyen" as "vonderleyen", "HOSP-4711" as "HOSP4711".
            for spelling in _spellings(component):
                words |= {spelling.strip(), re.sub(r"[\W_]", "", spelling)}
    words.update(_birth_words(birth_date))
    return frozenset(word for word in words if sum(map(str.isalnum, word)) > 1) - _ORDINARY


def _values(dataset: Dataset) -> Iterator[str]:
    for tag in list(dataset.keys()):
        if _is_name(dataset, BaseTag(tag)):
            yield from _texts(dataset[tag].value)
    for keyword in _IDENTIFYING:
        if keyword in dataset:
            yield from _texts(dataset[keyword].value)
    for keyword in _NESTED:
        if isinstance(items := dataset.get(keyword), Sequence):
            for item in items:
                yield from _values(item)
                yield from _texts(item.get("CodeMeaning"))


def _is_name(dataset: Dataset, tag: BaseTag) -> bool:
    # As it lies in the file: converting every element of every slice takes long.
    element: Any = dataset.get_item(tag)
    kind = element.VR
    if kind is None and not tag.is_private:
        try:
            kind = dictionary_VR(tag)
        except KeyError:
            return False
    return bool(kind == "PN")


def _texts(value: object) -> Iterator[str]:
    for one in value if isinstance(value, (MultiValue, list)) else [value]:
        if one is not None:
            yield one.decode("latin-1") if isinstance(one, bytes) else str(one)


def _birth_words(text: str) -> set[str]:
    """Spellings of a birth date that are not dates by their form: without separators, and the year."""
    try:
        born = datetime.strptime(text[:8], "%Y%m%d")
    except ValueError:
        return set(re.findall(r"\d{2,}", text))
    return {born.strftime(form) for form in ("%Y%m%d", "%d%m%Y", "%m%d%Y", "%y%m%d", "%d%m%y", "%m%d%y", "%Y")}


def _folded(text: str) -> tuple[str, list[int]]:
    """Small letters without accents, and for each the place in the text that it comes from."""
    letters: list[str] = []
    places: list[int] = []
    for place, letter in enumerate(text):
        plain = "".join(_LETTERS.get(part, part) for part in unicodedata.normalize("NFKD", letter.casefold()))
        kept = [part for part in plain if not unicodedata.combining(part)]
        letters += kept
        places += [place] * len(kept)
    return "".join(letters), places


def _spellings(text: str) -> tuple[str, ...]:
    """A text in small letters without accents; with German umlauts as two letters, and those as one."""
    small = unicodedata.normalize("NFC", text).casefold()
    two = small.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")
    one = re.sub(r"(?<=[aou])e", "", small)
    return tuple(dict.fromkeys(_folded(spelling)[0] for spelling in (small, two, one)))


def _patterns(text: str) -> Iterator[tuple[int, int]]:
    for pattern in (_UIDS, _NUMBERS):
        yield from (found.span() for found in pattern.finditer(text))
    for found in _DATES.finditer(text):
        day, month = (next((int(v) for k, v in found.groupdict().items() if k[0] == c and v), 1) for c in "dm")
        # Sizes and ratios have the same form; either order of day and month is in use.
        if 1 <= min(day, month) <= 12 and 1 <= max(day, month) <= 31:
            yield found.span()


def _known_words(text: str, words: frozenset[str]) -> Iterator[tuple[int, int]]:
    folded, places = _folded(text)
    for word in words:
        start = folded.find(word)
        while start >= 0:
            first, last = places[start], places[start + len(word) - 1] + 1
            if len(word) >= _WITHIN or (_edge(text, first, len(word)) and _edge(text, last, len(word))):
                # With the accents that follow as characters of their own.
                while last < len(text) and unicodedata.combining(text[last]):
                    last += 1
                yield first, last
            start = folded.find(word, start + 1)


def _edge(text: str, place: int, length: int) -> bool:
    """Whether a word may begin or end before a place in a text."""
    if place in (0, len(text)):
        return True
    before, after = text[place - 1], text[place]
    if not before.isalnum() or not after.isalnum():
        return True
    if length < _ALONE:
        return False
    if before.isdigit() != after.isdigit():
        return True
    following = text[place + 1 : place + 2]
    return (before.islower() and after.isupper()) or (before.isupper() and after.isupper() and following.islower())
