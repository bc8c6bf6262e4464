"""Plug-and-play: the measurement and a learned local prior, without a coordinate network.

Half-quadratic splitting with a falling noise level ``s`` (Zhang et al., DPIR, TPAMI 2022):

    ``v <- D(x, s)``,   ``x <- argmin 1/2 |A x - y|^2_P + strength / (2 s^2) |x - v|^2``

The second step is linear and solved by conjugate gradients; for noise that is not Gaussian the data term is its
quadratic surrogate at the current image, renewed in every iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.prior.local import LocalPrior
from medinr.solve.problem import Problem


@dataclass(frozen=True)
class PlugAndPlaySettings:
    """How prior and measurement take turns.

    Attributes
    ----------
    iterations : int
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
        Conjugate-gradient steps per iteration.
    """

    iterations: int = 40
    first: float = 0.2
    last: float = 0.8
    end: str = "measurement"
    strength: float = 1.0
    inner: int = 6

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.inner < 1 or min(self.first, self.last, self.strength) <= 0:
            raise ConfigError(
                "Plug-and-play wants iterations and inner of 1 or more, first, last and strength above 0; "
                f"got {self.iterations}, {self.inner}, {self.first}, {self.last}, {self.strength}."
            )
        if self.end not in ("measurement", "prior"):
            raise ConfigError(f"Plug-and-play ends with 'measurement' or 'prior'; got {self.end!r}.")

    def levels(self, pixel_noise: float) -> list[float]:
        """Noise level of each iteration."""
        ratio = (min(self.last * pixel_noise, self.first) / self.first) ** (1 / max(1, self.iterations - 1))
        return [self.first * ratio**k for k in range(self.iterations)]


def conjugate_gradients(normal: Callable[[Tensor], Tensor], right: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Improve ``normal(x) = right`` from ``start``; ``normal`` is Hermitian and positive."""
    x = start
    residual = right - normal(x)
    direction = residual
    energy = residual.abs().square().sum()
    floor = 1e-11 * float(right.abs().square().sum())
    for _ in range(iterations):
        if float(energy) <= floor:
            break
        image = normal(direction)
        step = energy / (direction.conj() * image).sum().real
        x = x + step * direction
        residual = residual - step * image
        previous, energy = energy, residual.abs().square().sum()
        direction = residual + (energy / previous) * direction
    return x


@torch.no_grad()
def plug_and_play(
    problem: Problem,
    prior: LocalPrior,
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
    prior : LocalPrior
    settings : PlugAndPlaySettings
    fitted : Tensor of bool, shape of the data, optional
        Measurements to use; all by default.
    start : Tensor, shape (y, x), optional
        Image in network units that the prior sees first; by default the measurement begins.
    observer : callable, optional
        Called with iteration and image; it returns nothing.

    Returns
    -------
    Tensor, shape (y, x)
        In network units (divide by ``problem.scale`` is already done).
    """
    adjoint = problem.adjoint
    use = torch.ones_like(problem.data, dtype=torch.bool) if fitted is None else fitted
    target, precision = problem.noise.surrogate(problem.data, problem.data)
    weight = precision * use
    levels = settings.levels(problem.pixel_noise())
    x = torch.zeros_like(adjoint(weight * target)) if start is None else start
    denoised = x if start is None else prior.denoise(start, levels[0])
    for iteration, level in enumerate(levels):
        if iteration or start is not None:
            target, precision = problem.noise.surrogate(problem.predict(x), problem.data)
        weight = precision * use
        pull = settings.strength / level**2

        def normal(image: Tensor, weight: Tensor = weight, pull: float = pull) -> Tensor:
            return adjoint(weight * problem.predict(image)) + pull * image

        x = conjugate_gradients(normal, adjoint(weight * target) + pull * denoised, denoised, settings.inner)
        denoised = prior.denoise(x, level, turn=iteration)
        if observer is not None:
            observer(iteration, x)
    return denoised if settings.end == "prior" else x
