"""Which scan is meant, where a path holds several, and how it is to be read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScanChoice:
    """What a user says of a scan beside its path.

    Attributes
    ----------
    index : int or None
        Which volume of a four-dimensional file, from 0.
    series : int or str or None
        Which series of a DICOM folder: its number, its UID, or text that fits its description.
    modality : {"MR", "CT", "OT"} or None
        For formats that do not name it; for DICOM it must agree with the header.
    straighten : bool
        Resample a DICOM stack that leans off the slice normal (gantry tilt) to a straight grid.
    """

    index: int | None = None
    series: int | str | None = None
    modality: str | None = None
    straighten: bool = False


#: Nothing is said beside the path: it holds one scan, which is read as it is.
AS_IT_IS = ScanChoice()
