"""What the configuration of an evaluation may say."""

from __future__ import annotations

from dataclasses import dataclass

from medinr.errors import ConfigError


@dataclass(frozen=True)
class EvaluateConfig:
    """`medinr evaluate`: which tasks on which split.

    Attributes
    ----------
    tasks : tuple of str
        Names of `medinr.config.protocol.PROTOCOL`, or names or files of task configurations.
    methods : tuple of str
        Names of `medinr.jobs.methods.registry.METHODS`; empty: all that suit a task and are not slow.
    split : str
    slices : int
        Slices per scan at most, evenly spread over the manifest's choice.
    contrasts : tuple of str
        Empty: all.
    seed : int
        Of the simulated measurements (with the scan and the slice) and of the fits.
    curves : bool
        Record the PSNR of iterative methods as they go; its time does not count.
    models : tuple of str
        In place of the tasks' own, each in the tasks of its modality; empty: the tasks' own.
    """

    tasks: tuple[str, ...]
    methods: tuple[str, ...] = ()
    split: str = "devtest"
    slices: int = 2
    contrasts: tuple[str, ...] = ()
    seed: int = 0
    curves: bool = True
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.slices < 1:
            raise ConfigError(f"slices is 1 or more; got {self.slices}.")
