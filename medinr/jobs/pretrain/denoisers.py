"""The denoisers of a model: the plain one, its copy for magnitudes, and the one with auxiliary input."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medinr.config.pretrain import PretrainConfig
from medinr.data.dataset import ScannedSlices, load_scanned_slices
from medinr.data.synthetic_follow_ups import make_follow_ups
from medinr.io.manifest import Manifest
from medinr.jobs.pretrain.choice import choice, fingerprint
from medinr.priors.auxiliary_training import FollowUp, train_auxiliary_denoiser
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.priors.training import train_on_magnitudes, train_prior
from medinr.priors.training_loop import TrainingRun
from medinr.uncertainty.out_of_distribution import score_range

Progress = Callable[[int, float], None]


def train_denoisers(
    manifest: Manifest,
    config: PretrainConfig,
    checkpoints: Mapping[str, Path],
    progress: Progress | None,
    follow_up_progress: Callable[[int, int], None] | None,
) -> tuple[DenoiserPrior | None, ScannedSlices | None, dict[str, Any]]:
    """Train all denoisers that the configuration wants; gives them, their slices, and the figures reached.

    Parameters
    ----------
    manifest : Manifest
    config : PretrainConfig
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
    prior = DenoiserPrior(train_prior(scanned.images, settings, run))
    if settings.magnitude_steps > 0:
        run = replace(run, checkpoint=checkpoints["magnitude_denoiser"], progress=_after(settings.steps, progress))
        copy = train_on_magnitudes(prior.denoiser, scanned.images, settings, run)
        prior = replace(prior, magnitude_denoiser=copy)
    results: dict[str, Any] = {
        "prior_slices": len(scanned.images),
        "prior_seconds": time.perf_counter() - started,
        # Whether a reconstruction looks unlike these scans.
        "out_of_distribution_score": list(score_range(scanned.images, prior)),
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


def _follow_ups(
    manifest: Manifest, config: PretrainConfig, progress: Callable[[int, int], None] | None
) -> Sequence[FollowUp]:
    contrasts, seed = config.contrasts or None, config.prior.seed
    return make_follow_ups(manifest, split=config.split, contrasts=contrasts, seed=seed, progress=progress)


def _after(steps: int, progress: Progress | None) -> Progress | None:
    """Let a progress go on counting after so many steps."""
    return None if progress is None else lambda step, gain: progress(steps + step, gain)
