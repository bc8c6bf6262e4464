"""Image-domain fit: a network is fitted to a given image, fast, because a step needs only some of the pixels.

Natural-gradient steps on minibatches of pixels (`medinr.network.kfac`); the head is solved in closed form at the start
and at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from medinr.errors import ConfigError
from medinr.network.guard import Guard
from medinr.network.head import solve_head
from medinr.network.kfac import KfacOptimiser, KfacSettings
from medinr.network.sweep import Gradient, Layers, Sweep
from medinr.network.trunk import Trunk
from medinr.precision import PRECISIONS, Precision

#: Ridge of the head, relative to the mean of the normal matrix's diagonal.
RIDGE = 1e-8

#: Least number of steps, however small the image. Steps are cheap there, and smaller batches would not do instead: a
#: step on only some hundred pixels fits them at the cost of all others, and the image gets worse by decibels.
LEAST_STEPS = 40

#: During the first steps, so many of them and more until a later image is better, trunk and head are those of the best
#: image so far. The closed-form head is the best one for the trunk's initial features, so any change of the trunk makes
#: the image worse at first; long steps that lose image quality at first end with a better image than short ones.
KEEP_BEST_STEPS = 10

#: Pixels by which it is decided which image is best.
PROBE_PIXELS = 2048

#: Step after which the head is solved again, on one batch: by then the old head does not suit the changed features.
SOLVE_HEAD_AFTER = 2


@dataclass(frozen=True)
class ImageDomainSettings:
    """How a network is fitted to an image.

    Attributes
    ----------
    passes : float
        Times every pixel is used, on average; more often in an image so small that there would be fewer than
        `LEAST_STEPS` steps; 8 is plenty. 0 leaves out the image-domain fit, and with it the network.
    batch : int
        Pixels per step, drawn anew in every pass without replacement; all of an image that has no more.
    kfac : KfacSettings
    final : float
        Step length at the end of the cosine schedule, relative to the start.
    encoding_rate : float
        Step size of Adam for the parameters of the encoding, for backbones with a hash grid.
    precision : {"auto", "float32"}
        ``"auto"``: bfloat16 products where the device is fast at them and the error still large.

    Raises
    ------
    ConfigError
        On a value outside its range.
    """

    passes: float = 0.0
    batch: int = 6144
    kfac: KfacSettings = field(default_factory=KfacSettings)
    final: float = 0.01
    encoding_rate: float = 1e-2
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.passes < 0 or self.batch < 1 or not 0 <= self.final <= 1:
            raise ConfigError(
                "The image-domain fit wants passes of 0 or more, a batch of 1 or more and final from 0 to 1; "
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
        >>> ImageDomainSettings(final=0.0).factor(5, 10)
        0.5
        """
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))


def _step_tables(tables: torch.optim.Optimizer, inputs: Tensor, gradient: Gradient, rate: float) -> None:
    tables.zero_grad()
    inputs.backward(gradient.inputs)
    tables.param_groups[0]["lr"] = rate
    tables.step()


@torch.no_grad()
def best_head(features: Tensor, values: Tensor) -> Tensor:
    """Least-squares head from features ``(n, p)`` to values ``(n, heads)``, found in float64, shape (p, heads)."""
    p = features.shape[1]
    matrix = features.new_zeros(p, p, dtype=torch.float64)
    right = features.new_zeros(p, values.shape[1], dtype=torch.float64)
    for rows, wanted in zip(features.split(8192), values.split(8192), strict=True):
        exact = rows.double()
        matrix.addmm_(exact.T, exact)
        right.addmm_(exact.T, wanted.double())
    return solve_head(matrix, right, RIDGE * float(matrix.diagonal().mean())).to(values.dtype)


def to_values(image: Tensor) -> Tensor:
    """Image ``(y, x)`` as network values ``(y * x, heads)``: two heads when it is complex, else one."""
    return torch.view_as_real(image).reshape(-1, 2) if image.is_complex() else image.reshape(-1, 1)


def _draws(points: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(points, generator=generator).split(batch)[: points // batch]


def _sample(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw indices of ``count`` points; of all points if there are no more."""
    return torch.randperm(len(points), generator=generator)[:count].to(points.device)


def _squared_error(rendered: Tensor, values: Tensor) -> float:
    return float((rendered - values).square().sum(dim=1).mean())


class _BestSoFar:
    """Trunk and head of the best image so far, judged by some of its pixels.

    Values outside the range of the image are clipped: they do not matter in the end (no magnitude is negative), and an
    image may get worse within its range while its squared error falls outside. A NaN is never better.
    """

    def __init__(self, trunk: Trunk, head: nn.Parameter, points: Tensor, values: Tensor) -> None:
        self.trunk, self.head, self.points, self.values = trunk, head, points, values
        self.lowest, self.highest = values.amin(dim=0), values.amax(dim=0)
        self.parameters = [*trunk.weights, *trunk.biases, head]
        self.least, self.best = math.inf, [p.detach().clone() for p in self.parameters]
        self.keep_or_restore()

    @torch.no_grad()
    def keep_or_restore(self) -> bool:
        """Keep the present trunk and head if they are the best so far, else restore the best; whether they are."""
        rendered = self.trunk.features(self.points) @ self.head
        error = _squared_error(rendered.clamp(self.lowest, self.highest), self.values)
        better = error <= self.least
        self.least = error if better else self.least
        for kept, parameter in zip(self.best, self.parameters, strict=True):
            (kept if better else parameter).copy_(parameter if better else kept)
        return better


@torch.no_grad()
def _solve_head_again(layers: Layers, head: nn.Parameter, points: Tensor, values: Tensor, guard: Guard) -> None:
    """Solve the head of the working copy again, if the guard passes the weights: a new head would hide a bad step."""
    features = layers.trunk.features(points)
    if guard.passes(_squared_error(features @ head, values)):
        layers.head.copy_(best_head(features, values))
    layers.write_back(head)


@torch.no_grad()
def _solve_last_head(trunk: Trunk, head: nn.Parameter, points: Tensor, values: Tensor, guard: Guard) -> None:
    """Solve the head at the end, on weights that the guard passes: the last step was not checked yet."""
    features = trunk.features(points)
    if not guard.passes(_squared_error(features @ head, values)):
        guard.layers.write_back(head)
        features = trunk.features(points)
    head.copy_(best_head(features, values))


def fit_image_domain(
    trunk: Trunk,
    head: nn.Parameter,
    points: Tensor,
    values: Tensor,
    settings: ImageDomainSettings,
    *,
    generator: torch.Generator,
    after_step: Callable[[int], bool] = lambda step: True,
) -> None:
    """Fit trunk and head, in place, to an image.

    The head is the closed-form one at the start and at the end.

    Parameters
    ----------
    trunk : Trunk
    head : Parameter, shape (width + 1, heads)
    points : Tensor, shape (n, inputs)
        Network coordinates of the pixels.
    values : Tensor, shape (n, heads)
        The image, in solver units (`to_values`).
    settings : ImageDomainSettings
    generator : torch.Generator
        For the pixels of each step.
    after_step : callable, optional
        Called with the number of steps done; when it returns False the fit ends. Trunk and head are up to date then.
    """
    with torch.no_grad():
        head.copy_(best_head(trunk.features(points), values))
    layers = Layers.of(trunk, head)
    sweep, optimiser = Sweep(layers), KfacOptimiser(layers, settings.kfac)
    encoding = trunk.encoding_parameters()
    guard = Guard(layers, optimiser, encoding)
    precision = Precision(settings.precision, values.device, float(values.square().sum(dim=1).mean()))
    steps = settings.steps(len(points))
    tables = torch.optim.Adam(encoding, lr=settings.encoding_rate) if encoding else None
    draws = _draws(len(points), settings.batch_for(len(points)), generator)
    probe = _sample(points, PROBE_PIXELS, generator)
    # Parameters of an encoding have no working copy: restoring those of the best image would undo steps of the fit.
    best = None if encoding else _BestSoFar(trunk, head, points[probe], values[probe])
    for step in range(steps):
        picked = next(draws).to(points.device)
        inputs = trunk.encode(points[picked])
        with precision.products(guard.running):
            gradient = sweep.run(
                inputs.detach(),
                values[picked],
                curvature=optimiser.needs_curvature,
                input_gradient=tables is not None,
            )
        if guard.passes(float(gradient.squared_error.sum())):
            factor = guard.step_scale * settings.factor(step, steps)
            optimiser.step(gradient, factor)
            if tables is not None:
                _step_tables(tables, inputs, gradient, settings.encoding_rate * factor)
        layers.write_back(head)
        if step + 1 == SOLVE_HEAD_AFTER:
            # Far more pixels than features: otherwise the head would fit these pixels only.
            fresh = _sample(points, max(settings.batch, 16 * len(head)), generator)
            _solve_head_again(layers, head, points[fresh], values[fresh], guard)
        if best is not None and best.keep_or_restore() and step + 1 >= KEEP_BEST_STEPS:
            best = None
        if step + 1 == steps:
            _solve_last_head(trunk, head, points, values, guard)
        if not after_step(step + 1):
            return
