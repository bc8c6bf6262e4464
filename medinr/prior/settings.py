"""How a local prior is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from medinr.errors import ConfigError
from medinr.optimise import OptimiserSettings
from medinr.prior.denoiser import DenoiserSettings


@dataclass(frozen=True)
class PriorSettings:
    """How a local prior is trained.

    Attributes
    ----------
    steps : int
        0 trains none.
    magnitude_steps : int
        Further ones of a copy, on magnitudes of complex noise (Rician); 0 trains no copy.
    listener_steps : int
        Further ones of a copy that hears companions (`medinr.prior.listener`); 0 trains no copy.
    listener_rate : float
        Step size of Muon in these.
    batch, patch : int
        Patches per step and their pixels per side.
    optimiser : OptimiserSettings
        Muon moves the kernels between feature maps, each as a matrix of maps by neighbourhoods; Adam the outer two.
    lowest, highest : float
        Noise levels, drawn log-uniformly between them, for images scaled to about 0 to 1.
    coarser : float
        Half of the patches come from the scans shrunk by this factor, so that finer and coarser grids are known.
    contrast : float
        Half of the patches are raised to a power between ``exp(-contrast)`` and ``exp(contrast)``, so that other
        contrasts than those of the scans are known; 0 leaves them as they are.
    seed : int
    checkpoint_every : int
        Steps between checkpoints.
    architecture : DenoiserSettings
    """

    steps: int = 4000
    magnitude_steps: int = 0
    listener_steps: int = 0
    listener_rate: float = 0.006
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
            min(self.steps, self.magnitude_steps, self.listener_steps) < 0
            or min(self.batch, self.patch, self.checkpoint_every) < 1
        ):
            raise ConfigError("The prior's steps cannot be negative; batch, patch and checkpoint_every are 1 or more.")
        if not 0 < self.lowest < self.highest or not 0 < self.coarser <= 1 or self.contrast < 0:
            raise ConfigError(
                "The prior wants 0 < lowest < highest, coarser from above 0 to 1 and contrast of 0 or more."
            )
        if self.listener_rate <= 0 or self.architecture.hints != 0:
            raise ConfigError(
                "The prior wants a listener_rate above 0, and no architecture.hints: only its listener has hints, "
                "as many as it needs."
            )

    @property
    def all_steps(self) -> int:
        """Steps of all that is trained."""
        return self.steps + self.magnitude_steps + self.listener_steps if self.steps else 0
