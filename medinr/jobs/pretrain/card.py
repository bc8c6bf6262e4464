"""The card of a model that was just trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medinr.config.pretrain import PretrainConfig
from medinr.data.dataset import ScannedSlices, TrainingSlices
from medinr.data.photographs import LICENCE
from medinr.data.training_volumes import TrainingVolumes
from medinr.io.hashes import hash_file
from medinr.jobs.pretrain.trunk import length_scale
from medinr.jobs.record import versions
from medinr.models.card import ModelCard

#: What a model's networks give, by modality.
UNITS = {"MR": "magnitude over its 99th percentile", "CT": "attenuation over that of water"}


def make_card(
    config: PretrainConfig,
    labels: Sequence[str],
    slices: Sequence[TrainingSlices | ScannedSlices | TrainingVolumes | None],
    results: dict[str, Any],
    *,
    manifest: Path,
    with_denoiser: bool,
) -> ModelCard:
    """Say what was trained, on whose scans.

    Parameters
    ----------
    config : PretrainConfig
    labels : sequence of str
        Of the trunk's slices.
    slices : sequence
        All that anything was trained on.
    results : dict
        Figures reached.
    manifest : Path
        That the scans are listed in; its hash is kept.
    with_denoiser : bool
    """

    def all_of(field: str) -> tuple[str, ...]:
        return tuple(sorted({value for part in slices if part is not None for value in getattr(part, field)}))

    return ModelCard(
        name=config.name,
        modality=config.modality,
        unit=UNITS[config.modality],
        length_scale=length_scale(config),
        grid_shape=config.grid,
        grid_spacing=(config.spacing, config.spacing),
        architecture=asdict(config.training.architecture),
        prior=config.prior.architecture if with_denoiser else None,
        subjects=all_of("subjects"),
        scan_hashes=all_of("scan_hashes"),
        scans=tuple(labels),
        licences=(*all_of("licences"), *((LICENCE,) if config.general else ())),
        settings=asdict(config) | {"manifest_sha256": hash_file(manifest)},
        results=results,
        medinr_version=versions()["medinr"],
        scan_denoiser=config.scan_denoiser.architecture if config.scan_denoiser.steps else None,
    )
