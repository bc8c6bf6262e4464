"""The trunk of a model: its training slices and its training."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medinr.config.pretrain import PretrainConfig
from medinr.data.dataset import TrainingSlices, load_training_slices
from medinr.io.manifest import Manifest
from medinr.jobs.pretrain.choice import choice, fingerprint
from medinr.network.coordinates import plane_coordinates
from medinr.network.pretraining import pretrain
from medinr.network.trunk import Trunk


def trunk_slices(manifest: Manifest, config: PretrainConfig) -> TrainingSlices:
    """Load the slices that the trunk learns, all on one grid."""
    return load_training_slices(
        manifest,
        shape=config.grid,
        spacing_mm=config.spacing,
        per_scan=config.per_scan,
        limit=config.slices,
        seed=config.training.seed,
        **choice(config),
    )


def length_scale(config: PretrainConfig) -> float:
    """Millimetres per unit of network coordinate: half the longer side of the training grid."""
    return max(config.grid) * config.spacing / 2


def train_trunk(
    slices: TrainingSlices,
    config: PretrainConfig,
    checkpoint: Path,
    progress: Callable[[int, tuple[float, ...]], None] | None,
) -> tuple[Trunk, dict[str, Any]]:
    """Train the trunk; gives it and the figures reached."""
    points = plane_coordinates(config.grid, (config.spacing, config.spacing), length_scale(config))
    started = time.perf_counter()
    trained = pretrain(
        slices.images,
        points,
        config.training,
        checkpoint=checkpoint,
        fingerprint=fingerprint(config, slices),
        progress=progress,
    )
    return trained.trunk, {
        "psnr_mean": sum(trained.psnr) / len(trained.psnr),
        "psnr": list(trained.psnr),
        "trunk_seconds": time.perf_counter() - started,
    }
