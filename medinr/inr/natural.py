"""Natural gradient with Kronecker factors (K-FAC; Martens & Grosse, ICML 2015) for coordinate networks.

Every layer's Gauss-Newton matrix is taken as ``A (x) G`` (see `medinr.inr.sweep`), so the step of a layer is
``G^-1 [dW db] A^-1``. The factors are running means, inverted every few steps. How far a step may go is decided by
what it changes: the squared change of the output, as the factors predict it, stays below a fraction of the present
squared error (a trust region; Ba, Grosse & Martens, ICLR 2017, section 5), so steps shrink with the error and no step
size has to be tuned.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.inr.sweep import Gradient, Layers


@dataclass(frozen=True)
class NaturalSettings:
    """How weights move.

    Attributes
    ----------
    damping : float
        Added to each factor, relative to the mean of its diagonal.
    trust : float
        Mean squared change of the output that a step predicts, relative to the present squared error, at most.
    momentum : float
        Share of the previous step that is kept.
    renew_every : int
        Steps between two collections of curvature.
    memory : float
        Share of the old curvature that is kept when new is collected.
    """

    damping: float = 0.01
    trust: float = 0.1
    momentum: float = 0.7
    renew_every: int = 4
    memory: float = 0.7

    def __post_init__(self) -> None:
        if self.damping <= 0 or self.trust <= 0 or self.renew_every < 1:
            raise ConfigError(f"damping, trust and renew_every must be above 0; got {self}.")
        if not (0 <= self.momentum < 1 and 0 <= self.memory < 1):
            raise ConfigError(f"momentum and memory must lie in [0, 1); got {self.momentum}, {self.memory}.")


class NaturalGradient:
    """Moves `Layers`, one step per call.

    Parameters
    ----------
    layers : Layers
        Moved in place.
    settings : NaturalSettings
    """

    def __init__(self, layers: Layers, settings: NaturalSettings) -> None:
        self.layers, self.settings = layers, settings
        self.taken = 0
        self._input_factors: list[Tensor] = []
        self._output_factors: list[Tensor] = []
        self._input_inverses: list[Tensor] = []
        self._output_inverses: list[Tensor] = []
        self._moves: list[Tensor] = []

    @property
    def wants_curvature(self) -> bool:
        """Whether the next step needs a sweep with curvature."""
        return self.taken % self.settings.renew_every == 0 or not self._input_inverses

    def _renew(self, gradient: Gradient) -> None:
        memory = self.settings.memory if self._input_factors else 0.0
        if not self._input_factors:
            self._input_factors = [torch.zeros_like(f) for f in gradient.input_factors]
            self._output_factors = [torch.zeros_like(f) for f in gradient.output_factors]
        for kept, new in zip(
            [*self._input_factors, *self._output_factors],
            [*gradient.input_factors, *gradient.output_factors],
            strict=True,
        ):
            kept.lerp_(new, 1 - memory)
        damping = self.settings.damping
        self._input_inverses = [damped_inverse(f, damping) for f in self._input_factors]
        self._output_inverses = [damped_inverse(f, damping) for f in self._output_factors]

    @torch.no_grad()
    def step(self, gradient: Gradient, factor: float = 1.0) -> None:
        """Move the layers along the natural gradient.

        Parameters
        ----------
        gradient : Gradient
            With curvature when `wants_curvature` said so.
        factor : float
            Of the step, on top of the trust region; 1 is a full Gauss-Newton step.
        """
        if gradient.input_factors:
            self._renew(gradient)
        directions, promise = [], 0.0
        stacked = [torch.column_stack(pair) for pair in zip(gradient.weights, gradient.biases, strict=True)]
        for slope, left, right in zip(stacked, self._output_inverses, self._input_inverses[:-1], strict=True):
            directions.append(left @ slope @ right)
            promise += float((directions[-1] * slope).sum())
        directions.append(self._input_inverses[-1] @ gradient.head)
        promise += float((directions[-1] * gradient.head).sum())

        allowed = self.settings.trust * float(gradient.squared_error.sum())
        length = factor * min(1.0, (allowed / max(promise * factor, 1e-30)) ** 0.5)
        momentum = self.settings.momentum
        if self._moves:
            for move, direction in zip(self._moves, directions, strict=True):
                move.mul_(momentum).add_(direction, alpha=(1 - momentum) * length)
        else:
            self._moves = [direction * length for direction in directions]
        for weight, bias, move in zip(self.layers.weights, self.layers.biases, self._moves[:-1], strict=True):
            weight.sub_(move[:, :-1])
            bias.sub_(move[:, -1])
        self.layers.head.sub_(self._moves[-1])
        self.taken += 1

    def forget(self) -> None:
        """Drop momentum and curvature, after the layers were set by other means."""
        self._moves, self._input_inverses, self._input_factors = [], [], []


def damped_inverse(factor: Tensor, damping: float) -> Tensor:
    """Inverse of ``factor + damping * mean(diagonal) * I``, with more damping where rounding asks for it.

    Parameters
    ----------
    factor : Tensor, shape (p, p)
        Symmetric, positive semi-definite.
    damping : float
    """
    identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    unit = float(factor.diagonal().mean()) or 1.0
    for _ in range(12):
        root, info = torch.linalg.cholesky_ex(factor + damping * unit * identity)
        if int(info) == 0:
            return torch.cholesky_inverse(root)
        damping *= 10
    return identity / unit
