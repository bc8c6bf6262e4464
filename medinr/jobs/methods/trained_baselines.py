"""What baselines learn before they are compared: control trunks and a U-Net, made when first needed and kept.

All from the train split of one manifest, with fixed seeds: a second evaluation makes the same.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medinr.acquisition.ways import acquisition_class, acquisition_of
from medinr.baselines.meta_trunk import meta_trunk
from medinr.baselines.unet import train_unet, untrained_unet
from medinr.config import ReconstructConfig, find_manifest
from medinr.data.dataset import load_training_slices
from medinr.errors import ConfigError
from medinr.io.claims import wait_for_claim
from medinr.io.manifest import Manifest, read_manifest
from medinr.io.scan import read_scan
from medinr.jobs.evaluate.cases import seeded
from medinr.jobs.simulated import measure_slices, taken_slices
from medinr.models.card import ModelCard
from medinr.models.checkpoint import find_model, load_model, read_card
from medinr.models.model import Model
from medinr.network.coordinates import plane_coordinates
from medinr.network.pretraining import PretrainSettings, pretrain
from medinr.network.trunk import Trunk
from medinr.tensors import read_tensors, write_tensors
from medinr.units import HU_VACUUM, attenuation_from_hu

#: Models of another anatomy, by the modality of the scan.
OTHER = {"MR": "chest_ct", "CT": "brain_mr"}

#: Training steps of the trunks of noise and of one slice, as many as of those that ship.
TRUNK_STEPS = 500

#: Training slices per scan of trunks; noise images of the noise trunk; measurements drawn of each slice for the U-Net.
PER_SCAN, NOISE_IMAGES, DRAWS = 2, 16, 3


def training_manifest(config: ReconstructConfig) -> Manifest:
    """The rows that baselines learn from: the train split of ``baselines.training``, of the task's modality."""
    manifest: Manifest = read_manifest(find_manifest(config.baselines.training))
    return manifest.select(split="train", modality=acquisition_class(config.task).modality)


def control_settings(config: ReconstructConfig, kind: str) -> dict[str, Any]:
    """What a control trunk depends on, beside the model whose architecture and grid it has."""
    facts: dict[str, Any] = {"control": kind, "model": config.model}
    if kind in ("one", "meta"):
        facts["training"] = config.baselines.training
    if kind == "meta":
        facts["iterations"] = config.baselines.meta_iterations
    return facts


def control_model(kind: str, config: ReconstructConfig, folder: Path) -> Model:
    """Open a control: the task's trunk in all but what it learned.

    Parameters
    ----------
    kind : {"noise", "one", "meta", "other"}
        Of uniform noise; of one slice; meta-learned; the shipped model of another anatomy, as it is.
    config : ReconstructConfig
        Of the task; its model is no random one.
    folder : Path
        Where it is kept.
    """
    card = read_card(find_model(config.model))
    if kind == "other":
        other = OTHER[card.modality]
        return load_model(other)
    facts = control_settings(config, kind) | {"architecture": card.architecture, "grid": card.grid_shape}
    path = folder / f"trunk_{kind}_{_digest(facts, config)}.safetensors"
    trunk = Trunk(card.trunk_settings)
    with wait_for_claim(path.with_suffix(".claim")):
        if not path.exists():
            write_tensors(path, _control_trunk(kind, card, config).state_dict(), {})
    trunk.load_state_dict(read_tensors(path)[0])
    return Model(None, None, card.length_scale, lambda: trunk)


def _control_trunk(kind: str, card: ModelCard, config: ReconstructConfig) -> Trunk:
    points = plane_coordinates(card.grid_shape, card.grid_spacing, card.length_scale)
    settings = PretrainSettings(steps=TRUNK_STEPS, architecture=card.trunk_settings)
    if kind == "noise":
        images = torch.rand((NOISE_IMAGES, *card.grid_shape), generator=torch.Generator().manual_seed(0))
        return pretrain(images, points, settings).trunk
    images = load_training_slices(
        training_manifest(config),
        modality=card.modality,
        shape=card.grid_shape,
        spacing_mm=card.grid_spacing[0],
        per_scan=PER_SCAN,
        limit=1 if kind == "one" else None,
    ).images
    if kind == "one":
        return pretrain(images, points, settings).trunk
    return meta_trunk(images, points, card.trunk_settings, iterations=config.baselines.meta_iterations)


def unet_settings(config: ReconstructConfig) -> dict[str, Any]:
    """What a task's U-Net depends on; not the fit's seed and not what other methods are told."""
    return {
        "training": config.baselines.training,
        "steps": config.baselines.unet_steps,
        "simulation": asdict(config.simulation),
    }


def task_unet(config: ReconstructConfig, folder: Path) -> nn.Module:
    """Open the U-Net of a task, trained on simulated measurements of the training slices; parameters as above."""
    facts = unet_settings(config) | {"task": config.task}
    path = folder / f"unet_{config.task}_{_digest(facts, config)}.safetensors"
    with wait_for_claim(path.with_suffix(".claim")):
        if not path.exists():
            write_tensors(path, train_unet(training_pairs(config), config.baselines.unet_steps).state_dict(), {})
    network = untrained_unet()
    network.load_state_dict(read_tensors(path)[0])
    return network.eval()


def training_pairs(config: ReconstructConfig) -> list[tuple[Tensor, Tensor]]:
    """Direct image and reference of every training slice, measured `DRAWS` times, all of order one.

    The same slices that the task's own trunk may learn from, each in its own grid.

    Raises
    ------
    ConfigError
        When no training scan can stand for the task.
    """
    manifest = training_manifest(config)
    pairs: list[tuple[Tensor, Tensor]] = []
    for row in manifest:
        read = read_scan(manifest.verify(row), series=row.series_number, modality=row.modality)
        whole, numbers = taken_slices(read, config, row)
        for number in numbers:
            for draw in range(DRAWS):
                own = seeded(config, draw, row.sha256, number)
                measurement, reference = measure_slices(whole, own, [number], row.path)
                acquisition = acquisition_of(measurement)
                problem = acquisition.problem(0)
                image = reference.images[0]
                if measurement.modality == "CT":
                    image = attenuation_from_hu(np.clip(image, HU_VACUUM, None))
                target = torch.from_numpy(image) / problem.scale
                direct = acquisition.direct(problem.data, problem.operator)
                pairs.append((network_input(direct, problem.scale), target))
    if not pairs:
        raise ConfigError(
            f"No training scan of {config.baselines.training} can be measured as the task asks (its slices are too "
            "thick to be cut across). Choose another manifest (baselines.training in the task's configuration), or "
            "leave the U-Net out."
        )
    return pairs


def network_input(image: Tensor, scale: float) -> Tensor:
    """What the U-Net sees of an image in the units of the problem: its magnitude where it is complex, of order one."""
    return (image.abs() if image.is_complex() else image).float() / scale


def _digest(facts: dict[str, Any], config: ReconstructConfig) -> str:
    hashes = [row.sha256 for row in training_manifest(config)]
    text = json.dumps([facts, hashes, metadata.version("medinr")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
