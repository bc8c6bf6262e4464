"""A network being fitted to one problem: trunk, head, what is held out, and what a step needs to know."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from medinr.inr.coordinates import plane_coordinates
from medinr.inr.network import Trunk, random_head
from medinr.prior.total_variation import TotalVariation
from medinr.solve.head import generalised_cross_validation, project_features, solve_head
from medinr.solve.problem import Problem

Weights = tuple[dict[str, Tensor], Tensor]


class NetworkFit:
    """The moving parts of a fit.

    Parameters
    ----------
    problem : Problem
    trunk : Trunk
        Copied.
    length_scale : float
        Millimetres per unit of network coordinate.
    held : Tensor of bool, shape of the data
        Measurements kept from the fit.
    tv_weight : float
        See `medinr.solve.FitSettings`.
    generator : torch.Generator
        For the random head.
    """

    def __init__(
        self,
        problem: Problem,
        trunk: Trunk,
        length_scale: float,
        held: Tensor,
        tv_weight: float,
        generator: torch.Generator,
    ) -> None:
        self.problem, self.held = problem, held
        self.trunk = copy.deepcopy(trunk)
        self.points = plane_coordinates(problem.shape, problem.spacing, length_scale)
        # In units of the noise, so that one weight suits every scanner and scale: weight * TV(image) / sigma.
        _, precision = problem.noise.surrogate(problem.data, problem.data)
        level = float(precision.double().mean().sqrt()) * problem.scale
        self.tv = TotalVariation(tv_weight * level) if tv_weight > 0 else None
        self.head = nn.Parameter(random_head(trunk.width, problem.heads, trunk.settings.omega, generator))

    @property
    def others(self) -> list[nn.Parameter]:
        """Parameters that are not square hidden matrices."""
        return [self.trunk.weights[0], *self.trunk.biases, self.head]

    def render(self) -> Tensor:
        """Image ``(y, x)`` in network units, with gradient."""
        return self.problem.image(self.trunk.render(self.points, self.head))

    @torch.no_grad()
    def solve_head(self, held: Tensor, image: Tensor | None, sweeps: int) -> None:
        """Replace the head by the closed-form one.

        Parameters
        ----------
        held : Tensor of bool
            Measurements not to use.
        image : Tensor or None
            Where noise model and TV are majorised first; None: at the data, without TV.
        sweeps : int
            Times to majorise and solve.
        """
        problem = self.problem
        features = self.trunk.features(self.points)
        projected = project_features(problem, features)
        for _ in range(sweeps):
            prediction = problem.data if image is None else problem.predict(image)
            target, precision = problem.noise.surrogate(prediction, problem.data)
            matrix, right, energy = projected.normal_equations(target, precision * ~held)
            curvature = torch.zeros_like(matrix)
            if self.tv is not None and image is not None:
                curvature = curvature + self.tv.gram(features, image)
            ridge = generalised_cross_validation(matrix, right, energy, curvature, int((~held).sum()))
            head = solve_head(matrix + curvature, right, ridge)
            self.head.copy_(torch.view_as_real(head).squeeze(1) if head.is_complex() else head)
            image = problem.image(features @ self.head)

    def objective(self, image: Tensor) -> tuple[Tensor, float]:
        """Loss per fitted measurement, and their whitened root-mean-square residual (1 is the noise level)."""
        problem, fitted = self.problem, ~self.held
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
        if not self.held.any():
            return float("nan")
        problem = self.problem
        prediction = problem.predict(image)[self.held]
        return float(problem.noise.negative_log_likelihood(prediction, problem.data[self.held])) / int(self.held.sum())

    def weights(self) -> Weights:
        """Copy of all weights."""
        return {k: v.detach().clone() for k, v in self.trunk.state_dict().items()}, self.head.detach().clone()

    def restore(self, weights: Weights) -> None:
        """Go back to a copy."""
        self.trunk.load_state_dict(weights[0])
        with torch.no_grad():
            self.head.copy_(weights[1])
