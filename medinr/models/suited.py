"""Which shipped model is for which scans: one for the scans of each modality, and one for all others."""

from __future__ import annotations

#: Name by which the model is chosen by the scan itself.
AUTO = "auto"

#: The model that was trained on the usual scans of a modality.
SPECIAL = {"MR": "brain_mr", "CT": "chest_ct"}

#: The model for scans of a modality that are unlike those.
GENERAL = {"MR": "mr_any"}


def special_model(modality: str) -> str:
    """Name of the model for the usual scans of a modality; MR's where there is none."""
    return SPECIAL.get(modality, SPECIAL["MR"])


def general_model(modality: str) -> str:
    """Name of the model for all other scans of a modality; the special one where there is none."""
    return GENERAL.get(modality if modality in SPECIAL else "MR", special_model(modality))
