"""Manifest in; out comes a model: a trunk and denoisers, learned from the same scans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from medinr.config import find_manifest
from medinr.config.pretrain import PretrainConfig
from medinr.io.manifest import read_manifest
from medinr.jobs.pretrain.acquired import extended_card, kept_model, train_for_scans
from medinr.jobs.pretrain.card import make_card
from medinr.jobs.pretrain.denoisers import train_denoisers
from medinr.jobs.pretrain.general import general_images
from medinr.jobs.pretrain.trunk import train_trunk, trunk_slices
from medinr.jobs.record import new_result
from medinr.models.card import ModelCard
from medinr.models.checkpoint import save_model
from medinr.models.model import Model

#: What is trained, one after another.
PARTS = ("trunk", "denoiser", "magnitude_denoiser", "auxiliary_denoiser", "scan_denoiser")


def pretrain(
    config: PretrainConfig,
    out: Path,
    *,
    near: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, tuple[float, ...]], None] | None = None,
    prior_progress: Callable[[int, float], None] | None = None,
    follow_up_progress: Callable[[int, int], None] | None = None,
) -> ModelCard:
    """Train a model as a configuration says.

    Parameters
    ----------
    config : PretrainConfig
    out : Path
        Folder for ``NAME.safetensors``, ``NAME.json`` and, until they are finished, ``NAME.*.checkpoint``.
        Checkpoints of the same training are continued.
    near : Path, optional
        Folder that a relative manifest path starts from.
    overwrite : bool
        Start anew and replace a finished model.
    progress : callable, optional
        Called after every step of the trunk with the steps done and the PSNR per head.
    prior_progress : callable, optional
        Called after every step of the denoisers with the steps done, of all of them, and the gain in dB.
    follow_up_progress : callable, optional
        Called while synthetic follow-ups are made, with the sessions done and how many there are.

    Returns
    -------
    ModelCard
    """
    path = new_result(out, f"{config.name}.safetensors", overwrite)
    unfinished = {part: out / f"{config.name}.{part}.checkpoint" for part in PARTS}
    if overwrite:
        for checkpoint in unfinished.values():
            checkpoint.unlink(missing_ok=True)
    listed = find_manifest(config.manifest, near)
    manifest = read_manifest(listed)
    kept = kept_model(config)
    general, others = general_images(manifest, config)
    if kept is None:
        slices = trunk_slices(manifest, config)
        trunk, results = train_trunk(slices, config, unfinished["trunk"], progress)
        prior, scanned, more = train_denoisers(
            manifest, config, general, unfinished, prior_progress, follow_up_progress
        )
    else:
        trunk, prior = kept.trunk, kept.prior
    denoiser, scans, found = train_for_scans(
        manifest, config, prior, general, unfinished["scan_denoiser"], prior_progress
    )
    prior = prior if prior is None else replace(prior, scan_denoiser=denoiser)
    if kept is None:
        card = make_card(
            config,
            slices.labels,
            [slices, scanned, scans, *others],
            results | more | found,
            manifest=listed,
            with_denoiser=prior is not None,
        )
    else:
        # `kept_model` and the configuration have seen to both.
        assert kept.card is not None
        assert scans is not None
        card = extended_card(kept.card, config, scans, found)
    save_model(path, Model.of(trunk, prior, card))
    for checkpoint in unfinished.values():
        checkpoint.unlink(missing_ok=True)
    return card
