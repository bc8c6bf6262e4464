"""De-identification of headers: the Basic Application Level Confidentiality Profile (PS3.15, annex E), by a library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from medinr.errors import LibraryError

METHOD = "Basic Application Level Confidentiality Profile, by medinr with dicom-anonymizer"
_PROFILE = ("113100", "Basic Application Confidentiality Profile")

#: Edition of the profile's table.
_TABLE = "dicomfields_2024b"

#: The library's name for X/Z/U*: remove, or replace the UIDs in it.
_REFERENCES = "delete_or_empty_or_replace_UID"

#: The library's date in place of others, the year 1, is no valid one for some readers.
_EARLIEST = {"DA": "19000101", "DT": "19000101000000"}

Action = Callable[[Dataset, Any], None]


def require_deidentifier() -> None:
    """Raise `LibraryError` where the library is not installed; to be asked before anything is computed."""
    _rules()


class Deidentifier:
    """Replaces what the profile names; one instance for all objects that refer to each other.

    UIDs are replaced consistently: what was one UID before is one afterwards, in every object that this process
    de-identifies.
    """

    def __init__(self) -> None:
        self._single, self._ranges = _rules()

    def __call__(self, dataset: Dataset) -> None:
        """De-identify a header in place; private tags are expected to be gone."""
        self._clean(dataset)
        codes = [item for item in dataset.get("DeidentificationMethodCodeSequence") or () if "CodeValue" in item]
        if not any(item.CodeValue == _PROFILE[0] for item in codes):
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = _PROFILE[0], "DCM", _PROFILE[1]
            codes.append(item)
        dataset.DeidentificationMethodCodeSequence = codes
        dataset.DeidentificationMethod = METHOD[:64]
        dataset.PatientIdentityRemoved = "YES"
        dataset.LongitudinalTemporalInformationModified = "REMOVED"

    def _clean(self, dataset: Dataset) -> None:
        dataset.remove_private_tags()
        for tag in list(dataset.keys()):
            action = self._action(tag)
            if dataset[tag].VR == "SQ" and getattr(action, "__name__", "") == _REFERENCES:
                # Required references stay, with the UIDs in them replaced below.
                continue
            if action is not None:
                try:
                    action(dataset, (tag.group, tag.element))
                except Exception:
                    # The library has no replacement for a value of this type: nothing is the safe one.
                    del dataset[tag]
        # The library reads the top level only; people and dates stand in sequences too.
        for tag in list(dataset.keys()):
            element = dataset[tag]
            if element.VR == "PN" and (tag.group, tag.element) not in self._single:
                del dataset[tag]
            elif element.VR in _EARLIEST and str(element.value).startswith("0001"):
                element.value = _EARLIEST[element.VR]
            elif element.VR == "SQ":
                for item in element.value:
                    self._clean(item)

    def _action(self, tag: BaseTag) -> Action | None:
        action = self._single.get((tag.group, tag.element))
        if action is not None:
            return action
        for (group, element, group_mask, element_mask), ranged in self._ranges.items():
            if tag.group & group_mask == group & group_mask and tag.element & element_mask == element & element_mask:
                return ranged
        return None


def notes_of(source: Dataset) -> tuple[str, ...]:
    """What de-identification leaves, in words."""
    notes = ["burned-in text and faces are not removed"]
    if source.get("BurnedInAnnotation") == "YES":
        notes.append("the source says that text is burned into its pixels (BurnedInAnnotation YES): check every image")
    if source.get("RecognizableVisualFeatures") == "YES":
        notes.append("the source says that its pixels show a face (RecognizableVisualFeatures YES)")
    return tuple(notes)


def _rules() -> tuple[dict[Any, Action], dict[Any, Action]]:
    try:
        from dicomanonymizer.simpledicomanonymizer import initialize_actions
    except ImportError as error:
        raise LibraryError(
            "De-identification needs the library dicom-anonymizer, which is not installed. "
            "Run pip install dicom-anonymizer."
        ) from error
    rules = initialize_actions(_TABLE)
    single = {tag: action for tag, action in rules.items() if len(tag) == 2}
    ranges = {tag: action for tag, action in rules.items() if len(tag) > 2}
    return single, ranges
