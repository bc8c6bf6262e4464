"""Methods that use a pretrained denoiser or fit a network, each on one slice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from medinr.acquisition.acquired_image import AcquiredImage
from medinr.acquisition.acquired_thick import AcquiredThick
from medinr.baselines.unet import improve
from medinr.config import ReconstructConfig
from medinr.config.task import network_settings
from medinr.errors import ConfigError
from medinr.jobs.methods.acquired import by_scan_denoiser
from medinr.jobs.methods.acquired_thick import by_scan_superres
from medinr.jobs.methods.input import MethodInput, Outcome
from medinr.jobs.methods.trained_baselines import control_model, network_input, task_unet
from medinr.jobs.reconstruct.auxiliary import open_auxiliary, select_auxiliary
from medinr.jobs.reconstruct.context import require_denoiser
from medinr.jobs.reconstruct.multi_slice import wants_multi_slice
from medinr.models.model import RANDOM, Model
from medinr.network.fit import fit
from medinr.network.phases import HELD_OUT_CHECKS
from medinr.network.settings import FitSettings
from medinr.priors.denoiser_prior import ImagePrior
from medinr.solve.multi_slice import MultiSlice
from medinr.solve.plug_and_play import plug_and_play_solution
from medinr.solve.solution import Solution

#: Points of the curve of a fit in the measurement domain.
CURVE_POINTS_OF_STEPS = 50

#: Solves with an observer that is called every so many steps with step, seconds and image.
Solve = Callable[[Callable[[int, float, Tensor], None] | None], Solution]


def by_medinr(case: MethodInput) -> Outcome:
    """Plug-and-play as `medinr reconstruct` does it: neighbours jointly, auxiliary scans where there are any.

    Of an image file alone, as `medinr denoise` or `medinr superres` does it.
    """
    if isinstance(case.acquisition, AcquiredImage):
        return by_scan_denoiser(case)
    if isinstance(case.acquisition, AcquiredThick):
        return by_scan_superres(case)
    denoiser, settings = require_denoiser(case.model, case.config), case.config.plug_and_play
    if wants_multi_slice(case.acquisition, case.config):
        return _multi_slice(case)
    if not case.auxiliary:
        return by_plug_and_play(case)
    scans = open_auxiliary(case.auxiliary, case.acquisition.measurement)
    started = time.perf_counter()
    selected = select_auxiliary(scans, case.acquisition, [case.problem], denoiser, settings, case.config.seed)
    spent = time.perf_counter() - started
    found = _plug_and_play(case, selected.priors[0])
    return replace(found, seconds=spent + (found.seconds or 0.0), reason=f"{selected.sentence()} {found.reason}")


def _multi_slice(case: MethodInput) -> Outcome:
    """The slice jointly with its neighbours; seconds are its share of theirs."""
    denoiser = require_denoiser(case.model, case.config)
    problems, psnr = case.acquisition.problems(), []
    slices = MultiSlice(problems, [denoiser] * len(problems), denoiser, case.config.plug_and_play)
    for done in slices.iterations():
        if done.checked and case.score is not None:
            psnr.append(case.score(done.images[case.position] * slices.scale))
    solution = slices.solutions(done)[case.position]
    curve = {
        "seconds": [row.seconds for row in solution.steps],
        "psnr": psnr,
        "residual": [row.residual for row in solution.steps],
    }
    return Outcome(
        solution.image,
        solution.seconds,
        solution.stopped_at,
        solution.reason,
        curve if psnr else {},
        expected_residual=solution.expected_residual,
    )


def by_plug_and_play(case: MethodInput) -> Outcome:
    """Plug-and-play on the slice alone."""
    return _plug_and_play(case, require_denoiser(case.model, case.config))


def by_inr(case: MethodInput) -> Outcome:
    """A coordinate network from the task's trunk, by the toolkit's own settings."""
    settings = settings_of("inr", case.config)
    if case.config.model == RANDOM and settings.steps == 0:
        raise ConfigError("A network of random weights has no denoiser to learn from. Choose a trained model.")
    return fitted(case, settings, case.model, case.model.prior)


def by_strainer(case: MethodInput) -> Outcome:
    """The published recipe from the task's trunk."""
    return fitted(case, settings_of("strainer", case.config), case.model)


def by_siren(case: MethodInput) -> Outcome:
    """The published recipe from random weights."""
    return fitted(case, settings_of("strainer", case.config), case.open_model(RANDOM))


def by_control(kind: str, case: MethodInput) -> Outcome:
    """The published recipe from a control trunk, see `control_model`."""
    return fitted(case, settings_of("strainer", case.config), control_model(kind, case.config, case.folder))


def by_unet(case: MethodInput) -> Outcome:
    """A U-Net on the direct image; its training does not count as time, as that of trunks does not."""
    network, problem = task_unet(case.config, case.folder), case.problem
    started = time.perf_counter()
    image = case.acquisition.direct(problem.data, problem.operator)
    return Outcome(improve(network, network_input(image, problem.scale)) * problem.scale, time.perf_counter() - started)


def settings_of(method: str, config: ReconstructConfig) -> FitSettings:
    """Settings of a network method: the configuration's where it is of that method, else those that ship."""
    network = config.network if config.method.lower() == method else network_settings(method, config.task)
    if network is None:
        raise ConfigError(f"Method {method} has no settings in network.yaml.")
    return FitSettings.of(network, config.plug_and_play, config.seed)


def fitted(case: MethodInput, settings: FitSettings, model: Model, prior: ImagePrior | None = None) -> Outcome:
    """Fit a network from a model's trunk, with its curve."""
    learned = settings.image_domain.steps(math.prod(case.problem.shape))
    steps = learned // HELD_OUT_CHECKS if learned else settings.steps // CURVE_POINTS_OF_STEPS
    return _observed(
        case,
        lambda observer: fit(
            case.problem,
            model.trunk,
            model.length_scale,
            settings,
            prior=prior,
            observer=observer,
            # Where the fit computes its own residuals, so that both are known at the same steps.
            observe_every=max(1, steps),
        ),
    )


def _plug_and_play(case: MethodInput, prior: ImagePrior) -> Outcome:
    return _observed(
        case,
        lambda observer: plug_and_play_solution(case.problem, prior, case.config.plug_and_play, observer=observer),
    )


def _observed(case: MethodInput, solve: Solve) -> Outcome:
    """Solve, and score the image on the way where that is asked for."""
    scores: dict[int, float] = {}

    def observe(step: int, seconds: float, image: Tensor) -> None:
        if case.score is not None:
            scores[step] = case.score(image)

    solution = solve(observe if case.score is not None else None)
    rows = [step for step in solution.steps if step.step in scores]
    curve = {
        "seconds": [row.seconds for row in rows],
        "psnr": [scores[row.step] for row in rows],
        "residual": [row.residual for row in rows],
    }
    if case.score is not None:
        last = (solution.seconds, case.score(solution.image), solution.residual)
        for key, value in zip(("seconds", "psnr", "residual"), last, strict=True):
            curve[key].append(value)
    return Outcome(
        solution.image,
        solution.seconds,
        solution.stopped_at,
        solution.reason,
        curve,
        solution.steps,
        solution.expected_residual,
    )
