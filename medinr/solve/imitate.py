"""Teaching a network an image it can see directly: fast, because any few pixels will do for a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from medinr.errors import ConfigError
from medinr.inr.network import Trunk
from medinr.inr.optimise import Optimiser, OptimiserSettings
from medinr.solve.head import solve_head

#: Ridge of the head, relative to the mean of the normal matrix's diagonal.
RIDGE = 1e-8


@dataclass(frozen=True)
class ImitationSettings:
    """How a network learns an image.

    Attributes
    ----------
    steps : int
        0 leaves it out.
    batch : int
        Pixels per step, drawn anew each time without replacement.
    optimiser : OptimiserSettings
    """

    steps: int = 60
    batch: int = 8192
    optimiser: OptimiserSettings = field(
        default_factory=lambda: OptimiserSettings(muon_rate=3e-3, adam_rate=2e-3, momentum=0.85)
    )

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch < 1:
            raise ConfigError(f"Imitation wants steps of 0 or more and a batch of 1 or more; got {self}.")


@torch.no_grad()
def best_head(features: Tensor, values: Tensor) -> Tensor:
    """Head that fits values ``(n, heads)`` from features ``(n, p)`` best, in float64, shape (p, heads)."""
    exact = features.double()
    matrix = exact.T @ exact
    ridge = RIDGE * float(matrix.diagonal().mean())
    return solve_head(matrix, exact.T @ values.double(), ridge).to(values.dtype)


def to_values(image: Tensor) -> Tensor:
    """Image ``(y, x)`` as network values ``(y * x, heads)``: two heads when it is complex."""
    return torch.view_as_real(image).reshape(-1, 2) if image.is_complex() else image.reshape(-1, 1)


def imitate(
    trunk: Trunk,
    head: nn.Parameter,
    points: Tensor,
    values: Tensor,
    settings: ImitationSettings,
    *,
    generator: torch.Generator,
    after_step: Callable[[int], bool] = lambda step: True,
) -> None:
    """Move trunk and head, in place, until they render an image.

    The head starts and ends as the closed-form one.

    Parameters
    ----------
    trunk : Trunk
    head : Parameter, shape (width + 1, heads)
    points : Tensor, shape (n, inputs)
    values : Tensor, shape (n, heads)
    settings : ImitationSettings
    generator : torch.Generator
        For the pixels of each step.
    after_step : callable, optional
        Called with the number of steps done; False ends the imitation.
    """

    def renew_head() -> None:
        with torch.no_grad():
            head.copy_(best_head(trunk.features(points), values))

    renew_head()
    optimiser = Optimiser(settings.optimiser, trunk.hidden_matrices(), [trunk.weights[0], *trunk.biases, head])
    order, position = torch.randperm(len(points), generator=generator), 0
    for step in range(settings.steps):
        if position + settings.batch > len(points):
            order, position = torch.randperm(len(points), generator=generator), 0
        picked = order[position : position + settings.batch]
        position += settings.batch
        optimiser.zero_grad()
        loss = (trunk.render(points[picked], head) - values[picked]).square().mean()
        loss.backward()
        optimiser.step(settings.optimiser.factor(step, settings.steps))
        if step + 1 == settings.steps:
            renew_head()
        if not after_step(step + 1):
            return
