"""What the configuration of a pretraining may say."""

from __future__ import annotations

from dataclasses import dataclass, field

from medinr.errors import ConfigError
from medinr.network.pretraining import PretrainSettings
from medinr.priors.scan_training import ScanDenoiserTraining
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
    scan_denoiser : ScanDenoiserTraining
        Of the denoiser for scans as they were acquired, trained on the whole scans.
    general : float
        Share of the denoisers' patches that are none of these scans as they are: photographs that ship with
        scikit-image, slices of this and of other modalities with contrasts drawn at random, synthetic shapes.
    keep : str
        A model, by name or file, whose trunk and denoisers are kept: only the denoiser for acquired scans is trained
        then. Empty: everything is trained.
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
    scan_denoiser: ScanDenoiserTraining = field(default_factory=ScanDenoiserTraining)
    general: float = 0.0
    keep: str = ""

    def __post_init__(self) -> None:
        if self.scan_denoiser.steps > 0 and self.prior.steps == 0 and not self.keep:
            raise ConfigError(
                "scan_denoiser.steps is above 0 and prior.steps is 0: a model has either no denoiser or the small one "
                "first. Set prior.steps above 0, or scan_denoiser.steps to 0."
            )
        if self.keep and self.scan_denoiser.steps == 0:
            raise ConfigError("keep names a model to add a scan denoiser to; set scan_denoiser.steps above 0.")
        if not 0 <= self.general < 1:
            raise ConfigError(f"general is {self.general}; it is a share of patches from 0 to below 1.")
        if self.modality != "MR" and self.prior.auxiliary_steps > 0:
            raise ConfigError(
                f"prior.auxiliary_steps is for MR, which has auxiliary scans; modality is {self.modality}. Set it to 0."
            )

    @property
    def denoiser_steps(self) -> int:
        """Steps of the trainings of all denoisers together."""
        return (0 if self.keep else self.prior.all_steps) + self.scan_denoiser.steps
