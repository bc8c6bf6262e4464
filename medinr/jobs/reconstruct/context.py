"""What the slices of one reconstruction have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medinr.acquisition.base import Acquisition
from medinr.config import ReconstructConfig
from medinr.errors import ConfigError
from medinr.models.model import Model
from medinr.priors.denoiser_prior import DenoiserPrior, ImagePrior
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step

if TYPE_CHECKING:
    from medinr.jobs.reconstruct.auxiliary import AuxiliaryScans

#: Called with the position of a slice and every `Step`.
Progress = Callable[[int, Step], None]

#: What is made of a slice's solution as soon as it is there: position, solution, whether it was solved with others.
Then = Callable[[int, Solution, bool], Any]


@dataclass(frozen=True, eq=False)
class ReconstructionJob:
    """A measurement, its problems, and what they are solved with.

    Attributes
    ----------
    acquisition : Acquisition
        Of the measurement.
    problems : sequence of Problem
        One per slice.
    model : Model
    config : ReconstructConfig
    auxiliary : AuxiliaryScans or None
        What became of the auxiliary scans, if any were given.
    folder : Path or None
        Keeps what an unfinished run goes on from; None keeps nothing.
    fingerprint : str
        Of settings, data, model and auxiliary scans.
    why_model : str
        Why the model was chosen, in words; empty where it was named.
    """

    acquisition: Acquisition
    problems: Sequence[Problem]
    model: Model
    config: ReconstructConfig
    auxiliary: AuxiliaryScans | None = None
    folder: Path | None = None
    fingerprint: str = ""
    why_model: str = ""

    @property
    def priors(self) -> list[ImagePrior | None]:
        """Prior of each slice: the model's denoiser, or it and auxiliary scans."""
        if self.auxiliary is not None:
            return list(self.auxiliary.priors)
        return [self.model.prior] * len(self.problems)

    @property
    def denoiser(self) -> DenoiserPrior:
        """The model's denoiser.

        Raises
        ------
        ConfigError
            When it has none.
        """
        return require_denoiser(self.model, self.config)


def require_denoiser(model: Model, config: ReconstructConfig) -> DenoiserPrior:
    """Give a model's denoiser (raises `ConfigError` when it has none)."""
    if model.prior is None:
        raise ConfigError(
            f"The model {config.model!r} has no denoiser, and {config.method} needs one. Choose a model with one "
            "(medinr models), or fit a network to the measurement alone: --method inr "
            "--set network.image_domain.passes=0 --set network.steps=100 --set network.tv_weight=3"
        )
    return model.prior
