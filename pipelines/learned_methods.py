"""Methods that start from a trunk or believe a prior, each on one slice."""

from __future__ import annotations

import functools
import math
import time
from dataclasses import replace

from medinr.pipelines.earlier import hear_earlier, open_earlier
from medinr.pipelines.outcome import Case, Outcome
from medinr.pipelines.slices import Start, naive_image, problems_for
from medinr.pipelines.stack import wants_stack
from medinr.pipelines.taught import control_start, plain_input, task_unet
from torch import Tensor

from medinr.baselines.unet import improve
from medinr.config import ReconstructConfig, load_config
from medinr.errors import ConfigError
from medinr.prior.local import ImagePrior
from medinr.solve.fit import FitSettings, fit
from medinr.solve.phases import LOOKS
from medinr.solve.stack import Stack

#: Points of the curve of a fit that is moved by the measurement.
LOOKS_AT_STEPS = 50


def by_medinr(case: Case) -> Outcome:
    """The network and the prior, as the task's configuration says; with the scans beside where there are any."""
    begin, settings = case.start(case.config.trunk), case.config.fit
    if wants_stack(case.measurement, begin, case.config):
        return _stacked(case, begin)
    if not case.beside:
        return fitted(case, settings, begin)
    scans = open_earlier(case.beside, case.measurement)
    started = time.perf_counter()
    heard = hear_earlier(scans, case.measurement, [case.problem], begin.prior, settings)
    spent = time.perf_counter() - started
    found = fitted(case, settings, begin, heard.priors[0])
    return replace(found, seconds=spent + (found.seconds or 0.0), reason=f"{heard.sentence()} {found.reason}")


def _stacked(case: Case, begin: Start) -> Outcome:
    """The slice together with its neighbours; seconds are its share of theirs."""
    assert begin.prior is not None
    problems, seen = problems_for(case.measurement), []
    stack = Stack(problems, [begin.prior] * len(problems), begin.prior, case.config.fit)
    for done in stack.turns():
        if done.looked and case.score is not None:
            seen.append(case.score(done.images[case.position] * stack.scale))
    solution = stack.solutions(done)[case.position]
    curve = {
        "seconds": [row.seconds for row in solution.steps],
        "psnr": seen,
        "residual": [row.residual for row in solution.steps],
    }
    return Outcome(solution.image, solution.seconds, solution.stopped_at, solution.reason, curve if seen else {})


def by_strainer(case: Case) -> Outcome:
    """The published recipe from the task's trunk."""
    return fitted(case, published_settings(case.config.fit.seed), case.start(case.config.trunk))


def by_siren(case: Case) -> Outcome:
    """The published recipe from random weights."""
    return fitted(case, published_settings(case.config.fit.seed), case.start("random"))


@functools.cache
def _published() -> FitSettings:
    return load_config(ReconstructConfig, "published_recipe").fit


def published_settings(seed: int) -> FitSettings:
    """The published recipe: random head, Adam 1e-4, 2000 steps, no prior and no stop."""
    return replace(_published(), seed=seed)


def by_control(kind: str, case: Case) -> Outcome:
    """The published recipe from a control trunk, see `control_start`."""
    return fitted(case, published_settings(case.config.fit.seed), control_start(kind, case.config, case.folder))


def by_unet(case: Case) -> Outcome:
    """A U-Net on the plainest image; its training does not count as time, as that of trunks does not."""
    network, scale = task_unet(case.config, case.folder), case.problem.scale
    started = time.perf_counter()
    image = improve(network, plain_input(naive_image(case.measurement, case.problem), scale)) * scale
    return Outcome(image, time.perf_counter() - started)


def fitted(case: Case, settings: FitSettings, begin: Start, prior: ImagePrior | None = None) -> Outcome:
    """Fit a network from a start, with its curve; with another prior than the start's where one is given."""
    problem = case.problem
    seen: dict[int, float] = {}

    def look(step: int, seconds: float, image: Tensor) -> None:
        if case.score is not None:
            seen[step] = case.score(image)

    # Where the fit looks at its own residuals, so that both are known at the same steps.
    taught = settings.imitation.steps(math.prod(problem.shape))
    solution = fit(
        problem,
        begin.trunk,
        begin.length_scale,
        settings,
        prior=prior or begin.prior,
        observer=look if case.score is not None else None,
        observe_every=max(1, taught // LOOKS if taught else settings.steps // LOOKS_AT_STEPS),
    )
    rows = [step for step in solution.steps if step.step in seen]
    curve = {
        "seconds": [row.seconds for row in rows],
        "psnr": [seen[row.step] for row in rows],
        "residual": [row.residual for row in rows],
    }
    if case.score is not None:
        last = (solution.seconds, case.score(solution.image), solution.residual)
        for key, value in zip(("seconds", "psnr", "residual"), last, strict=True):
            curve[key].append(value)
    return Outcome(solution.image, solution.seconds, solution.stopped_at, solution.reason, curve)


def by_plug_and_play(case: Case) -> Outcome:
    """The local prior and the measurement in turns: a fit that was not asked for a network, whatever the task asks."""
    begin, settings = case.start(case.config.trunk), case.config.fit
    if begin.prior is None:
        raise ConfigError(f"Trunk {case.config.trunk!r} has no local prior, and plug-and-play nothing to play with.")
    return fitted(case, replace(settings, imitation=replace(settings.imitation, passes=0), steps=0), begin)
