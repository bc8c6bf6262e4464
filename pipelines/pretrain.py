"""Manifest in; out come a trunk and a local prior, learned from the same scans."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medinr.pipelines.record import new_result, versions

from medinr.config import PretrainConfig, find_manifest
from medinr.data.dataset import ScannedSlices, TrainingSlices, load_scanned_slices, load_training_slices
from medinr.data.exams import make_exams
from medinr.inr.coordinates import plane_coordinates
from medinr.inr.pretrain import pretrain as train_trunk
from medinr.io.manifest import Manifest, read_manifest
from medinr.prior.listener import Exam, train_listener
from medinr.prior.local import LocalPrior
from medinr.prior.loop import Following
from medinr.prior.train import train_on_magnitudes, train_prior
from medinr.solve.familiarity import surprise_range
from medinr.trunks.checkpoint import Checkpoint, TrunkCard, save_checkpoint

#: What is trained, one after another.
PARTS = ("trunk", "prior", "magnitudes", "listener")

UNITS = {"MR": "magnitude over its 99th percentile", "CT": "attenuation over that of water"}


def pretrain(
    config: PretrainConfig,
    out: Path,
    *,
    near: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, tuple[float, ...]], None] | None = None,
    prior_progress: Callable[[int, float], None] | None = None,
    exam_progress: Callable[[int, int], None] | None = None,
) -> TrunkCard:
    """Train a trunk and its local prior, with its copies, as a configuration says.

    Parameters
    ----------
    config : PretrainConfig
    out : Path
        Folder for ``NAME.safetensors``, ``NAME.json`` and, until they are finished, ``NAME.*.checkpoint``.
        Checkpoints of the same training are continued.
    near : Path, optional
        Folder that a relative manifest path starts from.
    overwrite : bool
        Start anew and replace a finished trunk.
    progress : callable, optional
        Called after every step of the trunk with the steps done and the PSNR per head.
    prior_progress : callable, optional
        Called after every step of the local prior and of its copies with the steps done, of all of them, and the
        gain in dB.
    exam_progress : callable, optional
        Called while exams for the copy that hears earlier scans are made up, with the sessions done and how many
        there are.

    Returns
    -------
    TrunkCard
    """
    path = new_result(out, f"{config.name}.safetensors", overwrite)
    unfinished = {part: out / f"{config.name}.{part}.checkpoint" for part in PARTS}
    if overwrite:
        for checkpoint in unfinished.values():
            checkpoint.unlink(missing_ok=True)
    manifest = read_manifest(find_manifest(config.manifest, near))
    choice: dict[str, Any] = {
        "split": config.split,
        "modality": config.modality,
        "contrasts": config.contrasts or None,
    }
    slices = load_training_slices(
        manifest,
        shape=config.grid,
        spacing_mm=config.spacing,
        per_scan=config.per_scan,
        limit=config.slices,
        seed=config.training.seed,
        **choice,
    )
    length_scale = max(config.grid) * config.spacing / 2
    points = plane_coordinates(config.grid, (config.spacing, config.spacing), length_scale)
    started = time.perf_counter()
    trained = train_trunk(
        slices.images,
        points,
        config.training,
        checkpoint=unfinished["trunk"],
        fingerprint=_fingerprint(config, slices),
        progress=progress,
    )
    seen: list[TrainingSlices | ScannedSlices] = [slices]
    results: dict[str, Any] = {
        "psnr_mean": sum(trained.psnr) / len(trained.psnr),
        "psnr": list(trained.psnr),
        "trunk_seconds": time.perf_counter() - started,
    }
    prior = None
    if config.prior.steps > 0:
        scanned = load_scanned_slices(manifest, per_scan=config.prior_slices_per_scan, **choice)
        seen.append(scanned)
        started = time.perf_counter()
        prior = _train_prior(scanned, config, unfinished, prior_progress)
        results |= {
            "prior_slices": len(scanned.images),
            "prior_seconds": time.perf_counter() - started,
            # Whether a reconstruction looks unlike these scans.
            "surprise": list(surprise_range(scanned.images, prior)),
        }
        if config.prior.listener_steps > 0:
            started = time.perf_counter()
            exams = _make_exams(manifest, config, exam_progress)
            prior = _with_listener(prior, exams, scanned, config, unfinished["listener"], prior_progress)
            results |= {"listener_exams": len(exams), "listener_seconds": time.perf_counter() - started}

    def all_of(field: str) -> tuple[str, ...]:
        return tuple(sorted({value for part in seen for value in getattr(part, field)}))

    card = TrunkCard(
        name=config.name,
        modality=config.modality,
        unit=UNITS[config.modality],
        length_scale=length_scale,
        grid_shape=config.grid,
        grid_spacing=(config.spacing, config.spacing),
        architecture=config.training.architecture,
        prior=config.prior.architecture if prior is not None else None,
        subjects=all_of("subjects"),
        scan_hashes=all_of("scan_hashes"),
        scans=slices.labels,
        licences=all_of("licences"),
        settings=asdict(config),
        results=results,
        medinr_version=versions()["medinr"],
    )
    save_checkpoint(path, Checkpoint(trained.trunk, prior, card))
    for checkpoint in unfinished.values():
        checkpoint.unlink(missing_ok=True)
    return card


def _train_prior(
    scanned: ScannedSlices,
    config: PretrainConfig,
    checkpoints: Mapping[str, Path],
    progress: Callable[[int, float], None] | None,
) -> LocalPrior:
    """Train a local prior, and from it one for magnitudes if the configuration wants it."""
    following = Following(checkpoints["prior"], _fingerprint(config, scanned), progress)
    denoiser = train_prior(scanned.images, config.prior, following)
    if config.prior.magnitude_steps == 0:
        return LocalPrior(denoiser)
    following = replace(following, checkpoint=checkpoints["magnitudes"], progress=_after(config.prior.steps, progress))
    return LocalPrior(denoiser, on_magnitudes=train_on_magnitudes(denoiser, scanned.images, config.prior, following))


def _make_exams(manifest: Manifest, config: PretrainConfig, progress: Callable[[int, int], None] | None) -> list[Exam]:
    contrasts, seed = config.contrasts or None, config.prior.seed
    return make_exams(manifest, split=config.split, contrasts=contrasts, seed=seed, progress=progress)


def _with_listener(
    prior: LocalPrior,
    exams: Sequence[Exam],
    scanned: ScannedSlices,
    config: PretrainConfig,
    checkpoint: Path,
    progress: Callable[[int, float], None] | None,
) -> LocalPrior:
    """Add a copy of a local prior that hears companions."""
    before = config.prior.steps + config.prior.magnitude_steps
    following = Following(checkpoint, _fingerprint(config, scanned), _after(before, progress))
    return replace(prior, listener=train_listener(prior.denoiser, exams, config.prior, following))


def _after(steps: int, progress: Callable[[int, float], None] | None) -> Callable[[int, float], None] | None:
    """Let a progress go on counting after so many steps."""
    return None if progress is None else lambda step, gain: progress(steps + step, gain)


def _fingerprint(config: PretrainConfig, slices: TrainingSlices | ScannedSlices) -> str:
    facts = json.dumps([asdict(config), slices.scan_hashes, slices.labels], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()
