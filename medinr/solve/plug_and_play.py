"""Plug-and-play: the measurement and a learned local prior, without a coordinate network.

Half-quadratic splitting with a falling noise level ``s`` (Zhang et al., DPIR, TPAMI 2022):

    ``v <- D(x, s)``,   ``x <- argmin 1/2 |A x - y|^2_P + strength / (2 s^2) |x - v|^2``

The second step is `medinr.solve.measurement_turn`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.inr.precision import PRECISIONS, has_fast_bfloat16
from medinr.prior.local import ImagePrior
from medinr.solve.direct import denoise_once
from medinr.solve.measurement_turn import MeasurementTurn
from medinr.solve.problem import Problem


@dataclass(frozen=True)
class PlugAndPlaySettings:
    """How prior and measurement take turns.

    Attributes
    ----------
    iterations : int
        0: the measurement is an image, and the prior looks at it once (`medinr.solve.direct`); nothing else here
        matters then.
    first : float
        Noise level the first iteration assumes, for images scaled to about 0 to 1.
    last : float
        The one the last assumes, in units of the measurement's noise as it shows per pixel
        (`Problem.pixel_noise`); ``s`` falls geometrically in between.
    end : {"measurement", "prior"}
        Whose word is the last: the linear step's or the denoiser's.
    strength : float
        Weight of the prior step; 1 takes the denoiser at its word.
    inner : int
        Conjugate-gradient steps per iteration, at most.
    precondition : float
        Noise level below which these are preconditioned (`medinr.solve.preconditioner`), for projections, which a
        fraction of the steps then solves; 0 never. Above it the prior pulls too little for that: few plain steps get
        coarse structure right and leave fine noise alone, preconditioned ones do the opposite.
    views : int
        Views of a projection that are heard in a turn, another part of them in each, where there are twice as many or
        more; 0: all.
    all_views : int
        Turns at the end that hear all.
    precision : {"auto", "float32"}
        Of the prior's convolutions. ``"auto"``: bfloat16 where the device is fast at it; reconstructions then differ
        by a hundredth of a decibel, denoising by three.
    """

    iterations: int = 40
    first: float = 0.2
    last: float = 0.8
    end: str = "measurement"
    strength: float = 1.0
    inner: int = 6
    precondition: float = 0.0
    views: int = 0
    all_views: int = 4
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.iterations < 0 or self.inner < 1 or min(self.first, self.last, self.strength) <= 0:
            raise ConfigError(
                "Plug-and-play wants iterations of 0 or more, inner of 1 or more, first, last and strength above 0; "
                f"got {self.iterations}, {self.inner}, {self.first}, {self.last}, {self.strength}."
            )
        if self.precondition < 0:
            raise ConfigError(f"Plug-and-play wants precondition of 0 or more; got {self.precondition}.")
        if self.views < 0 or self.all_views < 1:
            raise ConfigError(
                "Plug-and-play wants views of 0 or more and all_views of 1 or more; got "
                f"{self.views}, {self.all_views}."
            )
        if self.end not in ("measurement", "prior"):
            raise ConfigError(f"Plug-and-play ends with 'measurement' or 'prior'; got {self.end!r}.")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"Precision {self.precision!r} is not one of {', '.join(PRECISIONS)}.")

    def levels(self, pixel_noise: float) -> list[float]:
        """Noise level of each iteration."""
        ratio = (min(self.last * pixel_noise, self.first) / self.first) ** (1 / max(1, self.iterations - 1))
        return [self.first * ratio**k for k in range(self.iterations)]

    def measurement_turn(
        self, problem: Problem, fitted: Tensor | None = None, stands_for: float = 1.0
    ) -> MeasurementTurn:
        """The measurement's side; ``fitted`` as in `plug_and_play`."""
        return MeasurementTurn(problem, self.strength, self.inner, self.precondition, fitted, stands_for)

    def measurement_turns(self, problem: Problem, fitted: Tensor | None = None) -> list[MeasurementTurn]:
        """The measurement's side of each iteration."""
        whole = self.measurement_turn(problem, fitted)
        parts = [
            self.measurement_turn(part, None if fitted is None else fitted[at], len(problem.data) / len(at))
            for part, at in (problem.in_subsets(self.views) if self.views else [])
        ]
        if not parts:
            return [whole] * self.iterations
        early = max(0, self.iterations - self.all_views)
        return [parts[turn % len(parts)] for turn in range(early)] + [whole] * (self.iterations - early)


@torch.no_grad()
def plug_and_play(
    problem: Problem,
    prior: ImagePrior,
    settings: PlugAndPlaySettings,
    *,
    fitted: Tensor | None = None,
    start: Tensor | None = None,
    observer: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Reconstruct by alternating between a learned prior and the measurement.

    Parameters
    ----------
    problem : Problem
    prior : ImagePrior
    settings : PlugAndPlaySettings
    fitted : Tensor of bool, shape of the data, optional
        Measurements to use; all by default.
    start : Tensor, shape (y, x), optional
        Image in network units that the prior sees first; by default the measurement begins. An image that is looked
        at once has no use for it.
    observer : callable, optional
        Called with iteration and image; it returns nothing.

    Returns
    -------
    Tensor, shape (y, x)
        In network units (divide by ``problem.scale`` is already done).
    """
    if settings.precision == "auto" and has_fast_bfloat16(problem.data.device):
        prior = prior.in_precision(torch.bfloat16)
    if settings.iterations == 0:
        image = denoise_once(problem, prior, fitted)
        if observer is not None:
            observer(0, image)
        return image
    levels = settings.levels(problem.pixel_noise())
    if start is None:
        prediction = problem.data
        denoised = torch.zeros_like(problem.adjoint(problem.data))
    else:
        prediction = problem.predict(start)
        denoised = prior.denoise(start, levels[0])
    predicted = problem
    for iteration, (level, turn) in enumerate(zip(levels, settings.measurement_turns(problem, fitted), strict=True)):
        # A prediction of other views is of no use.
        x, prediction = turn.explain(denoised, prediction if turn.problem is predicted else None, level)
        predicted = turn.problem
        if observer is not None:
            observer(iteration, x)
        if settings.end == "prior" or iteration + 1 < len(levels):
            denoised = prior.denoise(x, level, turn=iteration)
    return denoised if settings.end == "prior" else x
