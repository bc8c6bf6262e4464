"""Which shipped model is for which scans: one for the scans of each modality, and one for all others."""

from __future__ import annotations

#: Name by which the model is chosen by the scan itself.
AUTO = "auto"

#: The model that was trained on the usual scans of a modality.
SPECIAL = {"MR": "brain_mr", "CT": "chest_ct"}

#: The model for scans of a modality that are unlike those.
GENERAL = {"MR": "mr_any"}
