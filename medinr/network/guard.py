"""Protection of a fit against single bad steps: a spike of the error is undone, and the next steps are shorter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.network.kfac import KfacOptimiser
from medinr.network.sweep import Layers

#: An error this many times the running mean is a spike; minibatches alone vary by a few tens of per cent.
SPIKE = 4.0

#: Share of the old running mean kept per step.
MEMORY = 0.9

#: Steps between copies of the weights.
COPY_EVERY = 10


class Guard:
    """Checks the error of every step and rolls back to earlier weights.

    Parameters
    ----------
    layers : Layers
    optimiser : KfacOptimiser
        Its momentum and curvature are discarded after a roll-back.
    others : sequence of Tensor
        What else the steps change, such as a hash grid's tables: layers that were good with other tables need not
        be good with the present ones.

    Attributes
    ----------
    running : float
        Running mean of the squared error; infinite before the first step.
    step_scale : float
        Factor on the step length: 1, halved at every roll-back.
    rolled_back : int
        Number of roll-backs.
    """

    def __init__(self, layers: Layers, optimiser: KfacOptimiser, others: Sequence[Tensor] = ()) -> None:
        self.layers, self.optimiser, self.others = layers, optimiser, list(others)
        self.running, self.step_scale, self.rolled_back = math.inf, 1.0, 0
        self._copy = self._copies()
        self._passed = 0

    def _guarded(self) -> list[Tensor]:
        return [*self.layers.tensors(), *self.others]

    def _copies(self) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in self._guarded()]

    @torch.no_grad()
    def passes(self, squared_error: float) -> bool:
        """Whether the weights that gave this error may be used; if not, earlier ones have been restored.

        Parameters
        ----------
        squared_error : float
            Of this step's points, before the step.
        """
        if not math.isfinite(squared_error) or squared_error > SPIKE * self.running:
            for tensor, good in zip(self._guarded(), self._copy, strict=True):
                tensor.copy_(good)
            self.optimiser.forget()
            self.step_scale /= 2
            self.rolled_back += 1
            return False
        if self._passed % COPY_EVERY == 0:
            self._copy = self._copies()
        self._passed += 1
        self.running = (
            squared_error if math.isinf(self.running) else MEMORY * self.running + (1 - MEMORY) * squared_error
        )
        return True
