"""The denoisers of a model: the plain one, its copy for magnitudes, and the one with auxiliary input."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medinr.config.pretrain import PretrainConfig
from medinr.data.dataset import ScannedSlices, load_scanned_slices
from medinr.data.synthetic_follow_ups import make_follow_ups
from medinr.io.manifest import Manifest
from medinr.jobs.pretrain.choice import choice, fingerprint
from medinr.priors.auxiliary_training import FollowUp, train_auxiliary_denoiser
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.priors.general_patches import GeneralImages
from medinr.priors.training import train_on_magnitudes, train_prior
from medinr.priors.training_loop import TrainingRun
from medinr.uncertainty.likeness import as_trained, learn_family

Progress = Callable[[int, float], None]

#: Slices that later scans are compared with, at most, and noise levels that they are denoised at.
COMPARED, LEVELS = 96, (0.02, 0.05, 0.1)


def train_denoisers(
    manifest: Manifest,
    config: PretrainConfig,
    general: GeneralImages,
    checkpoints: Mapping[str, Path],
    progress: Progress | None,
    follow_up_progress: Callable[[int, int], None] | None,
) -> tuple[DenoiserPrior | None, ScannedSlices | None, dict[str, Any]]:
    """Train all denoisers that the configuration wants; gives them, their slices, and the figures reached.

    Parameters
    ----------
    manifest : Manifest
    config : PretrainConfig
    general : GeneralImages
        What some of the patches are of.
    checkpoints : mapping of str to Path
        Of unfinished trainings, by ``denoiser``, ``magnitude_denoiser`` and ``auxiliary_denoiser``.
    progress : callable, optional
        Called after every step of all of them with the steps done and the gain in dB.
    follow_up_progress : callable, optional
        Called while synthetic follow-ups are made, with the sessions done and how many there are.
    """
    settings = config.prior
    if settings.steps == 0:
        return None, None, {}
    scanned = load_scanned_slices(manifest, per_scan=config.prior_slices_per_scan, **choice(config))
    started = time.perf_counter()
    run = TrainingRun(checkpoints["denoiser"], fingerprint(config, scanned), progress)
    prior = DenoiserPrior(train_prior(scanned.images, settings, run, general))
    if settings.magnitude_steps > 0:
        run = replace(run, checkpoint=checkpoints["magnitude_denoiser"], progress=_after(settings.steps, progress))
        copy = train_on_magnitudes(prior.denoiser, scanned.images, settings, run, general)
        prior = replace(prior, magnitude_denoiser=copy)
    results: dict[str, Any] = {
        "prior_slices": len(scanned.images),
        "prior_seconds": time.perf_counter() - started,
        # A model for every scan has no usual ones.
        "likeness": None if config.general else _likeness(scanned, prior),
    }
    if settings.auxiliary_steps > 0:
        started = time.perf_counter()
        follow_ups = _follow_ups(manifest, config, follow_up_progress)
        before = settings.steps + settings.magnitude_steps
        run = TrainingRun(checkpoints["auxiliary_denoiser"], fingerprint(config, scanned), _after(before, progress))
        copy = train_auxiliary_denoiser(prior.denoiser, follow_ups, settings, run)
        prior = replace(prior, auxiliary_denoiser=copy)
        results |= {"synthetic_follow_ups": len(follow_ups), "auxiliary_seconds": time.perf_counter() - started}
    return prior, scanned, results


def _likeness(scanned: ScannedSlices, prior: DenoiserPrior) -> dict[str, Any] | None:
    family = learn_family(*usual_images(scanned, prior))
    return None if family is None else family.facts()


@torch.no_grad()
def usual_images(scanned: ScannedSlices, prior: DenoiserPrior) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Training slices as they are and as they come out of a reconstruction, and whose they are.

    Returns
    -------
    list of ndarray, each of shape (y, x)
        At most `COMPARED` slices, each as it is and denoised from one of `LEVELS`.
    list of str
        Subject of each.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = np.unique(np.linspace(0, len(scanned.images) - 1, COMPARED).round().astype(int))
    images: list[NDArray[np.float32]] = []
    subjects: list[str] = []
    for number, place in enumerate(chosen):
        image, level = scanned.images[place], LEVELS[number % len(LEVELS)]
        denoised = prior.denoise(image + level * torch.randn(image.shape, generator=generator), level)
        images += [as_trained(one.clamp_min(0.0).numpy(), "")[0] for one in (image, denoised)]
        subjects += 2 * [scanned.subjects[place]]
    return images, subjects


def _follow_ups(
    manifest: Manifest, config: PretrainConfig, progress: Callable[[int, int], None] | None
) -> Sequence[FollowUp]:
    contrasts, seed = config.contrasts or None, config.prior.seed
    return make_follow_ups(manifest, split=config.split, contrasts=contrasts, seed=seed, progress=progress)


def _after(steps: int, progress: Progress | None) -> Progress | None:
    """Let a progress go on counting after so many steps."""
    return None if progress is None else lambda step, gain: progress(steps + step, gain)
