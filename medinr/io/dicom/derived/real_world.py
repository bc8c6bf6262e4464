"""Stored numbers to values with a unit, as Real World Value Mapping (PS3.3, C.7.6.16.2.11).

MR has no modality rescaling in its classic standard, and some readers ignore one there but follow this mapping.
"""

from __future__ import annotations

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from medinr.io.dicom.derived.quantisation import Quantisation

#: Codes and meanings of the scheme UCUM, by the unit of a volume.
UNITS = {
    "HU": ("[hnsf'U]", "Hounsfield unit"),
    "a.u.": ("[arb'U]", "arbitrary unit"),
    "1/mm": ("/mm", "per millimeter"),
}

_FIRST = 0x00409216
_LAST = 0x00409211


def real_world_mapping(values: Quantisation, unit: str) -> Dataset:
    """Item of RealWorldValueMappingSequence for the whole range of 16 bits."""
    item, code = Dataset(), Dataset()
    code.CodeValue, code.CodeMeaning = UNITS[unit]
    code.CodingSchemeDesignator = "UCUM"
    item.MeasurementUnitsCodeSequence = [code]
    item.LUTLabel, item.LUTExplanation = "values", f"Values in {UNITS[unit][1]}"
    item.RealWorldValueSlope, item.RealWorldValueIntercept = values.slope, values.intercept
    kind, low, high = ("SS", -(2**15), 2**15 - 1) if values.signed else ("US", 0, 2**16 - 1)
    item.add(DataElement(_FIRST, kind, low))
    item.add(DataElement(_LAST, kind, high))
    return item
