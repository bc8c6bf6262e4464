"""Time of a network's joint fit of a whole volume, beside slice by slice: 4x undersampled k-space, in one run."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from skimage.transform import resize

from medinr.acquisition.simulation import simulate
from medinr.acquisition.ways import acquisition_of
from medinr.config import ReconstructConfig, load_task_config
from medinr.data.orient import standard_orientation
from medinr.errors import ConfigError
from medinr.io.atomic import write_json
from medinr.io.scan import read_scan
from medinr.jobs.peak_memory import peak_memory
from medinr.jobs.record import new_result, versions
from medinr.measurement import Measurement
from medinr.metrics.image_quality import psnr
from medinr.models.checkpoint import load_model_for
from medinr.network.fit import fit
from medinr.network.joint_fit import fit_jointly

#: Configuration of the task that is timed.
TASK = "kspace"


@dataclass(frozen=True, eq=False)
class JointPart:
    """Result of the joint fit, which has a process of its own.

    Attributes
    ----------
    images : ndarray, shape (slices, y, x)
    seconds, processor_seconds : float
    memory : int
        Peak in bytes.
    """

    images: NDArray[np.float32]
    seconds: float
    processor_seconds: float
    memory: int


def benchmark_volume(
    scan: Path,
    slices: tuple[int, ...],
    size: int,
    singles: int,
    model: str,
    out: Path,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> Table:
    """Time the joint fit of a volume against fits of single slices, times the number of slices.

    Parameters
    ----------
    scan : Path
        Brain MR scan.
    slices : tuple of int
        Slice numbers; they are resampled to ``size x size`` pixels and measured with the task's own simulation.
    size : int
    singles : int
        Slices fitted alone, evenly spread; their mean time counts as that of all.
    model : str
    out : Path
        Gets ``volume.json``.
    overwrite : bool
        Replace a finished result.
    announce : callable
        Called with a line before every fit.

    Returns
    -------
    rich.table.Table

    Raises
    ------
    ConfigError
        When ``singles`` is not between 1 and the number of slices.
    """
    path = new_result(out, "volume.json", overwrite)
    if not 1 <= singles <= len(slices):
        raise ConfigError(f"Of {len(slices)} slices between 1 and {len(slices)} can be fitted alone; got {singles}.")
    announce(f"{len(slices)} slices jointly ...")
    # In a process of its own, so that the peak memory is that of the joint fit alone.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        joint = pool.submit(_joint_part, scan, slices, size, model, torch.get_num_threads()).result()
    references, measurement, config = _measured(scan, slices, size, model)
    loaded, acquisition = load_model_for(model, "MR"), acquisition_of(measurement)
    peak, operator = float(references.max()), acquisition.operator()
    rows: list[dict[str, Any]] = []
    for position in np.linspace(0, len(slices) - 1, singles).round().astype(int).tolist():
        number = measurement.slice_numbers[position]
        announce(f"slice {number} alone ...")
        problem = acquisition.problem(position, operator)
        before, worked = time.perf_counter(), time.process_time()
        alone = fit(problem, loaded.trunk, loaded.length_scale, config.fit, prior=loaded.prior)
        seconds, processor_seconds = time.perf_counter() - before, time.process_time() - worked
        reference = references[position]
        image = acquisition.export(alone.image)
        both = {"single": psnr(image, reference, peak), "joint": psnr(joint.images[position], reference, peak)}
        rows.append({"slice": number, "seconds": seconds, "processor_seconds": processor_seconds, "psnr": both})
    facts = _facts(joint, rows, len(slices)) | {"size": size, "model": model, "slices": slices, "versions": versions()}
    write_json(path, facts, overwrite=True)
    return _table(facts)


def _measured(
    scan: Path, slices: tuple[int, ...], size: int, model: str
) -> tuple[NDArray[np.float32], Measurement, ReconstructConfig]:
    """Reference slices ``(slices, size, size)`` and their simulated k-space."""
    config = load_task_config(TASK, method="inr", model=model)
    chosen = read_scan(scan, modality="MR").select(list(slices))
    planes = standard_orientation(chosen)
    numbers = slices if planes.affine[:3, 2] @ chosen.affine[:3, 2] > 0 else slices[::-1]
    resized = [resize(plane, (size, size), anti_aliasing=True) for plane in np.abs(planes.array)]
    references = np.stack(resized).astype(np.float32)
    affine = planes.affine.copy()
    affine[:3, 0] *= planes.shape[2] / size
    affine[:3, 1] *= planes.shape[1] / size
    level = float(np.percentile(references, 99))
    measured = simulate(TASK, replace(planes, array=references, affine=affine), config.simulation, level=level)
    return references, replace(measured, parameters={**measured.parameters, "slices": list(numbers)}), config


def _joint_part(scan: Path, slices: tuple[int, ...], size: int, model: str, threads: int) -> JointPart:
    torch.set_num_threads(threads)
    _, measurement, config = _measured(scan, slices, size, model)
    loaded, acquisition = load_model_for(model, "MR"), acquisition_of(measurement)
    problems = acquisition.problems()
    before, worked = time.perf_counter(), time.process_time()
    solutions = fit_jointly(problems, loaded.trunk, loaded.length_scale, config.fit, prior=loaded.prior)
    seconds, processor_seconds = time.perf_counter() - before, time.process_time() - worked
    images = np.stack([acquisition.export(solution.image) for solution in solutions])
    return JointPart(images, seconds, processor_seconds, peak_memory())


def _facts(joint: JointPart, rows: list[dict[str, Any]], count: int) -> dict[str, Any]:
    wall = {"single": fmean(row["seconds"] for row in rows) * count, "joint": joint.seconds}
    # Wall time is unreliable where other processes use the cores; processor time is reported as well.
    worked = {"single": fmean(row["processor_seconds"] for row in rows) * count, "joint": joint.processor_seconds}
    means = {name: fmean(row["psnr"][name] for row in rows) for name in ("single", "joint")}
    return {
        "seconds": wall,
        "processor_seconds": worked,
        "ratio": wall["single"] / wall["joint"],
        "processor_ratio": worked["single"] / worked["joint"],
        "peak_memory_bytes": joint.memory,
        "psnr": means,
        "singles": rows,
    }


def _table(facts: dict[str, Any]) -> Table:
    count, size = len(facts["slices"]), facts["size"]
    title = f"{count} slices of {size} x {size}, 4x k-space, {facts['versions']['threads']} threads"
    table = Table(title=f"{title}, model {facts['model']}")
    table.add_column("fit")
    for column in ("seconds", "per slice", "ratio", "CPU s", "ratio", "memory", "PSNR"):
        table.add_column(column, justify="right")
    memory = {"single": "-", "joint": f"{facts['peak_memory_bytes'] / 1e9:.2f} GB"}
    for name in ("single", "joint"):
        seconds, worked = facts["seconds"][name], facts["processor_seconds"][name]
        table.add_row(
            name,
            f"{seconds:.1f}",
            f"{seconds / count:.2f}",
            f"{facts['seconds']['single'] / seconds:.2f}",
            f"{worked:.1f}",
            f"{facts['processor_seconds']['single'] / worked:.2f}",
            memory[name],
            f"{facts['psnr'][name]:.2f} dB",
        )
    return table
