"""The denoiser for scans as they were acquired: trained on the whole scans of a manifest, added to a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medinr.config.pretrain import PretrainConfig
from medinr.data.training_volumes import TrainingVolumes, load_training_volumes
from medinr.errors import ConfigError
from medinr.io.manifest import Manifest
from medinr.io.provenance import last_part
from medinr.jobs.pretrain.choice import choice, fingerprint
from medinr.jobs.record import versions
from medinr.models.card import ModelCard
from medinr.models.checkpoint import load_model_for
from medinr.models.model import Model
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.priors.general_patches import GeneralImages
from medinr.priors.scan_denoiser import ScanDenoiser
from medinr.priors.scan_training import train_scan_denoiser
from medinr.priors.training_loop import TrainingRun

Progress = Callable[[int, float], None]


def train_for_scans(
    manifest: Manifest,
    config: PretrainConfig,
    prior: DenoiserPrior | None,
    general: GeneralImages,
    checkpoint: Path,
    progress: Progress | None,
) -> tuple[ScanDenoiser | None, TrainingVolumes | None, dict[str, Any]]:
    """Train it if the configuration wants it; gives it, its scans, and the figures reached.

    Parameters
    ----------
    manifest : Manifest
    config : PretrainConfig
    prior : DenoiserPrior or None
        The small denoisers that it starts from.
    general : GeneralImages
        What some of the patches are of.
    checkpoint : Path
        Of an unfinished training.
    progress : callable, optional
        Called after every step with the steps done of all denoisers and the gain in dB.
    """
    settings = config.scan_denoiser
    if settings.steps == 0 or prior is None:
        return None, None, {}
    scans = load_training_volumes(manifest, **choice(config))
    started, before = time.perf_counter(), config.denoiser_steps - settings.steps
    counted = None if progress is None else lambda step, gain: progress(before + step, gain)
    run = TrainingRun(checkpoint, fingerprint(config, scans), counted)
    start = prior.magnitude_denoiser or prior.denoiser
    denoiser = train_scan_denoiser(start, scans.volumes, config.modality, settings, run, general)
    return denoiser, scans, {"acquired_scans": len(scans.labels), "acquired_seconds": time.perf_counter() - started}


def kept_model(config: PretrainConfig) -> Model | None:
    """Load the model that the configuration keeps, if any.

    Raises
    ------
    ConfigError
        When it has no denoiser.
    """
    if not config.keep:
        return None
    model = load_model_for(config.keep, config.modality)
    if model.prior is None or model.card is None:
        raise ConfigError(f"keep names {config.keep}, which has no denoiser. Choose a model with one (medinr models).")
    return model


def extended_card(
    card: ModelCard, config: PretrainConfig, scans: TrainingVolumes, results: dict[str, Any]
) -> ModelCard:
    """Card of a model that was kept and got a denoiser for acquired scans."""

    def both(field: str) -> tuple[str, ...]:
        return tuple(sorted({*getattr(card, field), *getattr(scans, field)}))

    return replace(
        card,
        name=config.name,
        subjects=both("subjects"),
        scan_hashes=both("scan_hashes"),
        licences=both("licences"),
        settings=card.settings | {"scan_denoiser": asdict(config.scan_denoiser), "keep": last_part(config.keep)},
        results=card.results | results,
        medinr_version=versions()["medinr"],
        scan_denoiser=config.scan_denoiser.architecture,
    )
