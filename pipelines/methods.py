"""Every method that an evaluation compares: what it is, which tasks it suits, and how it is run on one slice."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from medinr.pipelines.slices import NAIVE_NAMES, Start, naive_image, tv_image
from torch import Tensor

from medinr.baselines.iterative import least_squares, sirt
from medinr.baselines.nonlocal_means import nonlocal_means
from medinr.baselines.wavelet import wavelet_sparsity
from medinr.config import ReconstructConfig, load_config
from medinr.errors import ConfigError
from medinr.measurement import TASKS, Measurement
from medinr.operators import Gaussian, Rician
from medinr.solve.fit import FitSettings, fit
from medinr.solve.phases import LOOKS
from medinr.solve.plug_and_play import plug_and_play
from medinr.solve.problem import Problem

#: Points of the curve of a fit that is moved by the measurement.
LOOKS_AT_STEPS = 50


@dataclass(frozen=True, eq=False)
class Case:
    """One slice to be reconstructed, and who looks on.

    Attributes
    ----------
    measurement : Measurement
        Of one slice.
    problem : Problem
    config : ReconstructConfig
        Of the task.
    start : callable
        Opens a trunk by name.
    score : callable or None
        PSNR in dB of an image in the units of the problem, for curves; what it says reaches no method.
    """

    measurement: Measurement
    problem: Problem
    config: ReconstructConfig
    start: Callable[[str], Start]
    score: Callable[[Tensor], float] | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """An image in the units of the problem, and how it went where that can be told.

    Attributes
    ----------
    image : Tensor, shape (y, x)
    seconds : float or None
        Where the method knows better than the clock around it, which also sees the onlooker's time.
    stopped_at : int or None
    reason : str
    curve : dict
        ``seconds``, ``psnr``, ``residual``: lists of one length.
    """

    image: Tensor
    seconds: float | None = None
    stopped_at: int | None = None
    reason: str = ""
    curve: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A way to reconstruct.

    Attributes
    ----------
    words : str
        What it is, for tables and reports.
    run : callable
        `Case` to `Outcome`.
    settings : callable
        Of a task's configuration: everything but the measurement that its result depends on.
    suits : callable
        Whether it makes sense for a task.
    slow : bool
        Left out unless asked for by name.
    trained : bool
        Whether it uses the task's trunk, and so must not see its training subjects.
    """

    words: str
    run: Callable[[Case], Outcome]
    settings: Callable[[ReconstructConfig], dict[str, Any]]
    suits: Callable[[ReconstructConfig], bool]
    slow: bool = False
    trained: bool = False


def _naive(case: Case) -> Outcome:
    return Outcome(naive_image(case.measurement, case.problem))


def _tv(case: Case) -> Outcome:
    return Outcome(tv_image(case.problem, case.config.peer.tv_weight, case.config.peer.iterations))


def _wavelet(case: Case) -> Outcome:
    problem, peer = case.problem, case.config.peer
    noise = problem.noise
    if not isinstance(noise, Gaussian | Rician):
        raise ConfigError("Wavelets are compared where the noise has one standard deviation: k-space and images.")
    image = wavelet_sparsity(
        problem.data,
        problem.operator,
        peer.wavelet_weight,
        sigma=noise.sigma,
        # Plain denoising is one shrinkage.
        iterations=1 if case.config.task == "denoise" else peer.wavelet_iterations,
        nonnegative=not problem.complex_image,
    )
    return Outcome(noise.debias(image))


def _least_squares(case: Case) -> Outcome:
    return Outcome(least_squares(case.problem.data, case.problem.operator, case.config.peer.linear_iterations))


def _sirt(case: Case) -> Outcome:
    return Outcome(sirt(case.problem.data, case.problem.operator, case.config.peer.sirt_iterations))


def _nlm(case: Case) -> Outcome:
    noise = case.problem.noise
    if not isinstance(noise, Rician):
        raise ConfigError("Non-local means is compared on magnitude images with Rician noise.")
    return Outcome(nonlocal_means(case.problem.data, noise, case.config.peer.nlm_strength))


def _medinr(case: Case) -> Outcome:
    return _fitted(case, case.config.fit, case.config.trunk)


def _strainer(case: Case) -> Outcome:
    return _fitted(case, published_settings(case.config.fit.seed), case.config.trunk)


def _siren(case: Case) -> Outcome:
    return _fitted(case, published_settings(case.config.fit.seed), "random")


@functools.cache
def _published() -> FitSettings:
    return load_config(ReconstructConfig, "published_recipe").fit


def published_settings(seed: int) -> FitSettings:
    """The published recipe: random head, Adam 1e-4, 2000 steps, no prior and no stop."""
    return replace(_published(), seed=seed)


def _fitted(case: Case, settings: FitSettings, trunk: str) -> Outcome:
    begin, problem = case.start(trunk), case.problem
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
        prior=begin.prior,
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


def _plug_and_play(case: Case) -> Outcome:
    problem, settings = case.problem, case.config.fit.guide
    prior = case.start(case.config.trunk).prior
    if prior is None:
        raise ConfigError(f"Trunk {case.config.trunk!r} has no local prior, and plug-and-play nothing to play with.")
    curve: dict[str, list[float]] = {"seconds": [], "psnr": [], "residual": []}
    started, looking = time.perf_counter(), 0.0

    def look(turn: int, image: Tensor) -> None:
        nonlocal looking
        if case.score is None:
            return
        before = time.perf_counter()
        curve["seconds"].append(before - started - looking)
        curve["psnr"].append(case.score(image * problem.scale))
        curve["residual"].append(_residual(problem, image))
        looking += time.perf_counter() - before

    image = plug_and_play(problem, prior, settings, observer=look) * problem.scale
    seconds = time.perf_counter() - started - looking
    return Outcome(image, seconds, settings.iterations, f"all {settings.iterations} turns were done", curve)


def _residual(problem: Problem, image: Tensor) -> float:
    """Whitened root-mean-square residual of an image in network units."""
    target, precision = problem.noise.surrogate(problem.data, problem.data)
    gap = (target - problem.predict(image)).abs().square() * precision
    used = precision.expand(gap.shape) > 0
    parts = 2 if problem.data.is_complex() else 1
    return float((gap[used].mean() / parts).sqrt())


def _peer(*names: str) -> Callable[[ReconstructConfig], dict[str, Any]]:
    return lambda config: {name: getattr(config.peer, name) for name in names}


def _kinds(*kinds: str) -> Callable[[ReconstructConfig], bool]:
    return lambda config: config.task in kinds


def _own(config: ReconstructConfig) -> dict[str, Any]:
    return {"trunk": config.trunk, "fit": asdict(config.fit)}


#: Names as in tables and files: letters, digits and hyphens.
METHODS: dict[str, Method] = {
    **{
        NAIVE_NAMES[kind]: Method(words, _naive, lambda _: {}, _kinds(kind))
        for kind, words in {
            "denoise": "the noisy image itself",
            "superres": "cubic spline interpolation",
            "kspace": "zero-filled k-space, coils combined by their maps",
            "ct": "filtered back-projection",
        }.items()
    },
    "NLM": Method(
        "non-local means (scikit-image)",
        _nlm,
        _peer("nlm_strength"),
        lambda config: config.task == "denoise" and config.peer.nlm_strength > 0,
    ),
    "least-squares": Method(
        "least squares by conjugate gradients, stopped early; SENSE where there are coils",
        _least_squares,
        _peer("linear_iterations"),
        lambda config: (
            config.peer.linear_iterations > 0
            and (config.task in ("superres", "ct") or (config.task == "kspace" and config.simulation.coils > 1))
        ),
    ),
    "SIRT": Method(
        "simultaneous iterative reconstruction, nonnegative",
        _sirt,
        _peer("sirt_iterations"),
        lambda config: config.task == "ct" and config.peer.sirt_iterations > 0,
    ),
    "TV": Method(
        "isotropic total variation (SigPy)",
        _tv,
        _peer("tv_weight", "iterations"),
        lambda config: config.peer.tv_weight > 0,
    ),
    "wavelet": Method(
        "1-norm of Daubechies-4 wavelets (SigPy)",
        _wavelet,
        _peer("wavelet_weight", "wavelet_iterations"),
        lambda config: config.task in ("denoise", "superres", "kspace") and config.peer.wavelet_weight > 0,
    ),
    "plug-and-play": Method(
        "the same learned prior as medinr's and the measurement in turns, without a coordinate network",
        _plug_and_play,
        lambda config: {"trunk": config.trunk, "guide": asdict(config.fit.guide)},
        lambda config: config.trunk != "random",
        trained=True,
    ),
    "STRAINER": Method(
        "the published recipe: the same trunk, random head, Adam 1e-4, 2000 steps, no stop",
        _strainer,
        lambda config: {"trunk": config.trunk, "fit": asdict(published_settings(config.fit.seed))},
        lambda config: config.trunk != "random",
        slow=True,
        trained=True,
    ),
    "SIREN": Method(
        "the same recipe from random weights",
        _siren,
        lambda config: {"fit": asdict(published_settings(config.fit.seed))},
        _kinds(*TASKS),
        slow=True,
    ),
    "medinr": Method(
        "coordinate network and local prior from other people's scans",
        _medinr,
        _own,
        _kinds(*TASKS),
        trained=True,
    ),
}


def choose_methods(config: ReconstructConfig, asked: Sequence[str]) -> tuple[str, ...]:
    """Names of the methods for a task: of those asked for the ones that suit it, or all that do and are not slow.

    Raises
    ------
    ConfigError
        When a name is unknown.
    """
    by_case = {name.casefold(): name for name in METHODS}
    unknown = [name for name in asked if name.casefold() not in by_case]
    if unknown:
        raise ConfigError(f"There is no method {unknown[0]!r}. Known: {', '.join(METHODS)}.")
    wanted = {by_case[name.casefold()] for name in asked}
    return tuple(
        name
        for name, method in METHODS.items()
        if method.suits(config) and (name in wanted if wanted else not method.slow)
    )
