"""What the configuration of a pretraining may say."""

from __future__ import annotations

from dataclasses import dataclass, field

from medinr.errors import ConfigError
from medinr.network.pretraining import PretrainSettings
from medinr.priors.training_settings import PriorSettings


@dataclass(frozen=True)
class PretrainConfig:
    """`medinr pretrain`: which scans, on which grid, how long.

    Attributes
    ----------
    name : str
        Of the model; the files are called after it.
    manifest : str
        CSV file, relative to the configuration or the name of a shipped manifest.
    modality : {"MR", "CT"}
    contrasts : tuple of str
        Empty: all.
    split : str
    grid : (int, int)
        Training pixels (y, x) of the trunk.
    spacing : float
        Of the training grid in mm.
    slices : int
        How many slices, spread over as many subjects as possible.
    per_scan : int
        Slices per scan at most.
    training : PretrainSettings
        Of the trunk.
    prior : PriorSettings
        Of the denoiser, trained on slices of the same scans in their own grids, and of its copies: for magnitudes, and
        with auxiliary input.
    prior_slices_per_scan : int
    """

    name: str
    manifest: str
    modality: str
    contrasts: tuple[str, ...] = ()
    split: str = "train"
    grid: tuple[int, int] = (128, 128)
    spacing: float = 1.8
    slices: int = 12
    per_scan: int = 2
    training: PretrainSettings = field(default_factory=PretrainSettings)
    prior: PriorSettings = field(default_factory=PriorSettings)
    prior_slices_per_scan: int = 4

    def __post_init__(self) -> None:
        if self.modality != "MR" and self.prior.auxiliary_steps > 0:
            raise ConfigError(
                f"prior.auxiliary_steps is for MR, which has auxiliary scans; modality is {self.modality}. Set it to 0."
            )
