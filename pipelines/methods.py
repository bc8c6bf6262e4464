"""Every method that an evaluation compares: what it is, which tasks it suits, and what its result depends on."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medinr.pipelines.classical_methods import (
    by_bm3d,
    by_bm4d,
    by_least_squares,
    by_naive,
    by_nlm,
    by_sirt,
    by_tgv,
    by_tv,
    by_wavelet,
)
from medinr.pipelines.learned_methods import (
    by_control,
    by_medinr,
    by_plug_and_play,
    by_siren,
    by_strainer,
    by_unet,
    published_settings,
)
from medinr.pipelines.outcome import Case, Outcome
from medinr.pipelines.slices import NAIVE_NAMES
from medinr.pipelines.taught import control_settings, unet_settings

from medinr.baselines.block_matching import EXTRA
from medinr.config import ReconstructConfig
from medinr.config.protocol import NamedTask
from medinr.errors import ConfigError
from medinr.measurement import TASKS


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
    taught : bool
        Whether it learns from the train split of ``peer.training``, and so must not be judged on it.
    needs : str
        Optional library that it needs; without it the method is left out.
    stacked : bool
        Whether it is for tasks that measure a slice's neighbours too.
    """

    words: str
    run: Callable[[Case], Outcome]
    settings: Callable[[ReconstructConfig], dict[str, Any]]
    suits: Callable[[ReconstructConfig], bool]
    slow: bool = False
    trained: bool = False
    taught: bool = False
    needs: str = ""
    stacked: bool = False

    @property
    def available(self) -> bool:
        """Whether the optional library it needs is there."""
        return not self.needs or importlib.util.find_spec(self.needs) is not None


def _peer(*names: str) -> Callable[[ReconstructConfig], dict[str, Any]]:
    return lambda config: {name: getattr(config.peer, name) for name in names}


def _kinds(*kinds: str) -> Callable[[ReconstructConfig], bool]:
    return lambda config: config.task in kinds


def _denoises(strength: str) -> Callable[[ReconstructConfig], bool]:
    return lambda config: config.task == "denoise" and getattr(config.peer, strength) > 0


def _own(config: ReconstructConfig) -> dict[str, Any]:
    return {"trunk": config.trunk, "fit": asdict(config.fit)}


def _control(kind: str, config: ReconstructConfig) -> dict[str, Any]:
    return {**control_settings(config, kind), "fit": asdict(published_settings(config.fit.seed))}


def _controllable(kind: str, config: ReconstructConfig) -> bool:
    return config.trunk != "random" and (kind != "meta" or config.peer.meta_turns > 0)


#: Names as in tables and files: letters, digits and hyphens.
METHODS: dict[str, Method] = {
    **{
        NAIVE_NAMES[kind]: Method(words, by_naive, lambda _: {}, _kinds(kind))
        for kind, words in {
            "denoise": "the noisy image itself",
            "superres": "cubic spline interpolation",
            "kspace": "zero-filled k-space, coils combined by their maps",
            "ct": "filtered back-projection",
        }.items()
    },
    "NLM": Method(
        "non-local means (scikit-image)",
        by_nlm,
        _peer("nlm_strength"),
        _denoises("nlm_strength"),
    ),
    "BM3D": Method(
        "block matching and 3D filtering (the authors' package, non-commercial)",
        by_bm3d,
        _peer("bm3d_strength"),
        _denoises("bm3d_strength"),
        needs="bm3d",
    ),
    "BM4D": Method(
        "the same on the stack of neighbouring slices, blocks for patches (the authors' package, non-commercial)",
        by_bm4d,
        _peer("bm3d_strength"),
        _denoises("bm3d_strength"),
        needs="bm4d",
        stacked=True,
    ),
    "least-squares": Method(
        "least squares by conjugate gradients, stopped early; SENSE where there are coils",
        by_least_squares,
        _peer("linear_iterations"),
        lambda config: (
            config.peer.linear_iterations > 0
            and (config.task in ("superres", "ct") or (config.task == "kspace" and config.simulation.coils > 1))
        ),
    ),
    "SIRT": Method(
        "simultaneous iterative reconstruction, nonnegative",
        by_sirt,
        _peer("sirt_iterations"),
        lambda config: config.task == "ct" and config.peer.sirt_iterations > 0,
    ),
    "TV": Method(
        "isotropic total variation (SigPy)",
        by_tv,
        _peer("tv_weight", "iterations"),
        lambda config: config.peer.tv_weight > 0,
    ),
    "TGV": Method(
        "second-order total generalised variation (SigPy)",
        by_tgv,
        _peer("tgv_weight", "iterations"),
        lambda config: config.peer.tgv_weight > 0,
    ),
    "wavelet": Method(
        "1-norm of Daubechies-4 wavelets (SigPy); L1-ESPIRiT where there are coils",
        by_wavelet,
        _peer("wavelet_weight", "wavelet_iterations"),
        lambda config: config.task in ("denoise", "superres", "kspace") and config.peer.wavelet_weight > 0,
    ),
    "plug-and-play": Method(
        "the same learned prior as medinr's and the measurement in turns, without a coordinate network",
        by_plug_and_play,
        lambda config: {"trunk": config.trunk, "guide": asdict(config.fit.guide)},
        lambda config: config.trunk != "random",
        trained=True,
    ),
    "STRAINER": Method(
        "the published recipe: the same trunk, random head, Adam 1e-4, 2000 steps, no stop",
        by_strainer,
        lambda config: {"trunk": config.trunk, "fit": asdict(published_settings(config.fit.seed))},
        lambda config: config.trunk != "random",
        slow=True,
        trained=True,
    ),
    "SIREN": Method(
        "the same recipe from random weights",
        by_siren,
        lambda config: {"fit": asdict(published_settings(config.fit.seed))},
        _kinds(*TASKS),
        slow=True,
    ),
    **{
        name: Method(
            words,
            functools.partial(by_control, kind),
            functools.partial(_control, kind),
            functools.partial(_controllable, kind),
            slow=True,
            taught=kind in ("one", "meta"),
        )
        for name, kind, words in (
            ("STRAINER-noise", "noise", "the published recipe from a trunk that has learned uniform noise"),
            ("STRAINER-other", "other", "the published recipe from a trunk of another anatomy and modality"),
            ("SIREN-one", "one", "the published recipe from a network that has learned one slice"),
            ("Reptile", "meta", "the published recipe from a meta-learned trunk"),
        )
    },
    "U-Net": Method(
        "a U-Net from the plainest image to the truth, trained for the task (MONAI)",
        by_unet,
        unet_settings,
        lambda config: config.peer.unet_steps > 0,
        slow=True,
        taught=True,
    ),
    "medinr": Method(
        "coordinate network and local prior from other people's scans",
        by_medinr,
        _own,
        _kinds(*TASKS),
        trained=True,
    ),
}


def choose_methods(task: NamedTask, asked: Sequence[str]) -> tuple[str, ...]:
    """Names of the methods for a task: of those asked for the ones that suit it, or all that do and are not slow.

    Raises
    ------
    ConfigError
        When a name is unknown, or the method needs a library that is not installed.
    """
    by_case = {name.casefold(): name for name in METHODS}
    unknown = [name for name in asked if name.casefold() not in by_case]
    if unknown:
        raise ConfigError(f"There is no method {unknown[0]!r}. Known: {', '.join(METHODS)}.")
    wanted = {by_case[name.casefold()] for name in asked}
    for name in sorted(wanted & set(unavailable(task))):
        raise ConfigError(
            f"{name} needs the package {METHODS[name].needs}, which is not installed (free for non-commercial use "
            f"only): pip install {EXTRA}."
        )
    return tuple(
        name
        for name, method in METHODS.items()
        if _suits(method, task) and (name in wanted if wanted else not method.slow and method.available)
    )


def unavailable(task: NamedTask) -> tuple[str, ...]:
    """Names of the methods that suit a task, but need a library that is not installed."""
    return tuple(name for name, method in METHODS.items() if _suits(method, task) and not method.available)


def _suits(method: Method, task: NamedTask) -> bool:
    return method.suits(task.config) and (task.neighbours > 0 or not method.stacked)
