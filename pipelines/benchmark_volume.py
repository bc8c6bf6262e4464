"""A whole volume as a ratio: all slices fitted jointly against one by one, 4x undersampled k-space, in one run."""

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
from medinr.pipelines.peak_memory import peak_memory
from medinr.pipelines.record import new_result, versions
from medinr.pipelines.slices import exported, open_trunk, problem_for
from numpy.typing import NDArray
from rich.table import Table
from skimage.transform import resize

from medinr.config import load_config
from medinr.config.schema import ReconstructConfig
from medinr.data.acquisition import operator_for
from medinr.data.orient import standard_orientation
from medinr.data.simulate import simulate
from medinr.errors import ConfigError
from medinr.evaluate.metrics import psnr
from medinr.io.atomic import write_json
from medinr.io.scan import read_scan
from medinr.measurement import Measurement
from medinr.solve.fit import fit
from medinr.solve.joint import fit_jointly

#: Configuration of the task that is timed.
TASK = "kspace"


@dataclass(frozen=True, eq=False)
class JointPart:
    """What the joint fit's own process gives back.

    Images ``(slices, y, x)``, wall and processor seconds, peak memory in bytes.
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
    trunk: str,
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
        Slices fitted alone, evenly spread; they stand for all.
    trunk : str
    out : Path
        Gets ``volume.json``.
    overwrite : bool
        Replace a finished result.
    announce : callable
        Told what is running.

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
    # A process of its own, so that its peak memory is the joint fit's and nothing else's.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        joint = pool.submit(_joint_part, scan, slices, size, trunk, torch.get_num_threads()).result()
    references, measurement, config = _measured(scan, slices, size, trunk)
    begin = open_trunk(trunk, "MR")
    peak, operator = float(references.max()), operator_for(measurement)
    rows: list[dict[str, Any]] = []
    for position in np.linspace(0, len(slices) - 1, singles).round().astype(int).tolist():
        number = measurement.slice_numbers[position]
        announce(f"slice {number} alone ...")
        problem = problem_for(measurement, position, operator)
        before, worked = time.perf_counter(), time.process_time()
        alone = fit(problem, begin.trunk, begin.length_scale, config.fit, prior=begin.prior)
        seconds, processor_seconds = time.perf_counter() - before, time.process_time() - worked
        reference = references[position]
        image = exported(measurement, alone.image)
        both = {"single": psnr(image, reference, peak), "joint": psnr(joint.images[position], reference, peak)}
        rows.append({"slice": number, "seconds": seconds, "processor_seconds": processor_seconds, "psnr": both})
    facts = _facts(joint, rows, len(slices)) | {"size": size, "trunk": trunk, "slices": slices, "versions": versions()}
    write_json(path, facts, overwrite=True)
    return _table(facts)


def _measured(
    scan: Path, slices: tuple[int, ...], size: int, trunk: str
) -> tuple[NDArray[np.float32], Measurement, ReconstructConfig]:
    """Reference slices ``(slices, size, size)`` and their simulated k-space."""
    config = replace(load_config(ReconstructConfig, TASK, ["fit.imitation.passes=8"]), trunk=trunk)
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


def _joint_part(scan: Path, slices: tuple[int, ...], size: int, trunk: str, threads: int) -> JointPart:
    torch.set_num_threads(threads)
    _, measurement, config = _measured(scan, slices, size, trunk)
    begin, operator = open_trunk(trunk, "MR"), operator_for(measurement)
    problems = [problem_for(measurement, position, operator) for position in range(len(slices))]
    before, worked = time.perf_counter(), time.process_time()
    solutions = fit_jointly(problems, begin.trunk, begin.length_scale, config.fit, prior=begin.prior)
    seconds, processor_seconds = time.perf_counter() - before, time.process_time() - worked
    images = np.stack([exported(measurement, solution.image) for solution in solutions])
    return JointPart(images, seconds, processor_seconds, peak_memory())


def _facts(joint: JointPart, rows: list[dict[str, Any]], count: int) -> dict[str, Any]:
    wall = {"single": fmean(row["seconds"] for row in rows) * count, "joint": joint.seconds}
    # Where other work shares the cores, wall time says little: the processor's own clock stands beside it.
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
    table = Table(title=f"{title}, trunk {facts['trunk']}")
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
