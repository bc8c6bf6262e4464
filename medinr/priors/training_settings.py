"""Settings for training the denoisers of a prior."""

from __future__ import annotations

from dataclasses import dataclass, field

from medinr.errors import ConfigError
from medinr.optimise import OptimiserSettings
from medinr.priors.denoiser import DenoiserSettings


@dataclass(frozen=True)
class PriorSettings:
    """How the denoisers of a prior are trained.

    Attributes
    ----------
    steps : int
        Training steps of the denoiser; 0 trains none.
    magnitude_steps : int
        Further steps for a copy, on magnitudes of complex noise (Rician); 0 trains no copy.
    auxiliary_steps : int
        Further steps for a copy with auxiliary input (`medinr.priors.auxiliary_training`); 0 trains no copy.
    auxiliary_rate : float
        Step size of Muon in these.
    batch, patch : int
        Patches per step and their pixels per side.
    optimiser : OptimiserSettings
        Muon for the kernels between feature maps, each as a matrix of maps by neighbourhoods; Adam for the outer two.
    lowest, highest : float
        Noise levels, drawn log-uniformly between them, for images scaled to about 0 to 1.
    coarser : float
        Half of the patches come from the scans shrunk by this factor, so that finer and coarser grids are covered.
    contrast : float
        Half of the patches are raised to a power between ``exp(-contrast)`` and ``exp(contrast)``, so that contrasts
        other than those of the scans are covered; 0 leaves them as they are.
    seed : int
    checkpoint_every : int
        Steps between checkpoints.
    architecture : DenoiserSettings
        Without auxiliary channels, which only the copy with auxiliary input has.

    Raises
    ------
    ConfigError
        On a value outside its range.
    """

    steps: int = 4000
    magnitude_steps: int = 0
    auxiliary_steps: int = 0
    auxiliary_rate: float = 0.006
    batch: int = 16
    patch: int = 40
    optimiser: OptimiserSettings = field(default_factory=lambda: OptimiserSettings(muon_rate=0.01))
    lowest: float = 0.003
    highest: float = 0.3
    coarser: float = 0.65
    contrast: float = 0.0
    seed: int = 0
    checkpoint_every: int = 200
    architecture: DenoiserSettings = field(default_factory=DenoiserSettings)

    def __post_init__(self) -> None:
        if (
            min(self.steps, self.magnitude_steps, self.auxiliary_steps) < 0
            or min(self.batch, self.patch, self.checkpoint_every) < 1
        ):
            raise ConfigError("The prior's steps cannot be negative; batch, patch and checkpoint_every are 1 or more.")
        if not 0 < self.lowest < self.highest or not 0 < self.coarser <= 1 or self.contrast < 0:
            raise ConfigError(
                "The prior wants 0 < lowest < highest, coarser from above 0 to 1 and contrast of 0 or more."
            )
        if self.auxiliary_rate <= 0 or self.architecture.auxiliary_channels != 0:
            raise ConfigError(
                "The prior wants an auxiliary_rate above 0, and no architecture.auxiliary_channels: only its "
                "auxiliary-input denoiser has some, as many as it needs."
            )

    @property
    def all_steps(self) -> int:
        """Steps of all trainings together."""
        return self.steps + self.magnitude_steps + self.auxiliary_steps if self.steps else 0
