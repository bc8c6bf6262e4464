"""Manifest in, trunk out."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from medinr.pipelines.record import versions

from medinr.config import PretrainConfig, find_manifest
from medinr.data.dataset import load_training_slices
from medinr.errors import OutputExistsError
from medinr.inr.checkpoint import TrunkCard, save_trunk
from medinr.inr.coordinates import plane_coordinates
from medinr.inr.pretrain import pretrain as train
from medinr.io.manifest import read_manifest

Progress = Callable[[int, tuple[float, ...]], None]

UNITS = {"MR": "magnitude over its 99th percentile", "CT": "attenuation over that of water"}


def pretrain(
    config: PretrainConfig,
    out: Path,
    *,
    near: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TrunkCard:
    """Train a trunk as a configuration says.

    Parameters
    ----------
    config : PretrainConfig
    out : Path
        Folder for ``NAME.safetensors``, ``NAME.json`` and, until they are finished, ``NAME.checkpoint``.
        A checkpoint of the same training is continued.
    near : Path, optional
        Folder that a relative manifest path starts from.
    overwrite : bool
        Start anew and replace a finished trunk.
    progress : callable, optional
        Called after every step with the steps done and the PSNR per head.

    Returns
    -------
    TrunkCard
    """
    path, checkpoint = out / f"{config.name}.safetensors", out / f"{config.name}.checkpoint"
    if overwrite:
        checkpoint.unlink(missing_ok=True)
    elif path.exists():
        raise OutputExistsError(f"{path} exists. Choose another --out, or replace it with --overwrite.")
    manifest = read_manifest(find_manifest(config.manifest, near))
    slices = load_training_slices(
        manifest,
        split=config.split,
        modality=config.modality,
        contrasts=config.contrasts or None,
        shape=config.grid,
        spacing_mm=config.spacing,
        per_scan=config.per_scan,
        limit=config.slices,
        seed=config.training.seed,
    )
    length_scale = max(config.grid) * config.spacing / 2
    points = plane_coordinates(config.grid, (config.spacing, config.spacing), length_scale)
    facts = json.dumps([asdict(config), slices.scan_hashes, slices.labels], sort_keys=True)
    started = time.perf_counter()
    result = train(
        slices.images,
        points,
        config.training,
        checkpoint=checkpoint,
        fingerprint=hashlib.sha256(facts.encode()).hexdigest(),
        progress=progress,
    )
    card = TrunkCard(
        name=config.name,
        modality=config.modality,
        unit=UNITS[config.modality],
        length_scale=length_scale,
        grid_shape=config.grid,
        grid_spacing=(config.spacing, config.spacing),
        architecture=config.training.architecture,
        subjects=tuple(sorted(set(slices.subjects))),
        scan_hashes=tuple(sorted(set(slices.scan_hashes))),
        scans=slices.labels,
        licences=tuple(sorted(set(slices.licences))),
        settings=asdict(config),
        results={
            "psnr_mean": sum(result.psnr) / len(result.psnr),
            "psnr": list(result.psnr),
            "seconds": time.perf_counter() - started,
        },
        medinr_version=versions()["medinr"],
    )
    save_trunk(path, result.trunk, card)
    checkpoint.unlink(missing_ok=True)
    return card
