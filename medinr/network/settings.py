"""Settings of the fit of a coordinate network to a measurement."""

from __future__ import annotations

from dataclasses import dataclass, field

from medinr.errors import ConfigError
from medinr.network.image_domain import ImageDomainSettings
from medinr.network.stopping import StoppingSettings
from medinr.optimise import OptimiserSettings
from medinr.solve.half_quadratic import PlugAndPlaySettings

#: Initial heads of a fit without an image-domain fit.
HEADS = ("closed_form", "random")

#: Whether slices share one trunk: where they can, never, or always.
SHARED = ("auto", "never", "always")


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of the phases of a network's fit.

    Attributes
    ----------
    image_domain : ImageDomainSettings
        Fit to an image: the plug-and-play reconstruction, or a measured image itself.
    steps : int
        Steps of the measurement-domain fit, through the operator; the step length decays over them.
    head : {"closed_form", "random"}
        Initial head when there is no image-domain fit.
    head_every : int
        Steps between closed-form solutions of the head; 0: only at the start.
    tv_weight : float
        Weight of total variation beside the negative log-likelihood, in units of the noise (`medinr.solve.split`).
    optimiser : OptimiserSettings
        Of the measurement-domain fit.
    stopping : StoppingSettings
    refinement_iterations : int
        Iterations of plug-and-play at the end, with every measurement; 0: no refinement.
    shared_trunk : {"auto", "never", "always"}
        Whether slices share one trunk, with a head each (`medinr.network.joint_fit`). ``"auto"``: where there are
        several slices, an image-domain fit and no steps of the measurement-domain fit.
    shared_iterations : int
        Largest number of iterations of plug-and-play before the fit when several slices share a trunk.

    Raises
    ------
    ConfigError
        On a value outside its range.
    """

    image_domain: ImageDomainSettings = field(default_factory=ImageDomainSettings)
    steps: int = 0
    head: str = "closed_form"
    head_every: int = 10
    tv_weight: float = 0.0
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    stopping: StoppingSettings = field(default_factory=StoppingSettings)
    refinement_iterations: int = 8
    shared_trunk: str = "auto"
    shared_iterations: int = 16

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ConfigError(f"Head {self.head!r} is not one of {', '.join(HEADS)}.")
        if self.shared_trunk not in SHARED:
            raise ConfigError(f"shared_trunk {self.shared_trunk!r} is not one of {', '.join(SHARED)}.")
        if min(self.steps, self.head_every, self.tv_weight, self.refinement_iterations) < 0:
            raise ConfigError("steps, head_every, tv_weight and refinement_iterations cannot be negative.")
        if self.shared_iterations < 1:
            raise ConfigError(f"shared_iterations is 1 or more; got {self.shared_iterations}.")

    def planned(self, points: int) -> int:
        """Steps of image-domain and measurement-domain fit together, for an image of so many pixels."""
        return self.image_domain.steps(points) + self.steps


@dataclass(frozen=True)
class FitSettings(NetworkSettings):
    """Settings of a network's fit and of the plug-and-play reconstruction that it is fitted to.

    Attributes
    ----------
    plug_and_play : PlugAndPlaySettings
        Used when there is a denoiser prior.
    seed : int
        For a random head, the pixels of the image-domain fit and the choice of held-out measurements.
    """

    plug_and_play: PlugAndPlaySettings = field(default_factory=PlugAndPlaySettings)
    seed: int = 0

    @classmethod
    def of(cls, network: NetworkSettings, plug_and_play: PlugAndPlaySettings, seed: int) -> FitSettings:
        """Combine the settings of the network with those that all reconstructions have."""
        return cls(**vars(network), plug_and_play=plug_and_play, seed=seed)
