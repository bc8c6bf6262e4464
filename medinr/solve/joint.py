"""The joint fit: slices that share a grid share one trunk, each with a head of its own.

The features of a coordinate network depend on where a point is, not on what was measured there. Slices on one pixel
grid can therefore be learned side by side: one trunk, the heads of all slices next to each other, and the expensive
part of a fit is paid once instead of once per slice. What depends on the measurement stays with its slice:

1. *guide*: prior and measurement take turns, slice by slice (`draw_guide`);
2. *imitate*: one trunk learns all guides at once, and stops by the mean over the slices' held-out measurements
   (`teach`);
3. *finish*: a few more turns from the network's image, slice by slice (`finish_slice`).

One slice alone comes out as `medinr.solve.fit.fit` leaves it, up to the rounding of one scaling.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.inr.network import Trunk
from medinr.operators import Identity
from medinr.prior.local import ImagePrior
from medinr.solve.fit import FitSettings
from medinr.solve.network_fit import NetworkFit, Split
from medinr.solve.phases import Record, find_target, finish, imitate_targets
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step

#: Relative difference up to which two pixel spacings are one: affines in files are rounded to float32.
SAME_SPACING = 1e-5


@dataclass(frozen=True, eq=False)
class Guide:
    """What the network is to learn of one slice.

    Attributes
    ----------
    image : Tensor, shape (y, x)
        In network units.
    seconds : float
        Wall time it took.
    residual : float
        Whitened root-mean-square residual of the measurements it was made from.
    """

    image: Tensor
    seconds: float
    residual: float


@dataclass(frozen=True, eq=False)
class Taught:
    """What the network made of one slice.

    Attributes
    ----------
    solution : Solution
        With the network's image.
    error : float
        By how much that misses the guide: standard deviation (per real and imaginary part) in network units.
        0 for a slice alone, whose network misses little.
    """

    solution: Solution
    error: float


def fits_jointly(problems: Sequence[Problem], prior: ImagePrior | None, settings: FitSettings) -> bool:
    """Whether these slices can be fitted jointly with these settings (`require_joint`)."""
    return _obstacle(problems, prior, settings) is None


def require_joint(problems: Sequence[Problem], prior: ImagePrior | None, settings: FitSettings) -> None:
    """Refuse slices and settings that cannot be fitted jointly.

    Raises
    ------
    ShapeError
        When the slices do not share a grid.
    ConfigError
        When the settings ask for what a joint fit does not have.
    """
    obstacle = _obstacle(problems, prior, settings)
    if obstacle is not None:
        raise obstacle


def _obstacle(problems: Sequence[Problem], prior: ImagePrior | None, settings: FitSettings) -> Exception | None:
    if not problems:
        return ShapeError("A joint fit wants one slice or more; got none.")
    first = problems[0]
    for number, problem in enumerate(problems):
        same = all(abs(a - b) <= SAME_SPACING * b for a, b in zip(problem.spacing, first.spacing, strict=True))
        if problem.shape != first.shape or not same:
            return ShapeError(
                f"A joint fit wants slices on one grid: the first has {first.shape} pixels (y, x) of "
                f"{first.spacing} mm, number {number} from 0 has {problem.shape} of {problem.spacing} mm. "
                "Fit them slice by slice."
            )
    if settings.steps > 0:
        return ConfigError(
            f"A joint fit has no steps moved by the measurement; fit.steps is {settings.steps}. "
            "Fit slice by slice (joint: never), or leave the steps out: --set fit.steps=0"
        )
    if settings.imitation.passes == 0:
        return ConfigError("A joint fit is an imitation; fit.imitation.passes is 0. Fit slice by slice (joint: never).")
    direct = settings.stopping.held_out == 0 and all(isinstance(p.operator, Identity) for p in problems)
    if prior is None and not direct:
        return ConfigError(
            "This trunk has no local prior, so there is nothing for the slices to learn jointly. "
            "Use a trunk with a prior, or fit slice by slice (joint: never)."
        )
    return None


def fit_jointly(
    problems: Sequence[Problem],
    trunk: Trunk,
    length_scale: float,
    settings: FitSettings,
    *,
    prior: ImagePrior | None = None,
    progress: Callable[[int, Step], None] | None = None,
) -> list[Solution]:
    """Fit one trunk and a head per slice to the measurements of several slices.

    Parameters
    ----------
    problems : sequence of Problem
        One per slice, all with the same shape and spacing.
    trunk : Trunk
        Where to start; it is copied, not changed.
    length_scale : float
        Millimetres per unit of network coordinate (from the trunk's card).
    settings : FitSettings
    prior : ImagePrior, optional
        What came with the trunk.
    progress : callable, optional
        Called with the position of a slice and every `Step` of it.

    Returns
    -------
    list of Solution
        One per slice; ``seconds`` is its own guide and finish, and its share of the imitation.

    Raises
    ------
    ShapeError, ConfigError
        See `require_joint`.
    """
    require_joint(problems, prior, settings)
    guides = [draw_guide(problem, prior, settings, shared=len(problems) > 1) for problem in problems]
    taught = teach(problems, guides, trunk, length_scale, settings, progress=progress)
    return [finish_slice(problem, part, prior, settings) for problem, part in zip(problems, taught, strict=True)]


def draw_guide(problem: Problem, prior: ImagePrior | None, settings: FitSettings, *, shared: bool = True) -> Guide:
    """Make what the network is to learn of a slice, without the held-out measurements.

    A trunk that is shared learns it coarsely, and the turns at the end start from there: fewer turns will do.

    Raises
    ------
    ConfigError
        When there is neither prior nor image to learn.
    """
    started = time.perf_counter()
    split, _ = _split(problem, settings)
    turns = min(settings.guide.iterations, settings.joint_guide) if shared else settings.guide.iterations
    target = find_target(split, prior, replace(settings.guide, iterations=turns), settings.imitation)
    if target is None:
        raise ConfigError("There is nothing for the network to learn: no local prior, or no passes of imitation.")
    residual = split.objective(target)[1]
    return Guide(target, time.perf_counter() - started, residual)


def teach(
    problems: Sequence[Problem],
    guides: Sequence[Guide],
    trunk: Trunk,
    length_scale: float,
    settings: FitSettings,
    *,
    progress: Callable[[int, Step], None] | None = None,
) -> list[Taught]:
    """Let one copy of a trunk learn all guides.

    Parameters
    ----------
    problems, guides
        One each per slice.
    trunk, length_scale, settings, progress
        See `fit_jointly`.
    """
    started = time.perf_counter()
    drawn = [_split(problem, settings) for problem in problems]
    splits = [split for split, _ in drawn]
    # Slices of one shape leave their generators in one state; the first one's draws the pixels, as in a fit alone.
    generator = drawn[0][1]
    state = NetworkFit(splits, trunk, length_scale, generator)
    planned = settings.planned(len(state.points))
    record = Record(state, planned, settings.stopping, progress, spent=[guide.seconds for guide in guides])
    imitate_targets(state, record, [guide.image for guide in guides], settings.imitation, generator)
    reason, stopped_at = record.settle()
    with torch.no_grad():
        images = state.render()
    share = (time.perf_counter() - started) / len(problems)
    return [
        Taught(
            Solution(
                image * split.problem.scale,
                reason,
                stopped_at,
                guide.seconds + share,
                split.residual(image),
                tuple(rows),
                asdict(settings),
            ),
            _deviation(image - guide.image) if len(problems) > 1 else 0.0,
        )
        for split, guide, image, rows in zip(splits, guides, images, record.rows, strict=True)
    ]


def _deviation(error: Tensor) -> float:
    parts = torch.view_as_real(error) if error.is_complex() else error
    return float(parts.square().mean().sqrt())


def finish_slice(problem: Problem, taught: Taught, prior: ImagePrior | None, settings: FitSettings) -> Solution:
    """Finish what `teach` made of a slice, with every measurement.

    One trunk for many slices misses each guide by more than a trunk for one, so the last turns of prior and
    measurement begin where that error is (`medinr.solve.phases.finish`).
    """
    solution = taught.solution
    if prior is None or settings.finish == 0:
        return solution
    started = time.perf_counter()
    start = solution.image / problem.scale
    image = finish(problem, start, prior, settings.guide, settings.finish, taught.error)
    residual = Split(problem, torch.zeros_like(problem.data, dtype=torch.bool)).residual(image)
    seconds = solution.seconds + time.perf_counter() - started
    return replace(solution, image=image * problem.scale, residual=residual, seconds=seconds)


def _split(problem: Problem, settings: FitSettings) -> tuple[Split, torch.Generator]:
    """Hold out what a fit of this slice alone would, so that a guide serves both."""
    generator = torch.Generator().manual_seed(settings.seed)
    return Split(problem, problem.draw_held_out(settings.stopping.held_out, generator), settings.tv_weight), generator
