"""Natural gradient with Kronecker factors (K-FAC; Martens & Grosse, ICML 2015) for coordinate networks.

Every layer's Gauss-Newton matrix is approximated by ``A (x) G`` (see `medinr.network.sweep`), so the step of a layer is
``G^-1 [dW db] A^-1``. The factors are running means, inverted every few steps. The length of a step follows from its
effect: the squared change of the output that the factors predict stays below a fraction of the present squared error
(a trust region; Ba, Grosse & Martens, ICLR 2017, section 5), so steps shrink with the error and no step size has to be
tuned.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.network.sweep import Gradient, Layers


@dataclass(frozen=True)
class KfacSettings:
    """Settings of the optimiser.

    Attributes
    ----------
    damping : float
        Added to the diagonal of each factor, relative to the mean of the diagonal.
    trust : float
        Largest predicted mean squared change of the output by a step, relative to the present squared error.
    momentum : float
        Share of the previous step that is kept.
    renew_every : int
        Steps between two updates of the curvature.
    memory : float
        Share of the old curvature that is kept in an update.

    Raises
    ------
    ConfigError
        On a value outside its range.
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


class KfacOptimiser:
    """Optimises `Layers`, one step per call.

    Parameters
    ----------
    layers : Layers
        Changed in place.
    settings : KfacSettings
    """

    def __init__(self, layers: Layers, settings: KfacSettings) -> None:
        self.layers, self.settings = layers, settings
        self.steps_taken = 0
        self._input_factors: list[Tensor] = []
        self._output_factors: list[Tensor] = []
        self._input_inverses: list[Tensor] = []
        self._output_inverses: list[Tensor] = []
        self._steps: list[Tensor] = []

    @property
    def needs_curvature(self) -> bool:
        """Whether the next step needs a sweep with curvature."""
        return self.steps_taken % self.settings.renew_every == 0 or not self._input_inverses

    def _update_curvature(self, gradient: Gradient) -> None:
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
        """Change the layers along the natural gradient.

        Parameters
        ----------
        gradient : Gradient
            With curvature when `needs_curvature` is true.
        factor : float
            Factor on the length of the step, beside the trust region; 1 is a full Gauss-Newton step.
        """
        if gradient.input_factors:
            self._update_curvature(gradient)
        directions, predicted = [], 0.0
        stacked = [torch.column_stack(pair) for pair in zip(gradient.weights, gradient.biases, strict=True)]
        for slope, left, right in zip(stacked, self._output_inverses, self._input_inverses[:-1], strict=True):
            directions.append(left @ slope @ right)
            predicted += float((directions[-1] * slope).sum())
        directions.append(self._input_inverses[-1] @ gradient.head)
        predicted += float((directions[-1] * gradient.head).sum())

        allowed = self.settings.trust * float(gradient.squared_error.sum())
        length = factor * min(1.0, (allowed / max(predicted * factor, 1e-30)) ** 0.5)
        momentum = self.settings.momentum
        if self._steps:
            for step, direction in zip(self._steps, directions, strict=True):
                step.mul_(momentum).add_(direction, alpha=(1 - momentum) * length)
        else:
            self._steps = [direction * length for direction in directions]
        for weight, bias, step in zip(self.layers.weights, self.layers.biases, self._steps[:-1], strict=True):
            weight.sub_(step[:, :-1])
            bias.sub_(step[:, -1])
        self.layers.head.sub_(self._steps[-1])
        self.steps_taken += 1

    def forget(self) -> None:
        """Discard momentum and curvature, after the layers were changed by other means."""
        self._steps, self._input_inverses, self._input_factors = [], [], []


def damped_inverse(factor: Tensor, damping: float) -> Tensor:
    """Inverse of ``factor + damping * mean(diagonal) * I``, with more damping where rounding makes it necessary.

    Parameters
    ----------
    factor : Tensor, shape (p, p)
        Symmetric, positive semi-definite.
    damping : float

    Returns
    -------
    Tensor, shape (p, p)
    """
    identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    unit = float(factor.diagonal().mean()) or 1.0
    for _ in range(12):
        root, info = torch.linalg.cholesky_ex(factor + damping * unit * identity)
        if int(info) == 0:
            return torch.cholesky_inverse(root)
        damping *= 10
    return identity / unit
