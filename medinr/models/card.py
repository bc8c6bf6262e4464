"""The card of a model: what it is, and whose scans it has seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medinr.errors import CheckpointError
from medinr.io.provenance import last_part
from medinr.priors.denoiser import DenoiserSettings
from medinr.priors.scan_denoiser import ScanDenoiserSettings

if TYPE_CHECKING:
    from medinr.network.trunk import TrunkSettings


@dataclass(frozen=True)
class ModelCard:
    """What a model is and what it has seen.

    Attributes
    ----------
    name : str
    modality : {"MR", "CT"}
    unit : str
        What the trunk's heads were trained to give, in words.
    length_scale : float
        Millimetres per unit of network coordinate.
    grid_shape, grid_spacing : tuple
        Training grid (y, x) in pixels and its spacing in mm.
    architecture : dict
        Of the trunk; `trunk_settings` reads it.
    prior : DenoiserSettings or None
        Architecture of the denoiser trained on the same scans, if there is one; a copy for magnitudes has the
        same, the auxiliary-input denoiser has auxiliary channels beside.
    subjects, scan_hashes, scans, licences : tuple of str
        Who and what it was trained on; an evaluation refuses them.
    settings : dict
        Training settings. The manifest is given by its file name and hash: folders may be called after patients.
    results : dict
        Figures reached in training.
    medinr_version : str
    scan_denoiser : ScanDenoiserSettings or None
        Architecture of the denoiser for scans as they were acquired, if there is one.
    """

    name: str
    modality: str
    unit: str
    length_scale: float
    grid_shape: tuple[int, int]
    grid_spacing: tuple[float, float]
    architecture: dict[str, Any]
    prior: DenoiserSettings | None
    subjects: tuple[str, ...]
    scan_hashes: tuple[str, ...]
    scans: tuple[str, ...]
    licences: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    medinr_version: str = ""
    scan_denoiser: ScanDenoiserSettings | None = None

    def __post_init__(self) -> None:
        manifest = self.settings.get("manifest")
        if isinstance(manifest, str):
            # Cards of earlier versions had the path.
            object.__setattr__(self, "settings", {**self.settings, "manifest": last_part(manifest)})

    @property
    def trunk_settings(self) -> TrunkSettings:
        """Architecture of the trunk.

        Raises
        ------
        CheckpointError
            When it is none that this version knows.
        """
        # The networks' part is loaded only where a network is wanted.
        from medinr.network.trunk import TrunkSettings

        try:
            return TrunkSettings(**self.architecture)
        except TypeError as error:
            raise CheckpointError(f"The card of {self.name} is not a model's ({error}). Train it again.") from error
