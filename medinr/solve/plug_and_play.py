"""Plug-and-play: the measurement and a learned local prior, without a coordinate network.

Half-quadratic splitting with a falling noise level ``s`` (Zhang et al., DPIR, TPAMI 2022):

    ``v <- D(x, s)``,   ``x <- argmin 1/2 |A x - y|^2_P + strength / (2 s^2) |x - v|^2``

The second step is linear and solved by conjugate gradients from ``v``; for noise that is not Gaussian the data
term is its quadratic surrogate at the current image, renewed in every iteration.
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
from medinr.solve.problem import Problem

#: Conjugate gradients end when the gradient of the linear step has shrunk by this factor. Single-coil k-space,
#: where ``A^H P A`` has one eigenvalue besides zero, is there after one step.
TOLERANCE = 1e-3


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
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.iterations < 0 or self.inner < 1 or min(self.first, self.last, self.strength) <= 0:
            raise ConfigError(
                "Plug-and-play wants iterations of 0 or more, inner of 1 or more, first, last and strength above 0; "
                f"got {self.iterations}, {self.inner}, {self.first}, {self.last}, {self.strength}."
            )
        if self.end not in ("measurement", "prior"):
            raise ConfigError(f"Plug-and-play ends with 'measurement' or 'prior'; got {self.end!r}.")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"Precision {self.precision!r} is not one of {', '.join(PRECISIONS)}.")

    def levels(self, pixel_noise: float) -> list[float]:
        """Noise level of each iteration."""
        ratio = (min(self.last * pixel_noise, self.first) / self.first) ** (1 / max(1, self.iterations - 1))
        return [self.first * ratio**k for k in range(self.iterations)]


def explain_residual(
    problem: Problem, weight: Tensor, pull: float, residual: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """Find the change of the image that explains a residual: ``argmin |A d - residual|^2_weight + pull |d|^2``.

    Conjugate gradients on the least-squares problem itself (CGLS; Björck, Elfving & Strakos 1998), so that what
    stays unexplained comes with the change and nobody applies the operator again to know it.

    Parameters
    ----------
    problem : Problem
        For ``A`` and its adjoint.
    weight : Tensor, shape of the data
        Real, not negative.
    pull : float
        Above 0.
    residual : Tensor, shape of the data
    iterations : int
        At most; it ends when the gradient has shrunk by `TOLERANCE`.

    Returns
    -------
    change : Tensor, shape (y, x)
        ``d``.
    unexplained : Tensor, shape of the data
        ``residual - A d``.
    """
    direction = slope = problem.adjoint(weight * residual)
    change = torch.zeros_like(slope)
    energy = _energy(slope)
    floor = TOLERANCE**2 * float(energy)
    for _ in range(iterations):
        if float(energy) <= floor:
            break
        seen = problem.predict(direction)
        step = energy / (_energy(seen, weight) + pull * _energy(direction))
        change = change + step * direction
        residual = residual - step * seen
        slope = problem.adjoint(weight * residual) - pull * change
        previous, energy = energy, _energy(slope)
        direction = slope + (energy / previous) * direction
    return change, residual


def explain(
    problem: Problem,
    settings: PlugAndPlaySettings,
    denoised: Tensor,
    prediction: Tensor,
    level: float,
    use: Tensor | float = 1.0,
) -> tuple[Tensor, Tensor]:
    """The measurement's turn: the image near what the prior gave that explains it best.

    Parameters
    ----------
    problem : Problem
    settings : PlugAndPlaySettings
    denoised : Tensor, shape (y, x)
        In network units.
    prediction : Tensor, shape of the data
        What the image before would have given, for noise that is not Gaussian.
    level : float
        Noise level of the turn.
    use : Tensor of bool, shape of the data, or 1
        Measurements to use.

    Returns
    -------
    image : Tensor, shape (y, x)
    prediction : Tensor, shape of the data
        What it would give.
    """
    target, precision = problem.noise.surrogate(prediction, problem.data)
    residual = target - problem.predict(denoised)
    pull = settings.strength / level**2
    change, residual = explain_residual(problem, precision * use, pull, residual, settings.inner)
    return denoised + change, target - residual


def _energy(value: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    squared = value.real.square() + value.imag.square() if value.is_complex() else value.square()
    return (weight * squared).sum()


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
    use = torch.ones_like(problem.data, dtype=torch.bool) if fitted is None else fitted
    levels = settings.levels(problem.pixel_noise())
    if start is None:
        prediction = problem.data
        denoised = torch.zeros_like(problem.adjoint(problem.data))
    else:
        prediction = problem.predict(start)
        denoised = prior.denoise(start, levels[0])
    for iteration, level in enumerate(levels):
        x, prediction = explain(problem, settings, denoised, prediction, level, use)
        if observer is not None:
            observer(iteration, x)
        if settings.end == "prior" or iteration + 1 < len(levels):
            denoised = prior.denoise(x, level, turn=iteration)
    return denoised if settings.end == "prior" else x
