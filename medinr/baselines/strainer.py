"""The published STRAINER recipe, as its authors' library runs it, to compare speed and results.

STRAINER (Vyas et al., NeurIPS 2024; library alpine): pretrained trunk, random head, all weights optimised by Adam
at 1e-4 on all points at once through automatic differentiation, for 2000 steps.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from medinr.network.sweep import Layers, Sweep
from medinr.network.trunk import Trunk, random_head

#: Step size of the published recipe.
RATE = 1e-4


class PublishedRecipe:
    """The recipe on an image.

    Parameters
    ----------
    trunk : Trunk
        SIREN; copied.
    points : Tensor, shape (n, inputs)
    values : Tensor, shape (n, heads)
    seed : int
        For the head.
    """

    def __init__(self, trunk: Trunk, points: Tensor, values: Tensor, seed: int = 0) -> None:
        self.trunk, self.points, self.values = copy.deepcopy(trunk), points, values
        generator = torch.Generator().manual_seed(seed)
        self.head = nn.Parameter(random_head(trunk.width, values.shape[1], trunk.settings.omega, generator))
        self.optimiser = torch.optim.Adam([*self.trunk.parameters(), self.head], lr=RATE)
        self.layers = Layers.of(self.trunk, self.head)
        self._sweep = Sweep(self.layers)

    def step_as_published(self) -> float:
        """Take a step as the authors' library does, full graph in memory; return the mean squared error before it."""
        self.optimiser.zero_grad()
        h = self.points
        for weight, bias in zip(self.trunk.weights, self.trunk.biases, strict=True):
            h = torch.sin(self.trunk.settings.omega * functional.linear(h, weight, bias))
        # The library copies the features twice on their way to the decoder.
        h = h.clone().clone()
        output = torch.stack([functional.linear(h, self.head[:-1].T, self.head[-1])], dim=1)
        loss = functional.mse_loss(output.squeeze(1), self.values)
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def step(self) -> float:
        """Take the same step with the gradient of `medinr.network.sweep`: equal up to rounding, and faster."""
        self.layers.read(self.head)
        gradient = self._sweep.run(self.points, self.values)
        self.layers.assign(gradient, self.head, 2 / self.values.shape[1])
        self.optimiser.step()
        return float(gradient.squared_error.mean())
