"""Every method that reconstructs: what it is, which tasks it suits, and what its result depends on."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from medinr.acquisition.ways import acquisition_class, acquisitions
from medinr.config import ReconstructConfig
from medinr.config.protocol import NamedTask
from medinr.errors import ConfigError, LibraryError
from medinr.jobs.methods.acquired_rows import ACQUIRED_METHODS, THICK_METHODS
from medinr.jobs.methods.classical import (
    by_bm3d,
    by_bm4d,
    by_direct,
    by_least_squares,
    by_nlm,
    by_sirt,
    by_tgv,
    by_tv,
    by_wavelet,
)
from medinr.jobs.methods.learned import (
    by_control,
    by_inr,
    by_medinr,
    by_plug_and_play,
    by_siren,
    by_strainer,
    by_unet,
    settings_of,
)
from medinr.jobs.methods.method import Method
from medinr.jobs.methods.trained_baselines import control_settings, unet_settings
from medinr.models.model import RANDOM


def _baseline(*names: str) -> Callable[[ReconstructConfig], dict[str, Any]]:
    return lambda config: {name: getattr(config.baselines, name) for name in names}


def _tv(config: ReconstructConfig) -> dict[str, Any]:
    return asdict(config.total_variation)


def _tgv(config: ReconstructConfig) -> dict[str, Any]:
    return {"tgv_weight": config.baselines.tgv_weight, "iterations": config.total_variation.iterations}


def _tasks(*tasks: str) -> Callable[[ReconstructConfig], bool]:
    return lambda config: config.task in tasks


def _direct_is(name: str) -> Callable[[ReconstructConfig], bool]:
    return lambda config: acquisition_class(config.task).direct_name == name


def _denoises(strength: str) -> Callable[[ReconstructConfig], bool]:
    return lambda config: config.task == "denoise" and getattr(config.baselines, strength) > 0


def _least_squares_suit(config: ReconstructConfig) -> bool:
    coils = config.task != "kspace" or config.simulation.coils > 1
    return config.task != "denoise" and coils and config.baselines.linear_iterations > 0


def _has_model(config: ReconstructConfig) -> bool:
    return config.model != RANDOM


def _plug_and_play(config: ReconstructConfig) -> dict[str, Any]:
    return {"model": config.model, "plug_and_play": asdict(config.plug_and_play)}


def _medinr(config: ReconstructConfig) -> dict[str, Any]:
    return _plug_and_play(config) | {"multi_slice": config.multi_slice, "seed": config.seed}


def _network(method: str, config: ReconstructConfig, **more: Any) -> dict[str, Any]:
    return {**more, "fit": asdict(settings_of(method, config))}


def _control(kind: str, config: ReconstructConfig) -> dict[str, Any]:
    return _network("strainer", config, **control_settings(config, kind))


def _controllable(kind: str, config: ReconstructConfig) -> bool:
    return _has_model(config) and (kind != "meta" or config.baselines.meta_iterations > 0)


#: Names as in tables and files: letters, digits and hyphens.
METHODS: dict[str, Method] = {
    **{
        kind.direct_name: Method(kind.direct_words, by_direct, lambda _: {}, _direct_is(kind.direct_name), blind=True)
        for kind in acquisitions().values()
    },
    "NLM": Method(
        "non-local means (scikit-image)",
        by_nlm,
        _baseline("nlm_strength"),
        _denoises("nlm_strength"),
    ),
    "BM3D": Method(
        "block matching and 3D filtering (the authors' package, non-commercial)",
        by_bm3d,
        _baseline("bm3d_strength"),
        _denoises("bm3d_strength"),
        needs="bm3d",
    ),
    "BM4D": Method(
        "the same on the slice and its neighbours, blocks for patches (the authors' package, non-commercial)",
        by_bm4d,
        _baseline("bm3d_strength"),
        _denoises("bm3d_strength"),
        needs="bm4d",
        for_neighbours=True,
    ),
    "least-squares": Method(
        "least squares by conjugate gradients, stopped early; SENSE where there are coils",
        by_least_squares,
        _baseline("linear_iterations"),
        _least_squares_suit,
    ),
    "SIRT": Method(
        "simultaneous iterative reconstruction, nonnegative",
        by_sirt,
        _baseline("sirt_iterations"),
        lambda config: config.task == "ct" and config.baselines.sirt_iterations > 0,
    ),
    "TV": Method(
        "isotropic total variation (SigPy)",
        by_tv,
        _tv,
        lambda config: config.total_variation.weight > 0,
    ),
    "TGV": Method(
        "second-order total generalised variation (SigPy)",
        by_tgv,
        _tgv,
        lambda config: config.baselines.tgv_weight > 0,
    ),
    "wavelet": Method(
        "1-norm of Daubechies-4 wavelets (SigPy); L1-ESPIRiT where there are coils",
        by_wavelet,
        _baseline("wavelet_weight", "wavelet_iterations"),
        lambda config: config.task != "ct" and config.baselines.wavelet_weight > 0,
    ),
    "plug-and-play": Method(
        "a learned denoiser and data consistency alternate, each slice alone, without auxiliary scans",
        by_plug_and_play,
        _plug_and_play,
        _has_model,
        trained=True,
    ),
    "INR": Method(
        "a coordinate network from the pretrained trunk learns the plug-and-play reconstruction, and is refined",
        by_inr,
        lambda config: _network("inr", config, model=config.model),
        _has_model,
        slow=True,
        trained=True,
    ),
    "STRAINER": Method(
        "the published recipe: the same trunk, random head, Adam 1e-4, 2000 steps, no stop",
        by_strainer,
        lambda config: _network("strainer", config, model=config.model),
        _has_model,
        slow=True,
        trained=True,
    ),
    "SIREN": Method(
        "the same recipe from random weights",
        by_siren,
        functools.partial(_network, "strainer"),
        lambda _: True,
        slow=True,
    ),
    **{
        name: Method(
            words,
            functools.partial(by_control, kind),
            functools.partial(_control, kind),
            functools.partial(_controllable, kind),
            slow=True,
            learns=kind in ("one", "meta"),
        )
        for name, kind, words in (
            ("STRAINER-noise", "noise", "the published recipe from a trunk that has learned uniform noise"),
            ("STRAINER-other", "other", "the published recipe from a trunk of another anatomy and modality"),
            ("SIREN-one", "one", "the published recipe from a network that has learned one slice"),
            ("Reptile", "meta", "the published recipe from a meta-learned trunk"),
        )
    },
    "U-Net": Method(
        "a U-Net from the direct image to the reference, trained for the task (MONAI)",
        by_unet,
        unet_settings,
        lambda config: config.baselines.unet_steps > 0,
        slow=True,
        learns=True,
    ),
    **ACQUIRED_METHODS,
    **THICK_METHODS,
    "medinr": Method(
        "what medinr reconstruct does: plug-and-play, neighbouring slices jointly, auxiliary scans where they help; "
        "of an image file alone, what medinr denoise or medinr superres does",
        by_medinr,
        _medinr,
        _has_model,
        trained=True,
        blind=True,
    ),
}


def find_method(name: str) -> tuple[str, Method]:
    """Find a method by its name in small or capital letters.

    Raises
    ------
    ConfigError
        When there is none.
    LibraryError
        When it needs a library that is not installed, or a program that nothing names.
    """
    by_case = {known.casefold(): known for known in METHODS}
    if name.casefold() not in by_case:
        near = difflib.get_close_matches(name.casefold(), by_case, n=1)
        hint = f" Did you mean {by_case[near[0]]!r}?" if near else ""
        raise ConfigError(f"There is no method {name!r}.{hint} Known: {', '.join(METHODS)}.")
    found = by_case[name.casefold()]
    if METHODS[found].program and not METHODS[found].available:
        raise LibraryError(
            f"{found} runs a program of its own, and {METHODS[found].lacks}. Set it to {METHODS[found].install}."
        )
    if not METHODS[found].available:
        raise LibraryError(
            f"{found} needs the package {METHODS[found].needs}, which is not installed: pip install "
            f"{METHODS[found].install}."
        )
    return found, METHODS[found]


def choose_methods(task: NamedTask, asked: Sequence[str]) -> tuple[str, ...]:
    """Names of the methods for a task: of those asked for the ones that suit it, or all that do and are not slow.

    Raises
    ------
    ConfigError
        When a name is unknown.
    LibraryError
        When the method needs a library that is not installed, or a program that nothing names.
    """
    by_case = {name.casefold(): name for name in METHODS}
    for name in sorted(asked):
        known = by_case.get(name.casefold())
        # One that does not suit the task need not be there.
        if known is None or known in unavailable(task):
            find_method(name)
    wanted = {by_case[name.casefold()] for name in asked}
    return tuple(
        name
        for name, method in METHODS.items()
        if _suits(method, task) and (name in wanted if wanted else not method.slow and method.available)
    )


def unavailable(task: NamedTask) -> tuple[str, ...]:
    """Names of the methods that suit a task, but need what is not there."""
    return tuple(name for name, method in METHODS.items() if _suits(method, task) and not method.available)


def _suits(method: Method, task: NamedTask) -> bool:
    told = method.blind or acquisition_class(task.kind).tells_noise
    return told and method.suits(task.config) and (task.neighbours > 0 or not method.for_neighbours)
