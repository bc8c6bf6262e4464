"""What a reconstruction checks of itself: its residual, and how well it predicts measurements that were held out."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from medinr.acquisition.base import Acquisition
from medinr.config.schema import DEFAULT_METHOD
from medinr.jobs.methods.variational import tv_image
from medinr.jobs.reconstruct.context import ReconstructionJob
from medinr.solve.checks import Check, residual_check
from medinr.solve.held_out_comparison import held_out_part, predict_held_out
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution
from medinr.solve.split import Split

#: Slices of a measurement of which a held-out part is predicted: one, one more for so many, and so many at most.
SLICES_EACH, MOST_SLICES = 8, 3

#: Iterations of plug-and-play and of total variation for that, at most. With 20, sparse-view CT predicted worse than
#: total variation does.
ITERATIONS, TV_ITERATIONS = 40, 100

#: By how much total variation has to be better, as all iterations of plug-and-play are better than so few.
TV_MARGIN = 1.05


def checks_of_slice(job: ReconstructionJob, position: int, solution: Solution) -> tuple[Check, ...]:
    """Check the solution of a slice.

    Parameters
    ----------
    job : ReconstructionJob
    position : int
    solution : Solution

    Returns
    -------
    tuple of Check
        Residual; of a few slices of a measurement in lines, points or views that plug-and-play reconstructs also the
        prediction of a held-out part, beside the direct image's and total variation's.
    """
    found: tuple[Check, ...] = (residual_check(solution.residual),)
    if position in _predicted(job):
        found += held_out_checks(job, position)
    return found


def _predicted(job: ReconstructionJob) -> frozenset[int]:
    if job.acquisition.group_axis is None or job.config.method.lower() != DEFAULT_METHOD:
        return frozenset()
    count = len(job.problems)
    wanted = min(MOST_SLICES, 1 + count // SLICES_EACH)
    return frozenset(round((k + 0.5) * count / wanted - 0.5) for k in range(wanted))


def held_out_checks(job: ReconstructionJob, position: int) -> tuple[Check, ...]:
    """Predict a fifth of a slice's lines or views from the rest, as the direct image and total variation do.

    Nothing where no line or view can be spared.
    """
    problem, config = job.problems[position], job.config
    held = held_out_part(problem, config.seed)
    if not bool(held.any()):
        return ()
    settings = replace(config.plug_and_play, iterations=min(ITERATIONS, config.plug_and_play.iterations))
    prior = job.priors[position] or job.denoiser
    own = predict_held_out(problem, prior, settings, config.seed)
    judged = Split(problem, ~held)
    name = job.acquisition.direct_name
    residual = judged.objective(_direct(job.acquisition, problem, ~held) / problem.scale)[1]
    found = [_compared("held_out_direct", own.residual, residual, name, 1.0)]
    tv = config.total_variation
    if tv.weight > 0:
        image = tv_image(problem, tv.weight, min(TV_ITERATIONS, tv.iterations), fitted=~held)
        residual = judged.objective(image / problem.scale)[1]
        found.append(_compared("held_out_tv", own.residual, residual, "total variation", TV_MARGIN))
    return tuple(found)


def _direct(acquisition: Acquisition, problem: Problem, fitted: Tensor) -> Tensor:
    """Direct image of part of the data, as bright as explains them best."""
    image = acquisition.direct(problem.data * fitted, problem.operator)
    prediction = problem.predict(image / problem.scale) * fitted
    power = prediction.abs().square().sum()
    if not power > 0:
        return image
    product = (prediction.conj() * problem.data * fitted).real.sum()
    return image * (product / power).to(torch.float32)


def _compared(name: str, own: float, other: float, who: str, margin: float) -> Check:
    limit = margin * other
    passed = own <= limit
    words = f"of held-out measurements medinr leaves {own:.2f} times the noise, {who} {other:.2f}"
    if not passed:
        words += f": {who} predicts them better, so do not trust this image more than that"
    return Check(name, own, limit, passed, f"{words}.")
