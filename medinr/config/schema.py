"""What the configuration files of each job may say."""

from __future__ import annotations

from dataclasses import dataclass, field

from medinr.data.raw_settings import RawSettings
from medinr.data.simulate import SimulationSettings
from medinr.errors import ConfigError
from medinr.inr.pretrain import PretrainSettings
from medinr.measurement import TASKS
from medinr.prior.train import PriorSettings
from medinr.solve.fit import FitSettings

#: Whether slices share a trunk: when there are several and the settings allow it, one by one, or by all means.
JOINT = ("auto", "never", "always")


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
        Of the local prior, trained on slices of the same scans in their own grids.
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


@dataclass(frozen=True)
class PeerSettings:
    """The classical method that stands beside medinr.

    Attributes
    ----------
    tv_weight : float
        Weight of total variation, in the same scaled units as the fit; 0 leaves TV out.
    iterations : int
    """

    tv_weight: float = 1.0
    iterations: int = 200


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
    peer : PeerSettings
    """

    task: str
    trunk: str
    simulation: SimulationSettings = field(default_factory=SimulationSettings)
    raw: RawSettings = field(default_factory=RawSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    joint: str = "auto"
    peer: PeerSettings = field(default_factory=PeerSettings)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"task {self.task!r} is not one of {', '.join(TASKS)}.")
        if self.joint not in JOINT:
            raise ConfigError(f"joint {self.joint!r} is not one of {', '.join(JOINT)}.")


@dataclass(frozen=True)
class EvaluateConfig:
    """`medinr evaluate`: which tasks on which split.

    Attributes
    ----------
    tasks : tuple of str
        Names or files of reconstruction configurations.
    split : str
    slices : int
        Slices per scan at most, evenly spread over the manifest's choice.
    contrasts : tuple of str
        Empty: all.
    """

    tasks: tuple[str, ...]
    split: str = "devtest"
    slices: int = 2
    contrasts: tuple[str, ...] = ()
