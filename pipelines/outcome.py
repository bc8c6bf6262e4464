"""What an evaluation hands to a method, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medinr.pipelines.slices import Start
from torch import Tensor

from medinr.config import ReconstructConfig
from medinr.measurement import Measurement
from medinr.solve.problem import Problem


@dataclass(frozen=True, eq=False)
class Case:
    """A slice to be reconstructed, and who looks on.

    Attributes
    ----------
    measurement : Measurement
        Of the slice, and of its neighbours where the task has them.
    position : int
        Of the slice among them.
    problem : Problem
        Of the slice alone.
    config : ReconstructConfig
        Of the task.
    start : callable
        Opens a trunk by name.
    folder : Path
        Where what peers learn beforehand is kept.
    score : callable or None
        PSNR in dB of an image in the units of the problem, for curves; what it says reaches no method.
    beside : tuple of Path
        Other scans, of the same person or not, that may be believed as far as they agree.
    """

    measurement: Measurement
    position: int
    problem: Problem
    config: ReconstructConfig
    start: Callable[[str], Start]
    folder: Path
    score: Callable[[Tensor], float] | None = None
    beside: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Outcome:
    """An image in the units of the problem, and how it went where that can be told.

    Attributes
    ----------
    image : Tensor, shape (y, x)
    seconds : float or None
        Where the method knows better than the clock around it, which also sees the onlooker's time.
    stopped_at : int or None
    reason : str
    curve : dict
        ``seconds``, ``psnr``, ``residual``: lists of one length.
    """

    image: Tensor
    seconds: float | None = None
    stopped_at: int | None = None
    reason: str = ""
    curve: dict[str, list[float]] = field(default_factory=dict)
