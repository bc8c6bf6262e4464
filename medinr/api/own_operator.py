"""Reconstruction through a forward operator of the caller's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from medinr.api.arrays import as_numpy
from medinr.api.checked import checked
from medinr.api.settings import Settings, task_settings
from medinr.config import ReconstructConfig
from medinr.config.schema import DEFAULT_METHOD
from medinr.errors import ConfigError, ShapeError
from medinr.jobs.reconstruct.context import require_denoiser
from medinr.models.checkpoint import load_model
from medinr.models.model import Model
from medinr.models.suited import AUTO
from medinr.operators import Gaussian, LinearOperator, NoiseModel
from medinr.solve.plug_and_play import plug_and_play_solution
from medinr.solve.problem import Problem
from medinr.solve.solution import Solution, Step
from medinr.solve.split import Split
from medinr.volume import Affine

#: Methods that need nothing but the operator.
METHODS = (DEFAULT_METHOD, "inr", "strainer", "tv", "tgv")


def reconstruct_with_operator(
    data: Any,
    operator: LinearOperator,
    noise: NoiseModel | float | None,
    spacing: Sequence[float] | None,
    affine: Affine | None,
    scale: float | None,
    model: str | Model | None,
    method: str | None,
    settings: Settings | None,
    seed: int,
    progress: Callable[[int, Step], None] | None,
) -> Solution:
    """Reconstruct what an operator measured; parameters as of `medinr.api.reconstruct.reconstruct`.

    Settings are those of ``kspace.yaml`` for complex images and of ``superres.yaml`` for real ones.
    """
    if noise is None:
        raise ConfigError(
            "An operator of your own needs its noise: a standard deviation, or a model of it (noise=...)."
        )
    values = data if isinstance(data, Tensor) else torch.from_numpy(as_numpy(data).copy())
    values = values.detach().to(torch.complex64 if values.is_complex() else torch.float32)
    if tuple(values.shape) != operator.range.shape:
        raise ShapeError(f"The operator gives {operator.range.shape}; the data have shape {tuple(values.shape)}.")
    kind = operator.domain.kind
    complex_image = kind == "complex" or (kind == "any" and values.is_complex())
    dimensions = len(operator.domain.shape)
    problem = Problem(
        data=values,
        operator=operator,
        noise=noise if isinstance(noise, NoiseModel) else Gaussian(float(noise)),
        spacing=(1.0,) * dimensions if spacing is None else tuple(float(step) for step in spacing),
        complex_image=complex_image,
        scale=0.0 if scale is None else scale,
    )
    config = task_settings("kspace" if complex_image else "superres", settings, model=model, method=method, seed=seed)
    if config.model == AUTO:
        raise ConfigError("The model cannot be chosen for an operator of your own: name one (medinr models).")
    opened = model if isinstance(model, Model) else load_model(config.model)
    watch = None if progress is None else (lambda step: progress(0, step))
    return checked(replace(_solve(problem, config, opened, watch), affine=affine))


def _solve(
    problem: Problem, config: ReconstructConfig, model: Model, progress: Callable[[Step], None] | None
) -> Solution:
    method = config.method.lower()
    if method == DEFAULT_METHOD:
        denoiser = require_denoiser(model, config)
        return plug_and_play_solution(problem, denoiser, config.plug_and_play, progress=progress)
    if method not in METHODS:
        raise ConfigError(f"Method {config.method} is not for operators of your own; choose {', '.join(METHODS)}.")
    if len(problem.shape) != 2:
        raise ConfigError(f"Method {config.method} is for slices (y, x); volumes are for {DEFAULT_METHOD}.")
    if config.network is not None:
        from medinr.network.fit import fit

        return fit(problem, model.trunk, model.length_scale, config.fit, prior=model.prior, progress=progress)
    return _total_variation(problem, config)


def _total_variation(problem: Problem, config: ReconstructConfig) -> Solution:
    from medinr.baselines import generalised_variation, total_variation
    from medinr.jobs.methods.variational import tv_image

    generalised = config.method.lower() == "tgv"
    weight = config.baselines.tgv_weight if generalised else config.total_variation.weight
    iterations, started = config.total_variation.iterations, perf_counter()
    image = tv_image(problem, weight, iterations, generalised_variation if generalised else total_variation)
    seconds = perf_counter() - started
    return Solution(
        image,
        reason=f"all {iterations} iterations were done",
        stopped_at=iterations,
        seconds=seconds,
        residual=Split.nothing_held(problem).residual(image / problem.scale),
        settings={"method": config.method, "weight": weight, "iterations": iterations},
    )
