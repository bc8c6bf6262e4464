"""Methods that are only for scans of which nothing but the file is given, by name."""

from __future__ import annotations

import functools
from collections.abc import Callable

from medinr.acquisition.acquired_image import AcquiredImage
from medinr.acquisition.acquired_thick import AcquiredThick
from medinr.acquisition.ways import acquisition_class
from medinr.baselines.acquired import BASELINES, Baseline
from medinr.config import ReconstructConfig
from medinr.jobs.methods.acquired import by_scan_baseline, by_scan_network
from medinr.jobs.methods.acquired_thick import by_linear, by_superres_networks
from medinr.jobs.methods.eclare import BATCH, LIMIT_SECONDS, PATCHES, PROGRAM, by_eclare
from medinr.jobs.methods.method import ACQUIRED, NON_COMMERCIAL, Method
from medinr.models.model import RANDOM

#: Ends their names: a baseline of the same name may be told the noise, and be of another library.
BLIND = "-blind"

_OF_AUTHORS = ("bm3d", "bm4d")


def _acquired(config: ReconstructConfig) -> bool:
    return issubclass(acquisition_class(config.task), AcquiredImage)


def _thick(config: ReconstructConfig) -> bool:
    return issubclass(acquisition_class(config.task), AcquiredThick)


def _baseline(name: str, baseline: Baseline) -> Method:
    return Method(
        f"of the image file alone: {baseline.words}",
        functools.partial(by_scan_baseline, name),
        _settings(baseline),
        _acquired,
        needs=baseline.library,
        install=NON_COMMERCIAL if baseline.library in _OF_AUTHORS else ACQUIRED,
        blind=True,
    )


def _settings(baseline: Baseline) -> Callable[[ReconstructConfig], dict[str, object]]:
    return lambda _: dict(baseline.chosen)


ACQUIRED_METHODS: dict[str, Method] = {
    **{name + BLIND: _baseline(name, baseline) for name, baseline in BASELINES.items() if not baseline.series},
    "INR" + BLIND: Method(
        "of the image file alone: a coordinate network learns what the denoiser makes of it "
        "(medinr denoise --method inr)",
        by_scan_network,
        lambda config: {"model": config.model},
        lambda config: _acquired(config) and config.model != RANDOM,
        slow=True,
        trained=True,
        blind=True,
    ),
}

#: Of scans of thick slices; beside these, cubic splines are the direct image.
THICK_METHODS: dict[str, Method] = {
    "linear": Method(
        "of the image file alone: linear interpolation, aligned at the voxel centres",
        by_linear,
        lambda _: {},
        _thick,
        blind=True,
    ),
    "ECLARE": Method(
        "of the image file alone: a network learns from the scan's own slices (Remedios et al., their program; at most "
        f"{LIMIT_SECONDS / 60:.0f} minutes a scan; without a graphics processor {PATCHES} patches and no search for "
        "the slice profile, so that a small crop ends in them)",
        by_eclare,
        lambda _: {"limit_seconds": LIMIT_SECONDS, "patches": PATCHES, "batch": BATCH},
        _thick,
        program=PROGRAM,
        install="the command of ECLARE in an environment of its own, such as /opt/eclare/bin/run-eclare",
        blind=True,
    ),
    **{
        name: Method(
            f"of the image file alone: coordinate networks {words} (medinr superres --method {method})",
            functools.partial(by_superres_networks, method),
            lambda config: {"model": config.model},
            lambda config: _thick(config) and config.model != RANDOM,
            slow=True,
            trained=True,
            blind=True,
        )
        for name, method, words in (
            ("INR-thick", "inr", "learn what the denoiser as prior makes of it"),
            ("INR-thick-alone", "inr-without-denoiser", "between two steps of data consistency"),
        )
    },
}
