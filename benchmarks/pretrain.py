"""Seconds to pretrain a network's trunk on ten scans, beside one scan: ten should cost about as much as one."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from rich.table import Table
from torch import Tensor

from medinr.config.shipped import find_manifest
from medinr.data.dataset import load_training_slices
from medinr.io.atomic import write_json
from medinr.io.manifest import read_manifest
from medinr.jobs.peak_memory import peak_memory
from medinr.jobs.record import new_result, versions
from medinr.network.coordinates import plane_coordinates
from medinr.network.pretraining import PretrainSettings, pretrain

#: Field of view in mm that the slices are cropped to: a head.
FIELD = 230.0

#: PSNR to be reached, mean over the scans, the data range of each being its own maximum.
LEVEL = 45.0

#: Steps whose mean PSNR is compared with the level: one step uses some of the points only.
SMOOTH = 10


def benchmark_pretrain(manifest: str, count: int, size: int, out: Path, *, overwrite: bool = False) -> Table:
    """Time the default pretraining of a trunk on the train split, for ``count`` scans and for one.

    Parameters
    ----------
    manifest : str
        CSV file or shipped manifest.
    count : int
        Scans, one slice each where there are enough.
    size : int
        Pixels per side.
    out : Path
        Gets ``pretrain.json``.
    overwrite : bool
        Replace a finished result.

    Returns
    -------
    rich.table.Table
    """
    path = new_result(out, "pretrain.json", overwrite)
    spacing = FIELD / size
    scans = read_manifest(find_manifest(manifest))
    slices = load_training_slices(
        scans, shape=(size, size), spacing_mm=spacing, per_scan=2, limit=count, seed=0, split="train", modality="MR"
    )
    points = plane_coordinates((size, size), (spacing, spacing), FIELD / 2)
    table = Table(title=f"Pretraining, {size} x {size}, {torch.get_num_threads()} threads")
    for column in ("scans", f"seconds to {LEVEL:.0f} dB", "seconds in all", "steps", "mean PSNR", "peak memory"):
        table.add_column(column, justify="right")
    runs = []
    for images in (slices.images, slices.images[:1]):
        run = _run(images, points)
        runs.append(run)
        reached = "-" if run["to_level"] is None else f"{run['to_level']:.1f}"
        memory = f"{peak_memory() / 2**20:.0f} MiB"
        table.add_row(
            str(len(images)), reached, f"{run['seconds']:.1f}", str(run["steps"]), f"{run['psnr']:.1f} dB", memory
        )
    facts = {"size": size, "threads": torch.get_num_threads(), "level": LEVEL, "runs": runs, "versions": versions()}
    write_json(path, facts, overwrite=True)
    return table


def _run(images: Tensor, points: Tensor) -> dict[str, float | int | None]:
    settings = PretrainSettings()
    begun, recent = time.perf_counter(), [0.0] * SMOOTH
    reached: list[float] = []

    def progress(done: int, psnr: tuple[float, ...]) -> None:
        recent[done % SMOOTH] = sum(psnr) / len(psnr)
        if not reached and sum(recent) / SMOOTH >= LEVEL:
            reached.append(time.perf_counter() - begun)

    trained = pretrain(images, points, settings, progress=progress)
    return {
        "scans": len(images),
        "to_level": reached[0] if reached else None,
        "seconds": time.perf_counter() - begun,
        "steps": settings.steps,
        "psnr": sum(trained.psnr) / len(trained.psnr),
    }
