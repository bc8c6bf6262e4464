"""Time and memory of reading, checking and writing a CT series, beside MONAI's PydicomReader and NibabelWriter.

Every task runs in a process of its own, in turn, so that a busy moment of the machine affects all of them.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.ct_series import write_ct_series
from benchmarks.scan_io_tasks import TASKS
from medinr.errors import ConfigError, MedinrError
from medinr.io.atomic import write_json
from medinr.io.grid import onto_grid
from medinr.io.scan import read_scan
from medinr.jobs.record import new_result, versions

Announce = Callable[[str], None]

#: Where ours is compared with MONAI's, which keeps padding.
_AIR_HU = -1024.0

#: What each of medinr's tasks is compared with.
_BASELINES = {
    "medinr, NIfTI, gzip": "MONAI, NIfTI, gzip",
    "medinr, NIfTI": "MONAI, NIfTI",
    "medinr, derived DICOM": "MONAI, NIfTI, gzip",
}

INSPECT = "medinr inspect"

#: A process's peak counts from the memory of the one that started it, so a small one does.
_LAUNCHER = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(child.pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


def benchmark_scan_io(
    slices: int,
    size: int,
    rounds: int,
    out: Path,
    *,
    overwrite: bool = False,
    announce: Announce = lambda _: None,
) -> Table:
    """Measure every task of `benchmarks.scan_io_tasks` and ``medinr inspect``.

    Parameters
    ----------
    slices, size : int
        Of the synthetic series, which is made once and kept in `out`.
    rounds : int
        Times that every task runs; the median counts.
    out : Path
        Gets ``scan_io.json``.
    overwrite : bool
        Replace a finished result.
    announce : callable
        Called with a line after every run.

    Returns
    -------
    rich.table.Table
        Seconds of work and of the whole process, peak memory, ratio to MONAI.

    Raises
    ------
    ConfigError
        For fewer than two slices.
    """
    if slices < 2 or size < 16:
        raise ConfigError(f"A series has 2 slices or more of 16 pixels or more; got {slices} of {size}.")
    path = new_result(out, "scan_io.json", overwrite)
    announce(f"writing {slices} slices of {size} x {size}")
    series = write_ct_series(out, slices, size)
    for file in series.iterdir():
        # All read from the file cache, none from the disk.
        file.read_bytes()
    results = out / "written"
    results.mkdir(exist_ok=True)
    found: dict[str, list[dict[str, float]]] = {}
    refused: dict[str, str] = {}
    for _ in range(rounds):
        for name in (*TASKS, INSPECT):
            if name in refused:
                continue
            run, message = _measured(_command(name, series, results))
            if run is None:
                refused[name] = message
                announce(f"{name}: {message}")
            else:
                found.setdefault(name, []).append(run)
                announce(f"{name}: {run['seconds']:.2f} s, {run['peak_bytes'] / 2**20:.0f} MiB")
    difference = _difference(results)
    shutil.rmtree(results)
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
    }
    ratios = {
        name: medians[name]["seconds"] / medians[baseline]["seconds"]
        for name, baseline in _BASELINES.items()
        if name in medians and baseline in medians
    }
    write_json(
        path,
        {
            "slices": slices,
            "size": size,
            "largest_difference": difference,
            "runs": found,
            "medians": medians,
            "ratios": ratios,
            "refused": refused,
            "versions": versions(),
        },
        overwrite=True,
    )
    return _table(medians, ratios, refused, slices, size)


def _command(name: str, series: Path, results: Path) -> list[str]:
    if name == INSPECT:
        return [sys.executable, "-m", "medinr", "inspect", str(series)]
    return [sys.executable, "-W", "ignore", "-m", "benchmarks.scan_io_tasks", name, str(series), str(results)]


def _measured(command: list[str]) -> tuple[dict[str, float] | None, str]:
    """Seconds of the work, of the process, and its peak memory; or None and the last line of its error."""
    begun = time.perf_counter()
    launched = subprocess.run([sys.executable, "-I", "-S", "-c", _LAUNCHER, *command], capture_output=True, text=True)
    whole = time.perf_counter() - begun
    *printed, last = launched.stdout.strip().splitlines()
    code, busy, peak = json.loads(last)
    if code:
        return None, (launched.stderr.strip().splitlines() or ["no message"])[-1]
    work = json.loads(printed[-1])["seconds"] if printed and printed[-1].startswith('{"seconds"') else whole
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": work, "process_seconds": whole, "processor_seconds": busy, "peak_bytes": float(peak * unit)}, ""


def _difference(results: Path) -> float:
    """Largest difference of the two NIfTI files in HU, inside the field of view, voxel by voxel at its place.

    Raises
    ------
    MedinrError
        When it is not 0: then the times compare different work.
    """
    ours = read_scan(results / "medinr.nii", modality="CT")
    theirs = read_scan(results / "monai.nii", modality="CT")
    placed = onto_grid(theirs, ours.affine, ours.shape, "medinr.nii")
    largest = max(
        float(np.abs(a - np.maximum(b, _AIR_HU)).max()) for a, b in zip(ours.array, placed.array, strict=True)
    )
    if largest:
        raise MedinrError(f"The files of medinr and MONAI differ by up to {largest:g} HU.")
    return largest


def _table(
    medians: dict[str, dict[str, Any]], ratios: dict[str, float], refused: dict[str, str], slices: int, size: int
) -> Table:
    table = Table(
        title=f"Reading, checking and writing {slices} slices of {size} x {size}; ratio of the work to MONAI's"
    )
    for column in ("task", "work s", "process s", "processor s", "peak MiB", "ratio"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for name in (*TASKS, INSPECT):
        if name in refused:
            table.add_row(name, *4 * ("-",), refused[name])
            continue
        run = medians[name]
        ratio = f"{ratios[name]:.2f}" if name in ratios else ""
        work = "" if name == INSPECT else f"{run['seconds']:.2f}"
        whole, busy = (f"{run[key]:.2f}" for key in ("process_seconds", "processor_seconds"))
        table.add_row(name, work, whole, busy, f"{run['peak_bytes'] / 2**20:.0f}", ratio)
    return table
