"""State of a fit: one network, fitted to the measurement of one slice or to those of several."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medinr.network.coordinates import plane_coordinates
from medinr.network.head import generalised_cross_validation, project_features, solve_head
from medinr.network.trunk import Trunk, random_head
from medinr.solve.split import Split

Weights = tuple[dict[str, Tensor], Tensor]


@torch.no_grad()
def best_head(
    split: Split, features: Tensor, image: Tensor | None, sweeps: int, *, all_measurements: bool = False
) -> Tensor:
    """Closed-form head for the measurement.

    Parameters
    ----------
    split : Split
    features : Tensor, shape (y * x, p)
    image : Tensor or None
        In solver units, where noise model and total variation are majorised first; None: at the data, without total
        variation.
    sweeps : int
        Times to majorise and solve.
    all_measurements : bool
        Also use the held-out ones.

    Returns
    -------
    Tensor, shape (p, heads)
    """
    problem = split.problem
    fitted = torch.ones_like(split.held) if all_measurements else ~split.held
    projected = project_features(problem, features)
    for _ in range(sweeps):
        prediction = problem.data if image is None else problem.predict(image)
        target, precision = problem.noise.surrogate(prediction, problem.data)
        matrix, right, energy = projected.normal_equations(target, precision * fitted)
        curvature = torch.zeros_like(matrix)
        if split.tv is not None and image is not None:
            curvature = curvature + split.tv.gram(features, image)
        ridge = generalised_cross_validation(matrix, right, energy, curvature, int(fitted.sum()))
        solved = solve_head(matrix + curvature, right, ridge)
        head = (torch.view_as_real(solved).squeeze(1) if solved.is_complex() else solved).to(features.dtype)
        image = problem.image(features @ head)
    return head


class NetworkFit:
    """What a fit changes: one trunk, and the heads of all slices side by side.

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
        self.points = plane_coordinates(first.slice_shape, first.spacing, length_scale).to(device)
        self._heads = [split.problem.heads for split in self.splits]
        drawn = random_head(trunk.width, sum(self._heads), trunk.settings.omega, generator)
        self.head = nn.Parameter(drawn.to(device))

    @property
    def others(self) -> list[nn.Parameter]:
        """Parameters that are not square hidden matrices."""
        return [self.trunk.weights[0], *self.trunk.biases, *self.trunk.encoding_parameters(), self.head]

    def render(self) -> list[Tensor]:
        """Image ``(y, x)`` of every slice in solver units, with gradient."""
        values = self.trunk.render(self.points, self.head).split(self._heads, dim=1)
        return [split.problem.image(part) for split, part in zip(self.splits, values, strict=True)]

    @torch.no_grad()
    def solve_heads(self, images: Sequence[Tensor] | None, sweeps: int, *, all_measurements: bool = False) -> None:
        """Replace every slice's head by the closed-form one (`best_head`)."""
        features = self.trunk.features(self.points)
        starts = [None] * len(self.splits) if images is None else images
        heads = [
            best_head(split, features, start, sweeps, all_measurements=all_measurements)
            for split, start in zip(self.splits, starts, strict=True)
        ]
        self.head.copy_(torch.cat(heads, dim=1))

    def weights(self) -> Weights:
        """Copy of all weights."""
        return {k: v.detach().clone() for k, v in self.trunk.state_dict().items()}, self.head.detach().clone()

    def restore(self, weights: Weights) -> None:
        """Restore a copy of `weights`."""
        self.trunk.load_state_dict(weights[0])
        with torch.no_grad():
            self.head.copy_(weights[1])
