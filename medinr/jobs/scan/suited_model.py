"""The model for a scan: the one that was named, that of its modality, or (auto) the general one for unusual scans."""

from __future__ import annotations

from dataclasses import dataclass

from medinr.jobs.scan.likeness import scan_likeness
from medinr.models.checkpoint import load_model_for
from medinr.models.model import Model
from medinr.models.suited import AUTO, GENERAL, SPECIAL
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume


@dataclass(frozen=True, eq=False)
class ScanModel:
    """A model, its name, and whether the scan chose it.

    Attributes
    ----------
    name : str
    model : Model
    by_scan : bool
        Whether it may still give way to another.
    note : str
        Why it was chosen, in words.
    """

    name: str
    model: Model
    by_scan: bool = False
    note: str = ""

    def suited_to(self, scan: Volume, noise: ScanNoise) -> ScanModel:
        """The same, or the general model where the scan is unlike those that this one was trained on."""
        general = GENERAL.get(_modality(scan))
        if not self.by_scan or general is None:
            return self
        seen = scan_likeness(scan, noise, self.model)
        if seen is None or seen.passed:
            return self
        note = f"model {general}: for {self.name} the scan is {seen.words}"
        return ScanModel(general, load_model_for(general, _modality(scan)), note=note)


def open_scan_model(scan: Volume, name: str | None) -> ScanModel:
    """Load the model that was named, or the one for the usual scans of a modality; MR's where there is none.

    Raises
    ------
    CheckpointError
        When it is missing, or of another modality.
    """
    modality = _modality(scan)
    chosen = SPECIAL[modality] if name is None or name == AUTO else name
    return ScanModel(chosen, load_model_for(chosen, modality), by_scan=name == AUTO)


def _modality(scan: Volume) -> str:
    return scan.modality if scan.modality in SPECIAL else "MR"
