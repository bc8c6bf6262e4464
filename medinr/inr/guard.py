"""Nothing a step does may ruin a fit: a spike of the error is noticed, undone, and the next steps are shorter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.inr.natural import NaturalGradient
from medinr.inr.sweep import Layers

#: An error this many times the running one is a spike; minibatches alone vary by a few tens of per cent.
SPIKE = 4.0

#: Share of the old running error kept per step.
MEMORY = 0.9

#: Steps between copies of the weights.
COPY_EVERY = 10


class Guard:
    """Watches the error of a fit and rolls back.

    Parameters
    ----------
    layers : Layers
    mover : NaturalGradient
        Told to forget its momentum and curvature after a roll-back.
    others : sequence of Tensor
        What moves beside the layers, such as a hash grid's tables: layers that were good with other tables need not
        be good with these.

    Attributes
    ----------
    running : float
        Running mean of the squared error; infinite before the first step.
    caution : float
        Factor on the step length: 1, halved at every roll-back.
    rolled_back : int
        Number of roll-backs.
    """

    def __init__(self, layers: Layers, mover: NaturalGradient, others: Sequence[Tensor] = ()) -> None:
        self.layers, self.mover, self.others = layers, mover, list(others)
        self.running, self.caution, self.rolled_back = math.inf, 1.0, 0
        self._copy = self._copies()
        self._since = 0

    def _watched(self) -> list[Tensor]:
        return [*self.layers.tensors(), *self.others]

    def _copies(self) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in self._watched()]

    @torch.no_grad()
    def passes(self, squared_error: float) -> bool:
        """Whether the weights that gave this error may be moved on; if not, they are back where they were.

        Parameters
        ----------
        squared_error : float
            Of this step's points, before the step.
        """
        if not math.isfinite(squared_error) or squared_error > SPIKE * self.running:
            for tensor, good in zip(self._watched(), self._copy, strict=True):
                tensor.copy_(good)
            self.mover.forget()
            self.caution /= 2
            self.rolled_back += 1
            return False
        if self._since % COPY_EVERY == 0:
            self._copy = self._copies()
        self._since += 1
        self.running = (
            squared_error if math.isinf(self.running) else MEMORY * self.running + (1 - MEMORY) * squared_error
        )
        return True
