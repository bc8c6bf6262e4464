"""A network being fitted to one measurement, or to those of several slices: what a step needs to know."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medinr.inr.coordinates import plane_coordinates
from medinr.inr.network import Trunk, random_head
from medinr.prior.total_variation import TotalVariation
from medinr.solve.head import generalised_cross_validation, project_features, solve_head
from medinr.solve.problem import Problem

Weights = tuple[dict[str, Tensor], Tensor]


class Split:
    """A problem whose measurement is split: one part is fitted, the other judges the fit.

    Parameters
    ----------
    problem : Problem
    held : Tensor of bool, shape of the data
        Measurements kept from the fit.
    tv_weight : float
        See `medinr.solve.FitSettings`.

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

    def objective(self, image: Tensor) -> tuple[Tensor, float]:
        """Loss per fitted measurement, and their whitened root-mean-square residual (1 is the noise level)."""
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

    @torch.no_grad()
    def best_head(self, features: Tensor, image: Tensor | None, sweeps: int, *, everything: bool = False) -> Tensor:
        """Closed-form head that explains the measurement.

        Parameters
        ----------
        features : Tensor, shape (y * x, p)
        image : Tensor or None
            Where noise model and TV are majorised first; None: at the data, without TV.
        sweeps : int
            Times to majorise and solve.
        everything : bool
            Also use what is held out.

        Returns
        -------
        Tensor, shape (p, heads)
        """
        problem = self.problem
        fitted = torch.ones_like(self.held) if everything else ~self.held
        projected = project_features(problem, features)
        for _ in range(sweeps):
            prediction = problem.data if image is None else problem.predict(image)
            target, precision = problem.noise.surrogate(prediction, problem.data)
            matrix, right, energy = projected.normal_equations(target, precision * fitted)
            curvature = torch.zeros_like(matrix)
            if self.tv is not None and image is not None:
                curvature = curvature + self.tv.gram(features, image)
            ridge = generalised_cross_validation(matrix, right, energy, curvature, int(fitted.sum()))
            solved = solve_head(matrix + curvature, right, ridge)
            head = (torch.view_as_real(solved).squeeze(1) if solved.is_complex() else solved).to(features.dtype)
            image = problem.image(features @ head)
        return head


class NetworkFit:
    """The moving parts of a fit: one trunk, and the heads of all slices side by side.

    Parameters
    ----------
    splits : sequence of Split
        One per slice, all on one pixel grid.
    trunk : Trunk
        Copied.
    length_scale : float
        Millimetres per unit of network coordinate.
    generator : torch.Generator
        For the random heads.
    """

    def __init__(self, splits: Sequence[Split], trunk: Trunk, length_scale: float, generator: torch.Generator) -> None:
        self.splits = tuple(splits)
        first = self.splits[0].problem
        device = first.data.device
        self.trunk = copy.deepcopy(trunk).to(device)
        self.points = plane_coordinates(first.shape, first.spacing, length_scale).to(device)
        self._heads = [split.problem.heads for split in self.splits]
        drawn = random_head(trunk.width, sum(self._heads), trunk.settings.omega, generator)
        self.head = nn.Parameter(drawn.to(device))

    @property
    def others(self) -> list[nn.Parameter]:
        """Parameters that are not square hidden matrices."""
        return [self.trunk.weights[0], *self.trunk.biases, *self.trunk.encoding_parameters(), self.head]

    def render(self) -> list[Tensor]:
        """Image ``(y, x)`` of every slice in network units, with gradient."""
        values = self.trunk.render(self.points, self.head).split(self._heads, dim=1)
        return [split.problem.image(part) for split, part in zip(self.splits, values, strict=True)]

    @torch.no_grad()
    def solve_heads(self, images: Sequence[Tensor] | None, sweeps: int, *, everything: bool = False) -> None:
        """Replace every slice's head by the closed-form one (`Split.best_head`)."""
        features = self.trunk.features(self.points)
        starts = [None] * len(self.splits) if images is None else images
        heads = [
            split.best_head(features, start, sweeps, everything=everything)
            for split, start in zip(self.splits, starts, strict=True)
        ]
        self.head.copy_(torch.cat(heads, dim=1))

    def weights(self) -> Weights:
        """Copy of all weights."""
        return {k: v.detach().clone() for k, v in self.trunk.state_dict().items()}, self.head.detach().clone()

    def restore(self, weights: Weights) -> None:
        """Go back to a copy."""
        self.trunk.load_state_dict(weights[0])
        with torch.no_grad():
            self.head.copy_(weights[1])
