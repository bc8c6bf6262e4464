"""A problem whose measurement is split: one part is used, the other judges the image."""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.priors.total_variation import TotalVariation
from medinr.solve.problem import Problem


class Split:
    """How well images explain the two parts of a measurement.

    Parameters
    ----------
    problem : Problem
    held : Tensor of bool, shape of the data
        Measurements held out.
    tv_weight : float
        Weight of total variation in the loss, in units of the noise: ``tv_weight * sqrt(mean precision) * TV(image)``,
        the convention of `medinr.baselines.total_variation`.

    Attributes
    ----------
    watched : bool
        Whether anything is held out.
    """

    def __init__(self, problem: Problem, held: Tensor, tv_weight: float = 0.0) -> None:
        self.problem, self.held = problem, held
        self.watched = bool(held.any())
        # In units of the noise, so that one weight suits every scanner and scale: weight * TV(image) / sigma.
        _, precision = problem.noise.surrogate(problem.data, problem.data)
        level = float(precision.double().mean().sqrt()) * problem.scale
        self.tv = TotalVariation(tv_weight * level) if tv_weight > 0 else None

    @classmethod
    def nothing_held(cls, problem: Problem) -> Split:
        """All of a measurement, for its residual."""
        return cls(problem, torch.zeros_like(problem.data, dtype=torch.bool))

    def objective(self, image: Tensor) -> tuple[Tensor, float]:
        """Loss per used measurement, and their whitened root-mean-square residual (1 is the noise level)."""
        return self._objective(image, ~self.held)

    def residual(self, image: Tensor) -> float:
        """Whitened root-mean-square residual of all measurements."""
        with torch.no_grad():
            return self._objective(image, torch.ones_like(self.held))[1]

    def _objective(self, image: Tensor, fitted: Tensor) -> tuple[Tensor, float]:
        problem = self.problem
        prediction = problem.predict(image)
        with torch.no_grad():
            target, precision = problem.noise.surrogate(prediction.detach(), problem.data)
            precision = precision * fitted
        count = int(fitted.sum())
        error = prediction - target
        squared = precision * (error.real.square() + error.imag.square() if error.is_complex() else error.square())
        loss = 0.5 * squared.sum() / count
        residual = float((2 * loss.detach() / (2 if error.is_complex() else 1)).sqrt())
        if self.tv is not None:
            loss = loss + self.tv.penalty(image) / count
        return loss, residual

    @torch.no_grad()
    def misfit(self, image: Tensor) -> float:
        """Mean negative log-likelihood of what is held out; NaN when nothing is."""
        if not self.watched:
            return float("nan")
        problem = self.problem
        prediction = problem.predict(image)[self.held]
        return float(problem.noise.negative_log_likelihood(prediction, problem.data[self.held])) / int(self.held.sum())
