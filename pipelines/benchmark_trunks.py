"""What a trunk should be pretrained on, and how: transfer to a person that no trunk has seen.

Every trunk gets the same number of steps on the same grid and is judged twice on the held-out person's slices: by the
closed-form head on its untouched features, and after a short natural-gradient fit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from medinr.pipelines.record import new_result, versions
from rich.table import Table
from torch import Tensor, nn

from medinr.config.shipped import find_manifest
from medinr.data.dataset import load_training_slices
from medinr.errors import ManifestError
from medinr.evaluate.metrics import psnr
from medinr.inr.coordinates import plane_coordinates
from medinr.inr.network import Trunk, TrunkSettings, random_head
from medinr.inr.pretrain import PretrainSettings, pretrain
from medinr.io.atomic import write_json
from medinr.io.manifest import Manifest, read_manifest
from medinr.optimise import OptimiserSettings
from medinr.solve.imitate import ImitationSettings, best_head, imitate

#: Field of view in mm.
FIELD = 230.0

#: Passes of the short fit.
PASSES = 6.0

#: Slices of the held-out person.
JUDGED = 3


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

    Returns
    -------
    rich.table.Table
    """
    path = new_result(out, "trunks.json", overwrite)
    scans = read_manifest(find_manifest(manifest))
    train = scans.select(split="train")
    subjects = sorted({row.subject for row in train if row.modality == "MR"})
    if len(subjects) < 2:
        raise ManifestError(f"{manifest} needs two MR subjects in its train split, one to judge by; it has {subjects}.")
    judge = subjects[-1]
    rest = Manifest(tuple(row for row in train if row.subject != judge), scans.root)
    spacing = FIELD / size
    points = plane_coordinates((size, size), (spacing, spacing), FIELD / 2)

    def images(source: Manifest, modality: str, count: int, per_scan: int) -> Tensor:
        return load_training_slices(
            source, modality=modality, shape=(size, size), spacing_mm=spacing, per_scan=per_scan, limit=count
        ).images

    judged = images(train.select(subject=judge), "MR", JUDGED, JUDGED)
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
    rows.append({"trunk": "random weights", "trained": None, **_judge(random, points, judged)})
    for name, (scans_, optimiser) in plans.items():
        announce(f"{name} ...")
        trained = pretrain(scans_, points, PretrainSettings(steps=steps, optimiser=optimiser))
        mean = sum(trained.psnr) / len(trained.psnr)
        rows.append({"trunk": name, "trained": mean, **_judge(trained.trunk, points, judged)})
    facts = {"size": size, "steps": steps, "judged": judge, "rows": rows, "versions": versions()}
    write_json(path, facts, overwrite=True)
    table = Table(
        title=f"Transfer to {len(judged)} slices of {judge}, {size} x {size}, {steps} pretraining steps, in dB"
    )
    for column in ("trunk pretrained on", "training fit", "head alone", f"{PASSES:.0f} passes"):
        table.add_column(column, justify="left" if column.startswith("trunk") else "right")
    for row in rows:
        trained_ = "" if row["trained"] is None else f"{row['trained']:.1f}"
        table.add_row(row["trunk"], trained_, f"{row['head']:.1f}", f"{row['fitted']:.1f}")
    return table


def _judge(trunk: Trunk, points: Tensor, images: Tensor) -> dict[str, float]:
    found = {"head": 0.0, "fitted": 0.0}
    features = trunk.features(points)
    for image in images:
        values = image.reshape(-1, 1)
        found["head"] += _score(features @ best_head(features, values), values) / len(images)
        mine = copy.deepcopy(trunk)
        head = nn.Parameter(random_head(mine.width, 1, mine.settings.omega, torch.Generator().manual_seed(0)))
        imitate(
            mine, head, points, values, ImitationSettings(passes=PASSES), generator=torch.Generator().manual_seed(0)
        )
        with torch.no_grad():
            found["fitted"] += _score(mine.render(points, head), values) / len(images)
    return found


def _score(found: Tensor, wanted: Tensor) -> float:
    return float(psnr(found.numpy(), wanted.numpy(), float(wanted.max())))
