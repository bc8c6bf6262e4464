"""What the configuration of a reconstruction may say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medinr.acquisition.ways import acquisition_class
from medinr.data.raw.settings import RawSettings
from medinr.errors import ConfigError
from medinr.solve.half_quadratic import PlugAndPlaySettings
from medinr.uncertainty.settings import UncertaintySettings

if TYPE_CHECKING:
    from medinr.network.settings import FitSettings, NetworkSettings

#: Whether neighbouring slices are reconstructed jointly: where it helps, never, or by all means.
MULTI_SLICE = ("auto", "never", "always")

#: Method of a reconstruction unless another one is asked for.
DEFAULT_METHOD = "plug-and-play"


@dataclass(frozen=True)
class TotalVariationSettings:
    """Total variation, the baseline beside every reconstruction.

    Attributes
    ----------
    weight : float
        In units of the noise; 0 leaves it out.
    iterations : int
        Of total variation, and of its generalisation in evaluations.
    """

    weight: float = 1.0
    iterations: int = 200


@dataclass(frozen=True)
class BaselineSettings:
    """The other baselines, of evaluations and of ``--method``; 0 leaves one out.

    Attributes
    ----------
    tgv_weight : float
        Weight of total generalised variation, in units of the noise.
    wavelet_weight : float
        Weight of the 1-norm of wavelet coefficients, in units of the noise.
    wavelet_iterations : int
    linear_iterations : int
        Conjugate-gradient iterations of least squares, whose number is its regulariser.
    sirt_iterations : int
        Of SIRT (CT).
    nlm_strength : float
        Filter strength of non-local means (denoising), in units of the noise.
    bm3d_strength : float
        Noise level that BM3D and BM4D assume (denoising), in units of the noise.
    training : str
        Manifest whose train split those baselines learn from that learn (U-Net, SIREN-one, Reptile).
    meta_iterations : int
        Images that Reptile is trained on, one after another.
    unet_steps : int
        Training steps of the U-Net.
    """

    tgv_weight: float = 1.0
    wavelet_weight: float = 1.2
    wavelet_iterations: int = 100
    linear_iterations: int = 12
    sirt_iterations: int = 100
    nlm_strength: float = 0.6
    bm3d_strength: float = 0.95
    training: str = "excerpts"
    meta_iterations: int = 300
    unet_steps: int = 500

    def __post_init__(self) -> None:
        weights = (self.tgv_weight, self.wavelet_weight, self.nlm_strength, self.bm3d_strength)
        counts = (self.linear_iterations, self.sirt_iterations, self.meta_iterations, self.unet_steps)
        if min(*weights, *counts) < 0 or self.wavelet_iterations < 1:
            raise ConfigError(
                "Weights and iterations of baselines cannot be negative (baselines.wavelet_iterations: 1 or more)."
            )


@dataclass(frozen=True)
class ReconstructConfig:
    """`medinr reconstruct`: one task from measurement to image.

    Attributes
    ----------
    task : str
        Way of measuring (`medinr.acquisition`).
    model : str
        Name of a shipped model or a .safetensors file; ``"auto"`` is the one that suits what was measured, ``"random"``
        a network of random weights and no denoiser.
    method : str
        Of `medinr.jobs.methods.registry.METHODS`, in small or capital letters.
    seed : int
        Of held-out measurements, moves of the uncertainty's repeats, and whatever else a method draws.
    simulation : dataclass
        How the measurement is simulated when a scan is given, the task's own ``Simulation``; a measurement file brings
        its own facts.
    raw : RawSettings
        What is done to raw data before they are reconstructed.
    plug_and_play : PlugAndPlaySettings
    multi_slice : {"auto", "never", "always"}
        Whether neighbouring slices are reconstructed jointly (`medinr.solve.multi_slice`). ``"auto"``: when each slice
        was sampled in its own way or voxels are about cubic.
    uncertainty : UncertaintySettings
        Of the maps of uncertainty and null space; 0 repeats leave them out.
    total_variation : TotalVariationSettings
    baselines : BaselineSettings
        From ``baselines.yaml``.
    network : NetworkSettings or None
        From ``network.yaml``; None where the method fits no network.
    """

    task: str
    model: str
    method: str = DEFAULT_METHOD
    seed: int = 0
    simulation: Any = None
    raw: RawSettings = field(default_factory=RawSettings)
    plug_and_play: PlugAndPlaySettings = field(default_factory=PlugAndPlaySettings)
    multi_slice: str = "auto"
    uncertainty: UncertaintySettings = field(default_factory=UncertaintySettings)
    total_variation: TotalVariationSettings = field(default_factory=TotalVariationSettings)
    baselines: BaselineSettings = field(default_factory=BaselineSettings)
    network: NetworkSettings | None = None

    def __post_init__(self) -> None:
        kind = acquisition_class(self.task).Simulation
        if self.simulation is None:
            object.__setattr__(self, "simulation", kind())
        if not isinstance(self.simulation, kind):
            raise ConfigError(
                f"simulation is a {type(self.simulation).__name__}; task {self.task} has {kind.__name__}."
            )
        if self.multi_slice not in MULTI_SLICE:
            raise ConfigError(f"multi_slice {self.multi_slice!r} is not one of {', '.join(MULTI_SLICE)}.")

    @property
    def fit(self) -> FitSettings:
        """All settings of a network's fit (raises `ConfigError` when the method fits none)."""
        from medinr.network.settings import FitSettings

        if self.network is None:
            raise ConfigError(f"Method {self.method} fits no network. Choose one that does: --method inr")
        return FitSettings.of(self.network, self.plug_and_play, self.seed)
