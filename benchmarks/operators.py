"""Time and memory of every operator, beside other libraries that compute the same."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from benchmarks.operator_libraries import Baseline
from benchmarks.operator_rows import Row, rows
from medinr.errors import ConfigError
from medinr.io.atomic import write_json
from medinr.jobs.record import new_result, versions

#: A larger batch is timed on this many images and scaled, where it would take longer than the cap or needs more
#: memory than `MOST_BYTES` for its input or result.
SAMPLE, MOST_BYTES = 8, 2**30

#: Rounds in which every method runs once, at least and, where they are short, at most; the median counts.
ROUNDS, MOST_ROUNDS = 5, 40

#: Methods within this multiple of the fastest one's time are timed on the same number of images.
CLOSE = 2.0

Announce = Callable[[str], None]


def benchmark_operators(
    sizes: Sequence[int],
    images: Sequence[int],
    out: Path,
    *,
    cap: float = 1.0,
    only: str = "",
    overwrite: bool = False,
    announce: Announce = lambda _: None,
) -> Table:
    """Time every operator and its baselines alternately, after checking that they agree.

    All run on as many threads as torch is set to use, as far as they are multi-threaded: SciPy's transforms are; its
    filters, SigPy, skimage and ASTRA's projectors on the processor are not.

    Parameters
    ----------
    sizes : sequence of int
        Pixels per side.
    images : sequence of int
        Batch sizes.
    out : Path
        Gets ``operators.json``.
    cap : float
        Seconds for the rounds of one entry.
    only : str
        Rows whose name contains this.
    overwrite : bool
        Replace a finished result.
    announce : callable
        Called with a line before every row.

    Returns
    -------
    rich.table.Table
        Milliseconds of a whole batch, medinr's and the fastest baseline's; ``~`` marks times scaled from fewer images.

    Raises
    ------
    ConfigError
        If a size is below 16 or a batch empty.
    OutputExistsError
        If the result is there already.
    """
    if not sizes or not images or min(sizes) < 16 or min(images) < 1:
        raise ConfigError(f"Operators are timed on 16 pixels or more and 1 image or more; got {sizes} and {images}.")
    path = new_result(out, "operators.json", overwrite)
    found = []
    for size in sizes:
        for row in rows(size):
            if only.lower() not in row.operator.lower():
                continue
            for count in images:
                announce(f"{row.operator}, {row.direction}, {size} x {size}, {count}")
                found.append({"size": size, "images": count} | _entry(row, count, cap))
    write_json(path, {"threads": torch.get_num_threads(), "rows": found, "versions": versions()}, overwrite=True)
    return _table(found)


def _entry(row: Row, images: int, cap: float) -> dict[str, Any]:
    count = max(1, round(images / row.each))
    x = row.example(1)
    row.run(x)
    if _once(row.run, x) < cap / SAMPLE:
        x = row.example(min(count, SAMPLE))
    result = row.run(x)
    largest = count * max(x[0].nbytes, result[0].nbytes)
    baselines: dict[str, Baseline] = {}
    differences: dict[str, float] = {}
    refused: dict[str, float] = {}
    for name, baseline in row.baselines.items():
        given = baseline.take(x)
        difference = row.compare(result, torch.as_tensor(baseline.give(baseline.run(given))))
        (differences if difference <= baseline.tolerance else refused)[name] = difference
        if difference <= baseline.tolerance:
            baselines[name] = baseline
    methods: dict[str, tuple[Callable[[Any], Any], Callable[[Tensor], Any]]] = {"medinr": (row.run, _unchanged)}
    methods |= {name: (baseline.run, baseline.take) for name, baseline in baselines.items()}
    seconds = {name: _once(run, take(x)) * count / len(x) for name, (run, take) in methods.items()}
    # Those that are close are timed on the same images: a batch that exceeds the caches is slower than its parts.
    close = max(taken for taken in seconds.values() if taken <= CLOSE * min(seconds.values()))
    full = row.example(count) if count > SAMPLE and largest <= MOST_BYTES else x
    calls: dict[str, tuple[Callable[[], Any], int]] = {}
    for name, (run, take) in methods.items():
        part = full if max(seconds[name], close) * 2 <= cap else x
        calls[name] = (_call(run, take(part)), len(part))
    times = _alternating({name: call for name, (call, _) in calls.items()}, cap)
    entries: dict[str, dict[str, Any]] = {
        name: {
            "seconds": times[name] * count / part,
            "timed_on": part,
            "extra_bytes": _extra_memory(call) if part == count else None,
        }
        for name, (call, part) in calls.items()
    }
    fastest = min((entries[name]["seconds"] for name in baselines), default=None)
    return {
        "operator": row.operator,
        "direction": row.direction,
        "inputs": count,
        "dtype": str(x.dtype).removeprefix("torch."),
        "methods": entries,
        "differences": differences,
        "refused": refused,
        "ratio": None if fastest is None else entries["medinr"]["seconds"] / fastest,
    }


def _unchanged(value: Tensor) -> Tensor:
    return value


def _call(run: Callable[[Any], Any], given: Any) -> Callable[[], Any]:
    return lambda: run(given)


def _once(run: Callable[[Any], Any], given: Any) -> float:
    begun = time.perf_counter()
    run(given)
    return time.perf_counter() - begun


def _alternating(calls: dict[str, Callable[[], Any]], cap: float) -> dict[str, float]:
    """Median seconds of each call; calls alternate, so that a busy moment of the machine affects all of them."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for done in range(MOST_ROUNDS):
        if done >= ROUNDS and sum(map(sum, times.values())) > cap / ROUNDS:
            break
        for name, call in calls.items():
            spent = times[name]
            if spent and sum(spent) + spent[-1] > cap:
                continue
            begun = time.perf_counter()
            call()
            spent.append(time.perf_counter() - begun)
    return {name: statistics.median(spent) for name, spent in times.items()}


def _extra_memory(call: Callable[[], Any]) -> int | None:
    """Peak growth of the process during a call in bytes; None where the system does not report it (not Linux)."""
    if sys.platform != "linux" or not os.access("/proc/self/clear_refs", os.W_OK):
        return None
    gc.collect()
    # Memory that the allocator has kept would be reused without the process growing.
    ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before = _high_water()
        call()
        return max(0, _high_water() - before)
    except (OSError, AttributeError):
        return None


def _high_water() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _table(found: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=f"Milliseconds (extra MiB), {torch.get_num_threads()} threads; all baselines in operators.json")
    for column in ("operator", "", "pixels", "images", "medinr", "fastest baseline", "", "ratio"):
        table.add_column(
            column, justify="left" if column in ("operator", "") else "right", no_wrap=column != "operator"
        )
    for row in found:
        baselines = {name: entry for name, entry in row["methods"].items() if name != "medinr"}
        fastest = min(baselines, key=lambda name: float(baselines[name]["seconds"]), default="-")
        table.add_row(
            row["operator"],
            row["direction"],
            f"{row['size']}²",
            str(row["images"]),
            _number(row["methods"]["medinr"], row["inputs"]),
            _number(baselines.get(fastest), row["inputs"]),
            fastest,
            "-" if row["ratio"] is None else f"{row['ratio']:.2f}",
        )
    return table


def _number(entry: dict[str, Any] | None, inputs: int) -> str:
    if entry is None:
        return "-"
    scaled = "" if entry["timed_on"] == inputs else "~"
    memory = "" if entry["extra_bytes"] is None else f" ({entry['extra_bytes'] / 2**20:.0f})"
    return f"{scaled}{1e3 * entry['seconds']:.3g}{memory}"
