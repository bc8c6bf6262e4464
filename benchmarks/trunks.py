"""What a network's trunk should be pretrained on, and how: transfer to a subject left out of every pretraining.

Every trunk gets the same number of steps on the same grid and is scored twice on the held-out subject's slices: with
the closed-form head on its pretrained features, and after a short image-domain fit with K-FAC.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from medinr.config.shipped import find_manifest
from medinr.data.dataset import load_training_slices
from medinr.errors import ManifestError
from medinr.io.atomic import write_json
from medinr.io.manifest import Manifest, read_manifest
from medinr.jobs.record import new_result, versions
from medinr.metrics.image_quality import psnr
from medinr.network.coordinates import plane_coordinates
from medinr.network.image_domain import ImageDomainSettings, best_head, fit_image_domain
from medinr.network.pretraining import PretrainSettings, pretrain
from medinr.network.trunk import Trunk, TrunkSettings, random_head
from medinr.optimise import OptimiserSettings

#: Field of view in mm.
FIELD = 230.0

#: Passes of the short fit.
PASSES = 6.0

#: Slices of the held-out subject.
HELD_OUT_SLICES = 3


def benchmark_trunks(
    manifest: str,
    size: int,
    steps: int,
    out: Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Pretrain trunks in different ways on all but one train subject and transfer them to that one.

    Parameters
    ----------
    manifest : str
        CSV file or shipped manifest with MR and CT scans in the train split.
    size : int
        Pixels per side.
    steps : int
        Of every pretraining.
    out : Path
        Gets ``trunks.json``.
    overwrite : bool
        Replace a finished result.
    announce : callable
        Called with a line before every pretraining.

    Returns
    -------
    rich.table.Table
    """
    path = new_result(out, "trunks.json", overwrite)
    scans = read_manifest(find_manifest(manifest))
    train = scans.select(split="train")
    subjects = sorted({row.subject for row in train if row.modality == "MR"})
    if len(subjects) < 2:
        raise ManifestError(f"{manifest} needs two MR subjects in its train split, one to score on; it has {subjects}.")
    held_out = subjects[-1]
    rest = Manifest(tuple(row for row in train if row.subject != held_out), scans.root)
    spacing = FIELD / size
    points = plane_coordinates((size, size), (spacing, spacing), FIELD / 2)

    def images(source: Manifest, modality: str, count: int, per_scan: int) -> Tensor:
        return load_training_slices(
            source, modality=modality, shape=(size, size), spacing_mm=spacing, per_scan=per_scan, limit=count
        ).images

    references = images(train.select(subject=held_out), "MR", HELD_OUT_SLICES, HELD_OUT_SLICES)
    noise = torch.rand(10, size, size, generator=torch.Generator().manual_seed(0))
    adam = OptimiserSettings(kind="adam", adam_rate=1e-4, schedule="constant")
    plans: dict[str, tuple[Tensor, OptimiserSettings]] = {
        f"{count} slices, Muon": (images(rest, "MR", count, per_scan), OptimiserSettings())
        for count, per_scan in ((1, 1), (3, 1), (10, 1), (30, 4))
    }
    plans["10 slices, Adam 1e-4 as published"] = (images(rest, "MR", 10, 1), adam)
    plans["10 images of uniform noise, Muon"] = (noise, OptimiserSettings())
    plans["10 CT slices, Muon"] = (images(rest, "CT", 10, 4), OptimiserSettings())

    rows: list[dict[str, Any]] = []
    random = Trunk(TrunkSettings(), torch.Generator().manual_seed(0))
    rows.append({"trunk": "random weights", "trained": None, **_score(random, points, references)})
    for name, (training, optimiser) in plans.items():
        announce(f"{name} ...")
        trained = pretrain(training, points, PretrainSettings(steps=steps, optimiser=optimiser))
        mean = sum(trained.psnr) / len(trained.psnr)
        rows.append({"trunk": name, "trained": mean, **_score(trained.trunk, points, references)})
    facts = {"size": size, "steps": steps, "held_out": held_out, "rows": rows, "versions": versions()}
    write_json(path, facts, overwrite=True)
    table = Table(
        title=f"Transfer to {len(references)} slices of {held_out}, {size} x {size}, {steps} pretraining steps, in dB"
    )
    for column in ("trunk pretrained on", "training fit", "head alone", f"{PASSES:.0f} passes"):
        table.add_column(column, justify="left" if column.startswith("trunk") else "right")
    for row in rows:
        training_psnr = "" if row["trained"] is None else f"{row['trained']:.1f}"
        table.add_row(row["trunk"], training_psnr, f"{row['head']:.1f}", f"{row['fitted']:.1f}")
    return table


def _score(trunk: Trunk, points: Tensor, images: Tensor) -> dict[str, float]:
    found = {"head": 0.0, "fitted": 0.0}
    features = trunk.features(points)
    for image in images:
        values = image.reshape(-1, 1)
        found["head"] += _psnr(features @ best_head(features, values), values) / len(images)
        fitted = copy.deepcopy(trunk)
        head = nn.Parameter(random_head(fitted.width, 1, fitted.settings.omega, torch.Generator().manual_seed(0)))
        fit_image_domain(
            fitted, head, points, values, ImageDomainSettings(passes=PASSES), generator=torch.Generator().manual_seed(0)
        )
        with torch.no_grad():
            found["fitted"] += _psnr(fitted.render(points, head), values) / len(images)
    return found


def _psnr(image: Tensor, reference: Tensor) -> float:
    return float(psnr(image.numpy(), reference.numpy(), float(reference.max())))
