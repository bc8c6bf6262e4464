"""What a method is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.config import ReconstructConfig
from medinr.models.model import Model
from medinr.solve.problem import Problem
from medinr.solve.solution import Step


@dataclass(frozen=True, eq=False)
class MethodInput:
    """A slice to be reconstructed.

    Attributes
    ----------
    acquisition : Acquisition
        Of the slice, and of its neighbours where the task has them.
    position : int
        Of the slice among them.
    problem : Problem
        Of the slice alone.
    config : ReconstructConfig
        Of the task.
    open_model : callable
        Opens a model by name.
    folder : Path
        Where what baselines learn beforehand is kept.
    score : callable or None
        PSNR in dB of an image in the units of the problem, for curves; what it says reaches no method.
    auxiliary : tuple of Path
        Auxiliary scans, of the same person or not, that may be used as far as they agree.
    """

    acquisition: Acquisition
    position: int
    problem: Problem
    config: ReconstructConfig
    open_model: Callable[[str], Model]
    folder: Path
    score: Callable[[Tensor], float] | None = None
    auxiliary: tuple[Path, ...] = ()

    @property
    def model(self) -> Model:
        """The task's own model."""
        return self.open_model(self.config.model)


@dataclass(frozen=True, eq=False)
class Outcome:
    """An image in the units of the problem, and how it went where that can be told.

    Attributes
    ----------
    image : Tensor, shape (y, x)
    seconds : float or None
        Where the method knows better than the clock around it, which also sees the scoring's time.
    stopped_at : int or None
    reason : str
    curve : dict
        ``seconds``, ``psnr``, ``residual``: lists of one length.
    steps : tuple of Step
    expected_residual : float or None
        See `medinr.solve.solution.Solution`.
    """

    image: Tensor
    seconds: float | None = None
    stopped_at: int | None = None
    reason: str = ""
    curve: dict[str, list[float]] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    expected_residual: float | None = None
