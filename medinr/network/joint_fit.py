"""Joint fit: slices that share a grid share one trunk, each with a head of its own.

Neighbouring slices have most of their anatomy in common. One trunk can therefore be fitted to all of their images at
once, with the heads of all slices side by side, so that the expensive part of a fit is done once instead of once per
slice. What depends on the measurement is done slice by slice:

1. *plug-and-play*, slice by slice (`make_target`);
2. *image-domain fit*: one trunk is fitted to all those images at once, and stops by the mean misfit of the slices'
   held-out measurements (`fit_shared_trunk`);
3. *refinement*: a few more iterations from the network's image, slice by slice (`refine_slice`).

For a single slice the result is that of `medinr.network.fit.fit`, up to the rounding of one scaling.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.network.phases import Record, find_target, fit_targets, refine
from medinr.network.settings import FitSettings
from medinr.network.state import NetworkFit
from medinr.network.trunk import Trunk
from medinr.operators import Identity
from medinr.priors.denoiser_prior import ImagePrior
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step
from medinr.solve.split import Split

#: Relative difference up to which two pixel spacings are one: affines in files are rounded to float32.
SAME_SPACING = 1e-5


@dataclass(frozen=True, eq=False)
class Target:
    """The image of one slice that the network is fitted to.

    Attributes
    ----------
    image : Tensor, shape (y, x)
        In solver units.
    seconds : float
        Wall time that its reconstruction took.
    residual : float
        Whitened root-mean-square residual of the measurements that it was reconstructed from.
    """

    image: Tensor
    seconds: float
    residual: float


@dataclass(frozen=True, eq=False)
class FittedSlice:
    """Result of the fit for one slice, before refinement.

    Attributes
    ----------
    solution : Solution
        With the network's image.
    error : float
        Standard deviation of its difference from the target (per real and imaginary part), in solver units.
        0 for a single slice, whose network misses little.
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
        When the settings need something that a joint fit does not have.
    """
    obstacle = _obstacle(problems, prior, settings)
    if obstacle is not None:
        raise obstacle


def _obstacle(problems: Sequence[Problem], prior: ImagePrior | None, settings: FitSettings) -> Exception | None:
    if not problems:
        return ShapeError("A joint fit wants one slice or more; got none.")
    first = problems[0]
    for number, problem in enumerate(problems):
        same = problem.shape == first.shape and all(
            abs(a - b) <= SAME_SPACING * b for a, b in zip(problem.spacing, first.spacing, strict=True)
        )
        if len(problem.shape) != 2 or not same:
            return ShapeError(
                f"A joint fit wants slices on one grid: the first has {first.shape} pixels (y, x) of "
                f"{first.spacing} mm, number {number} from 0 has {problem.shape} of {problem.spacing} mm. "
                "Fit them slice by slice."
            )
    if settings.steps > 0:
        return ConfigError(
            f"A joint fit has no measurement-domain fit; network.steps is {settings.steps}. "
            "Fit slice by slice (network.shared_trunk: never), or leave the steps out: --set network.steps=0"
        )
    if settings.image_domain.passes == 0:
        return ConfigError(
            "A joint fit is an image-domain fit; network.image_domain.passes is 0. "
            "Fit slice by slice (network.shared_trunk: never)."
        )
    direct = settings.stopping.held_out == 0 and all(isinstance(p.operator, Identity) for p in problems)
    if prior is None and not direct:
        return ConfigError(
            "This model has no denoiser prior, so there are no images for a joint fit. "
            "Use a model with one, or fit slice by slice (network.shared_trunk: never)."
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
        Where the fit starts; it is copied, not changed.
    length_scale : float
        Millimetres per unit of network coordinate (from the model's card).
    settings : FitSettings
    prior : ImagePrior, optional
        For plug-and-play before and after.
    progress : callable, optional
        Called with the position of a slice and every `Step` of it.

    Returns
    -------
    list of Solution
        One per slice; ``seconds`` is the time of its own plug-and-play and refinement, and its share of the fit.

    Raises
    ------
    ShapeError, ConfigError
        See `require_joint`.
    """
    require_joint(problems, prior, settings)
    targets = [make_target(problem, prior, settings, shared=len(problems) > 1) for problem in problems]
    fitted = fit_shared_trunk(problems, targets, trunk, length_scale, settings, progress=progress)
    return [refine_slice(problem, part, prior, settings) for problem, part in zip(problems, fitted, strict=True)]


def make_target(problem: Problem, prior: ImagePrior | None, settings: FitSettings, *, shared: bool = True) -> Target:
    """Reconstruct the image of a slice that the network is fitted to, without the held-out measurements.

    A shared trunk fits it coarsely, and refinement starts from there, so fewer iterations are enough.

    Raises
    ------
    ConfigError
        When there is neither a prior nor a measured image.
    """
    started = time.perf_counter()
    split, _ = _split(problem, settings)
    iterations = (
        min(settings.plug_and_play.iterations, settings.shared_iterations)
        if shared
        else settings.plug_and_play.iterations
    )
    target = find_target(split, prior, replace(settings.plug_and_play, iterations=iterations), settings.image_domain)
    if target is None:
        raise ConfigError(
            "There is nothing for the network to be fitted to: no denoiser prior, or image_domain.passes of 0."
        )
    residual = split.objective(target)[1]
    return Target(target, time.perf_counter() - started, residual)


def fit_shared_trunk(
    problems: Sequence[Problem],
    targets: Sequence[Target],
    trunk: Trunk,
    length_scale: float,
    settings: FitSettings,
    *,
    progress: Callable[[int, Step], None] | None = None,
) -> list[FittedSlice]:
    """Fit one copy of a trunk to the images of all slices.

    Parameters
    ----------
    problems, targets
        One each per slice.
    trunk, length_scale, settings, progress
        See `fit_jointly`.

    Returns
    -------
    list of FittedSlice
    """
    started = time.perf_counter()
    drawn = [_split(problem, settings) for problem in problems]
    splits = [split for split, _ in drawn]
    # For slices of one shape all generators are in the same state now; the first draws the pixels, as for one slice.
    generator = drawn[0][1]
    state = NetworkFit(splits, trunk, length_scale, generator)
    planned = settings.planned(len(state.points))
    record = Record(state, planned, settings.stopping, progress, spent=[target.seconds for target in targets])
    fit_targets(state, record, [target.image for target in targets], settings.image_domain, generator)
    reason, stopped_at = record.restore_best()
    with torch.no_grad():
        images = state.render()
    share = (time.perf_counter() - started) / len(problems)
    return [
        FittedSlice(
            Solution(
                image * split.problem.scale,
                reason,
                stopped_at,
                target.seconds + share,
                split.residual(image),
                tuple(rows),
                asdict(settings),
            ),
            _deviation(image - target.image) if len(problems) > 1 else 0.0,
        )
        for split, target, image, rows in zip(splits, targets, images, record.rows, strict=True)
    ]


def _deviation(error: Tensor) -> float:
    parts = torch.view_as_real(error) if error.is_complex() else error
    return float(parts.square().mean().sqrt())


def refine_slice(problem: Problem, fitted: FittedSlice, prior: ImagePrior | None, settings: FitSettings) -> Solution:
    """Refine the result of `fit_shared_trunk` for a slice, with every measurement.

    One trunk for many slices misses each target by more than a trunk for one, so the iterations start at the noise
    level of that error (`medinr.network.phases.refine`).
    """
    solution = fitted.solution
    if prior is None or settings.refinement_iterations == 0:
        return solution
    started = time.perf_counter()
    start = solution.image / problem.scale
    image = refine(problem, start, prior, settings.plug_and_play, settings.refinement_iterations, fitted.error)
    residual = Split(problem, torch.zeros_like(problem.data, dtype=torch.bool)).residual(image)
    seconds = solution.seconds + time.perf_counter() - started
    return replace(solution, image=image * problem.scale, residual=residual, seconds=seconds)


def _split(problem: Problem, settings: FitSettings) -> tuple[Split, torch.Generator]:
    """Hold out the measurements that a fit of this slice alone would, so that a target suits both."""
    generator = torch.Generator().manual_seed(settings.seed)
    return Split(problem, problem.draw_held_out(settings.stopping.held_out, generator), settings.tv_weight), generator
