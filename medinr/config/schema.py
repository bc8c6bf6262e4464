"""What the configuration files of each job may say."""

from __future__ import annotations

from dataclasses import dataclass, field

from medinr.data.raw_settings import RawSettings
from medinr.data.simulate import SimulationSettings
from medinr.errors import ConfigError
from medinr.inr.pretrain import PretrainSettings
from medinr.measurement import TASKS
from medinr.prior.settings import PriorSettings
from medinr.solve.fit import FitSettings
from medinr.solve.uncertainty import UncertaintySettings

#: Whether slices have something in common: where it can be and helps, never, or by all means.
TOGETHER = ("auto", "never", "always")


@dataclass(frozen=True)
class PretrainConfig:
    """`medinr pretrain`: which scans, on which grid, how long.

    Attributes
    ----------
    name : str
        Of the trunk; the files are called after it.
    manifest : str
        CSV file, relative to the configuration or the name of a shipped manifest.
    modality : {"MR", "CT"}
    contrasts : tuple of str
        Empty: all.
    split : str
    grid : (int, int)
        Training pixels (y, x).
    spacing : float
        Of the training grid in mm.
    slices : int
        How many slices, spread over as many subjects as possible.
    per_scan : int
        Slices per scan at most.
    training : PretrainSettings
        Of the trunk.
    prior : PriorSettings
        Of the local prior, trained on slices of the same scans in their own grids, and of what it becomes: a copy for
        magnitudes, a copy that hears companions.
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
        if self.modality != "MR" and self.prior.listener_steps > 0:
            raise ConfigError(
                f"prior.listener_steps is for MR, where earlier scans can be heard; modality is {self.modality}. "
                "Set it to 0."
            )


@dataclass(frozen=True)
class PeerSettings:
    """The classical methods that stand beside medinr; TV beside every reconstruction, the others in evaluations.

    Attributes
    ----------
    tv_weight : float
        Weight of total variation, in the same scaled units as the fit; 0 leaves TV out.
    iterations : int
        Of total variation, and of its generalisation.
    tgv_weight : float
        Weight of total generalised variation, as TV's, with its iterations; 0 leaves it out.
    wavelet_weight : float
        Weight of the 1-norm of wavelet coefficients, in units of the noise; 0 leaves wavelets out.
    wavelet_iterations : int
    linear_iterations : int
        Conjugate-gradient steps of least squares, whose number is its regulariser; 0 leaves it out.
    sirt_iterations : int
        Of SIRT (CT); 0 leaves it out.
    nlm_strength : float
        Filter strength of non-local means (denoising), in units of the noise; 0 leaves it out.
    bm3d_strength : float
        Noise level that BM3D and BM4D assume (denoising), in units of the noise; 0 leaves it out.
    training : str
        Manifest whose train split peers learn from that learn at all (U-Net, SIREN-one, Reptile).
    meta_turns : int
        Images that Reptile looks at, one after another; 0 leaves it out.
    unet_steps : int
        Training steps of the U-Net; 0 leaves it out.
    """

    tv_weight: float = 1.0
    iterations: int = 200
    tgv_weight: float = 1.0
    wavelet_weight: float = 1.2
    wavelet_iterations: int = 100
    linear_iterations: int = 12
    sirt_iterations: int = 100
    nlm_strength: float = 0.6
    bm3d_strength: float = 0.95
    training: str = "excerpts"
    meta_turns: int = 300
    unet_steps: int = 500

    def __post_init__(self) -> None:
        weights = (self.tgv_weight, self.wavelet_weight, self.nlm_strength, self.bm3d_strength)
        counts = (self.linear_iterations, self.sirt_iterations, self.meta_turns, self.unet_steps)
        if min(*weights, *counts) < 0 or self.wavelet_iterations < 1:
            raise ConfigError(
                "Weights and iterations of peers cannot be negative (peer.wavelet_iterations: 1 or more)."
            )


@dataclass(frozen=True)
class ReconstructConfig:
    """`medinr reconstruct`: one task from measurement to image.

    Attributes
    ----------
    task : {"denoise", "superres", "kspace", "ct"}
    trunk : str
        Name of a shipped trunk or a .safetensors file; ``"random"`` starts from random weights.
    simulation : SimulationSettings
        How the measurement is simulated when a scan is given; a measurement file brings its own facts.
    raw : RawSettings
        What is done to raw data before they are fitted.
    fit : FitSettings
    joint : {"auto", "never", "always"}
        Whether slices are fitted together, one trunk with a head per slice (`medinr.solve.joint`). ``"auto"``: when
        there are several and the fit begins with a guide and has no steps moved by the measurement.
    stack : {"auto", "never", "always"}
        Whether neighbouring slices are solved together, the prior looking across them too (`medinr.solve.stack`).
        ``"auto"``: when no network is asked for, and each slice was sampled in its own way or voxels are about cubic.
    uncertainty : UncertaintySettings
        Of the maps of uncertainty and null space; 0 repeats leave them out.
    peer : PeerSettings
    """

    task: str
    trunk: str
    simulation: SimulationSettings = field(default_factory=SimulationSettings)
    raw: RawSettings = field(default_factory=RawSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    joint: str = "auto"
    stack: str = "auto"
    uncertainty: UncertaintySettings = field(default_factory=UncertaintySettings)
    peer: PeerSettings = field(default_factory=PeerSettings)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"task {self.task!r} is not one of {', '.join(TASKS)}.")
        for name, value in (("joint", self.joint), ("stack", self.stack)):
            if value not in TOGETHER:
                raise ConfigError(f"{name} {value!r} is not one of {', '.join(TOGETHER)}.")


@dataclass(frozen=True)
class EvaluateConfig:
    """`medinr evaluate`: which tasks on which split.

    Attributes
    ----------
    tasks : tuple of str
        Names of `medinr.config.protocol.PROTOCOL`, or names or files of task configurations.
    methods : tuple of str
        Names of `medinr.pipelines.methods.METHODS`; empty: all that suit a task and are not slow.
    split : str
    slices : int
        Slices per scan at most, evenly spread over the manifest's choice.
    contrasts : tuple of str
        Empty: all.
    seed : int
        Of the simulated measurements (with the scan and the slice) and of the fits.
    curves : bool
        Record the PSNR of iterative methods as they go; its time does not count.
    trunks : tuple of str
        In place of the tasks' own, each in the tasks of its modality; empty: the tasks' own.
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...] = ()
    split: str = "devtest"
    slices: int = 2
    contrasts: tuple[str, ...] = ()
    seed: int = 0
    curves: bool = True
    trunks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.slices < 1:
            raise ConfigError(f"slices is 1 or more; got {self.slices}.")
