"""Teaching a network an image it can see directly: fast, because any few pixels will do for a step.

Natural-gradient steps on minibatches of pixels (`medinr.inr.natural`), the head in closed form at both ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from medinr.errors import ConfigError
from medinr.inr.guard import Guard
from medinr.inr.natural import NaturalGradient, NaturalSettings
from medinr.inr.network import Trunk
from medinr.inr.precision import PRECISIONS, Precision
from medinr.inr.sweep import Gradient, Layers, Sweep
from medinr.solve.head import solve_head

#: Ridge of the head, relative to the mean of the normal matrix's diagonal.
RIDGE = 1e-8

#: Steps an imitation has at least, however small the image. They are cheap there, and fewer pixels a step would not do:
#: a step that knows only some hundred pixels fits them at the cost of all others, and the image falls back by decibels.
LEAST_STEPS = 40

#: First steps of which only the best image is shown, and as many more as it takes to surpass it. The closed-form head
#: fits the trunk's old features to the image best, so any move of the trunk loses something first; a bold move that
#: loses now ends higher than a careful one.
BOLD_STEPS = 10

#: Pixels that tell which image is best.
PROBE = 2048

#: Step after which the head is solved for again, on one batch: the features have left the old head behind by then.
RENEWED_AFTER = 2


@dataclass(frozen=True)
class ImitationSettings:
    """How a network learns an image.

    Attributes
    ----------
    passes : float
        Times every pixel is seen, on average; more often in an image so small that there would be fewer than
        `LEAST_STEPS` steps; 8 is plenty. 0 leaves imitation, and with it the network, out.
    batch : int
        Pixels per step, drawn anew each time without replacement; all of an image that has no more.
    natural : NaturalSettings
    final : float
        Step length at the end of the cosine schedule, relative to the start.
    encoding_rate : float
        Step size of Adam on what the encoding learns, for backbones with a hash grid.
    precision : {"auto", "float32"}
        ``"auto"``: bfloat16 products where the device is fast at them and the error still large.
    """

    passes: float = 0.0
    batch: int = 6144
    natural: NaturalSettings = field(default_factory=NaturalSettings)
    final: float = 0.01
    encoding_rate: float = 1e-2
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.passes < 0 or self.batch < 1 or not 0 <= self.final <= 1:
            raise ConfigError(
                "Imitation wants passes of 0 or more, a batch of 1 or more and final from 0 to 1; "
                f"got {self.passes}, {self.batch}, {self.final}."
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(f"Precision {self.precision!r} is not one of {', '.join(PRECISIONS)}.")

    def batch_for(self, points: int) -> int:
        """Pixels per step for an image of so many pixels."""
        return min(self.batch, points)

    def steps(self, points: int) -> int:
        """Steps for an image of so many pixels."""
        return max(LEAST_STEPS, math.ceil(self.passes * points / self.batch_for(points))) if self.passes else 0

    def factor(self, step: int, steps: int) -> float:
        """Step length at ``step`` of ``steps``, relative to the trust region's.

        Examples
        --------
        >>> ImitationSettings(final=0.0).factor(5, 10)
        0.5
        """
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))


def _move_tables(tables: torch.optim.Optimizer, inputs: Tensor, gradient: Gradient, rate: float) -> None:
    tables.zero_grad()
    inputs.backward(gradient.inputs)
    tables.param_groups[0]["lr"] = rate
    tables.step()


@torch.no_grad()
def best_head(features: Tensor, values: Tensor) -> Tensor:
    """Head that fits values ``(n, heads)`` from features ``(n, p)`` best, in float64, shape (p, heads)."""
    p = features.shape[1]
    matrix = features.new_zeros(p, p, dtype=torch.float64)
    right = features.new_zeros(p, values.shape[1], dtype=torch.float64)
    for rows, wanted in zip(features.split(8192), values.split(8192), strict=True):
        exact = rows.double()
        matrix.addmm_(exact.T, exact)
        right.addmm_(exact.T, wanted.double())
    return solve_head(matrix, right, RIDGE * float(matrix.diagonal().mean())).to(values.dtype)


def to_values(image: Tensor) -> Tensor:
    """Image ``(y, x)`` as network values ``(y * x, heads)``: two heads when it is complex."""
    return torch.view_as_real(image).reshape(-1, 2) if image.is_complex() else image.reshape(-1, 1)


def _draws(points: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(points, generator=generator).split(batch)[: points // batch]


def _some(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Which points to look at, all of them if there are no more than ``count``."""
    return torch.randperm(len(points), generator=generator)[:count].to(points.device)


def _squared_error(rendered: Tensor, values: Tensor) -> float:
    return float((rendered - values).square().sum(dim=1).mean())


class _Shown:
    """What trunk and head show while the first steps are tried: the best image so far, by some of its pixels.

    Values outside the range of the image are cut: nobody will see them (no magnitude is negative), and an image may
    get worse within its range while its squared error falls outside. A NaN is never better.
    """

    def __init__(self, trunk: Trunk, head: nn.Parameter, points: Tensor, values: Tensor) -> None:
        self.trunk, self.head, self.points, self.values = trunk, head, points, values
        self.lowest, self.highest = values.amin(dim=0), values.amax(dim=0)
        self.parameters = [*trunk.weights, *trunk.biases, head]
        self.least, self.best = math.inf, [p.detach().clone() for p in self.parameters]
        self.settle()

    @torch.no_grad()
    def settle(self) -> bool:
        """Keep what trunk and head hold now if it is the best yet; put the best back if not."""
        rendered = self.trunk.features(self.points) @ self.head
        error = _squared_error(rendered.clamp(self.lowest, self.highest), self.values)
        better = error <= self.least
        self.least = error if better else self.least
        for kept, parameter in zip(self.best, self.parameters, strict=True):
            (kept if better else parameter).copy_(parameter if better else kept)
        return better


@torch.no_grad()
def _renew(layers: Layers, head: nn.Parameter, points: Tensor, values: Tensor, guard: Guard) -> None:
    """Solve for the head of the working copy, on weights that the guard lets pass: a new head would hide a bad step."""
    features = layers.trunk.features(points)
    if guard.passes(_squared_error(features @ head, values)):
        layers.head.copy_(best_head(features, values))
    layers.write_back(head)


@torch.no_grad()
def _end(trunk: Trunk, head: nn.Parameter, points: Tensor, values: Tensor, guard: Guard) -> None:
    """Solve for the head, on weights that the guard has seen: nobody has looked at the last step yet."""
    features = trunk.features(points)
    if not guard.passes(_squared_error(features @ head, values)):
        guard.layers.write_back(head)
        features = trunk.features(points)
    head.copy_(best_head(features, values))


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
        Called with the number of steps done; False ends the imitation. Trunk and head are up to date then.
    """
    with torch.no_grad():
        head.copy_(best_head(trunk.features(points), values))
    layers = Layers.of(trunk, head)
    sweep, mover = Sweep(layers), NaturalGradient(layers, settings.natural)
    learned = trunk.encoding_parameters()
    guard = Guard(layers, mover, learned)
    precision = Precision(settings.precision, values.device, float(values.square().sum(dim=1).mean()))
    steps = settings.steps(len(points))
    tables = torch.optim.Adam(learned, lr=settings.encoding_rate) if learned else None
    draws = _draws(len(points), settings.batch_for(len(points)), generator)
    probe = _some(points, PROBE, generator)
    # Tables that an encoding learns move in the trunk itself and cannot be shown otherwise than they are.
    shown = None if learned else _Shown(trunk, head, points[probe], values[probe])
    for step in range(steps):
        picked = next(draws).to(points.device)
        inputs = trunk.encode(points[picked])
        with precision.products(guard.running):
            gradient = sweep.run(
                inputs.detach(), values[picked], curvature=mover.wants_curvature, wants_inputs=tables is not None
            )
        if guard.passes(float(gradient.squared_error.sum())):
            factor = guard.caution * settings.factor(step, steps)
            mover.step(gradient, factor)
            if tables is not None:
                _move_tables(tables, inputs, gradient, settings.encoding_rate * factor)
        layers.write_back(head)
        if step + 1 == RENEWED_AFTER:
            # Far more pixels than features, or the head would fit those alone.
            fresh = _some(points, max(settings.batch, 16 * len(head)), generator)
            _renew(layers, head, points[fresh], values[fresh], guard)
        if shown is not None and shown.settle() and step + 1 >= BOLD_STEPS:
            shown = None
        if step + 1 == steps:
            _end(trunk, head, points, values, guard)
        if not after_step(step + 1):
            return
