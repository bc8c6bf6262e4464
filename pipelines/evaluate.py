"""Manifest in, table out: medinr, the naive input and TV on held-out scans."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from medinr.pipelines.reconstruct import reconstruct
from medinr.pipelines.record import versions
from medinr.pipelines.slices import NAIVE_NAMES

from medinr.config import EvaluateConfig, ReconstructConfig, load_config
from medinr.data.simulate import TASK_MODALITY
from medinr.errors import ManifestError, OutputExistsError
from medinr.evaluate.leakage import refuse_leakage
from medinr.evaluate.metrics import slice_metrics
from medinr.evaluate.scores import Score, ScoreLog
from medinr.io.atomic import write_json
from medinr.io.manifest import Manifest, ManifestRow
from medinr.io.scan import read_scan
from medinr.trunks.checkpoint import find_trunk, read_card

Announce = Callable[[str], None]


def evaluate(
    manifest: Manifest,
    config: EvaluateConfig,
    out: Path,
    *,
    near: Path | None = None,
    overwrite: bool = False,
    announce: Announce = lambda line: None,
) -> tuple[Score, ...]:
    """Score reconstructions of held-out scans.

    Parameters
    ----------
    manifest : Manifest
    config : EvaluateConfig
    out : Path
        Gets ``scores.csv`` and a folder per reconstruction; run again, it continues where it stopped.
    near : Path, optional
        Folder that task configurations are looked for in first.
    overwrite : bool
        Begin anew.
    announce : callable, optional
        Called with a line of progress per scan.

    Returns
    -------
    tuple of Score

    Raises
    ------
    LeakageError
        When a scan's subject or hash is among the trunk's training scans; before anything is computed.
    ManifestError
        When no scan of the split suits any task.
    """
    tasks = [load_config(ReconstructConfig, name, near=near) for name in config.tasks]
    work = [(task, row) for task in tasks for row in _rows(manifest, config, task)]
    if not work:
        raise ManifestError(
            f"The manifest has no scan in split {config.split!r} for {', '.join(t.task for t in tasks)}. "
            "Check its columns split, modality and contrast."
        )
    for task, row in work:
        if task.trunk != "random":
            refuse_leakage(read_card(find_trunk(task.trunk)), row.subject, row.sha256, row.path)
    settings = {"config": asdict(config), "tasks": [asdict(task) for task in tasks], "versions": versions()}
    _same_settings(out / "settings.json", settings, overwrite)
    if overwrite:
        (out / "scores.csv").unlink(missing_ok=True)
    log = ScoreLog(out / "scores.csv")
    for number, (task, row) in enumerate(work):
        announce(f"{number + 1}/{len(work)}  {task.task}  {row.subject} {row.session} {row.contrast or row.modality}")
        _score_scan(log, task, manifest, row, config.slices, out, overwrite)
    return log.scores


def _rows(manifest: Manifest, config: EvaluateConfig, task: ReconstructConfig) -> list[ManifestRow]:
    rows = manifest.select(split=config.split, modality=TASK_MODALITY[task.task])
    return [row for row in rows if not config.contrasts or not row.contrast or row.contrast in config.contrasts]


def _same_settings(path: Path, settings: dict[str, object], overwrite: bool) -> None:
    if path.exists() and not overwrite:
        found = json.loads(path.read_text())
        if json.loads(json.dumps(settings))["tasks"] != found["tasks"]:
            raise OutputExistsError(
                f"{path.parent} holds an evaluation with other settings. "
                "Choose another --out, or begin anew with --overwrite."
            )
        return
    write_json(path, settings, overwrite=True)


def _score_scan(
    log: ScoreLog,
    task: ReconstructConfig,
    manifest: Manifest,
    row: ManifestRow,
    slices: int,
    out: Path,
    overwrite: bool,
) -> None:
    path = manifest.verify(row)
    scan = read_scan(path, modality=row.modality)
    chosen = _spread(row.slice_numbers(scan.shape[0]), slices)
    methods = {"input": NAIVE_NAMES[task.task], "TV": "TV", "medinr": "medinr"}
    if task.peer.tv_weight == 0:
        methods.pop("TV")
    for number in chosen:
        if not overwrite and all(log.has(task.task, name, row.path, number) for name in methods.values()):
            continue
        folder = out / task.task / f"{row.sha256[:12]}_{number:04d}"
        # Slices are reconstructed one by one so that an interrupted evaluation loses one slice at most.
        result = reconstruct(path, folder, task, slices=[number], overwrite=True, modality=row.modality)
        assert result.truth is not None  # the measurement was simulated from the scan
        record = result.records[0]
        for key, name in methods.items():
            if log.has(task.task, name, row.path, number):
                continue
            m = slice_metrics(record.images[key], result.truth.images[0], result.truth.peak, row.modality)
            log.add(
                Score(
                    task=task.task,
                    method=name,
                    subject=row.subject,
                    scan=row.path,
                    slice=number,
                    seconds=record.times[key],
                    stopped_at=record.stopped_at if key == "medinr" else None,
                    reason=record.reason if key == "medinr" else "",
                    settings_json=json.dumps(
                        {"seed": task.fit.seed, "data_range": result.truth.peak, "trunk": task.trunk}
                    ),
                    **asdict(m),
                )
            )


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    if len(numbers) <= count + 1:
        # Between one more than wanted, evenly spaced positions would round to the same slice twice.
        return list(numbers[:count])
    return [numbers[round(i)] for i in np.linspace(0, len(numbers) - 1, count + 2)[1:-1]]
