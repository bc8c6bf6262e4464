"""Methods for scans of which only the file is given: each finds the noise itself, and has all slices at once.

What they are given says nothing of the noise that was added. Seconds are the slice's share, estimate included.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medinr.acquisition.acquired_image import AcquiredImage
from medinr.baselines.acquired import BASELINES
from medinr.errors import ConfigError
from medinr.jobs.methods.input import MethodInput, Outcome
from medinr.jobs.scan.denoise import denoised
from medinr.jobs.scan.methods import DEFAULT_METHOD
from medinr.noise.estimate import estimate_noise
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume


def by_scan_denoiser(case: MethodInput) -> Outcome:
    """What `medinr denoise` does with all slices."""
    return _by_medinr(case, DEFAULT_METHOD)


def by_scan_network(case: MethodInput) -> Outcome:
    """What `medinr denoise --method inr` does with all slices."""
    return _by_medinr(case, "inr")


def by_scan_baseline(name: str, case: MethodInput) -> Outcome:
    """A baseline of `medinr.baselines.acquired` on all slices.

    With its library's own estimate of sigma, or ours where there is none.

    Raises
    ------
    LibraryError
        When its library is not installed.
    """
    return _blind(case, lambda scan, noise: BASELINES[name].denoise(scan.array.real, noise))


def _by_medinr(case: MethodInput, method: str) -> Outcome:
    model = case.model
    return _blind(case, lambda scan, noise: denoised(scan, noise, model, method=method))


def _blind(case: MethodInput, denoise: Callable[[Volume, ScanNoise], NDArray[np.float32]]) -> Outcome:
    acquisition = case.acquisition
    if not isinstance(acquisition, AcquiredImage):
        raise ConfigError(f"This method is for scans as they were acquired; got a measurement of {acquisition.task}.")
    scan, started = acquisition.scan, time.perf_counter()
    noise = estimate_noise(scan)
    images = denoise(scan, noise)
    seconds = (time.perf_counter() - started) / len(images)
    return Outcome(acquisition.from_scan(images[case.position]), seconds, reason=described(noise))


def described(noise: ScanNoise) -> str:
    """Say what was found of the noise."""
    coils = f" of {noise.coils} coils" if noise.coils > 1 else ""
    trust = "" if noise.reliable else ", not reliable"
    return f"{noise.kind} noise{coils}, sigma {noise.sigma:.4g}{trust}: {noise.how}"
