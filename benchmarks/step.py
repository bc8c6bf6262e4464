"""Useful operations per second of a training step, as a share of the machine's matrix-product rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from medinr.baselines.strainer import PublishedRecipe
from medinr.devices import open_device, wait_for
from medinr.io.atomic import write_json
from medinr.jobs.peak_memory import peak_memory
from medinr.jobs.record import new_result, versions
from medinr.network.coordinates import plane_coordinates
from medinr.network.kfac import KfacOptimiser, KfacSettings
from medinr.network.sweep import Layers, Sweep
from medinr.network.trunk import Trunk, TrunkSettings, random_head
from medinr.precision import has_fast_bfloat16, reduced_products

#: Shapes (rows, inner, columns) of the products whose best rate counts as the machine's.
SHAPES = ((1024, 256, 256), (2048, 256, 256), (8192, 256, 256), (2048, 2048, 2048))

#: Timings of which the shortest counts: other processes can only make it longer.
REPEATS = 7


def useful_operations(settings: TrunkSettings, points: int, heads: int = 1) -> float:
    """Floating-point operations of a gradient step that no rearrangement can avoid.

    A product forward and two backward per layer; sines, sums and whatever is computed twice do not count.
    """
    width = settings.width
    weights = settings.inputs * width + (settings.depth - 1) * width**2 + width * heads
    # No gradient is needed with respect to the input of the first layer.
    return 2.0 * points * (3 * weights - settings.inputs * width)


def _shortest(work: Callable[[], Any]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


def matrix_rate(device: torch.device) -> float:
    """Best measured float32 matrix-product rate in operations a second, over `SHAPES`."""
    rates = []
    for rows, inner, columns in SHAPES:
        a, b = torch.randn(rows, inner, device=device), torch.randn(inner, columns, device=device)
        out = torch.empty(rows, columns, device=device)
        count = max(1, int(2e10 / (2 * rows * inner * columns)))

        def work(a: Tensor = a, b: Tensor = b, out: Tensor = out, count: int = count) -> None:
            for _ in range(count):
                torch.mm(a, b, out=out)
            wait_for(device)

        rates.append(2 * rows * inner * columns * count / _shortest(work))
    return max(rates)


def benchmark_step(size: int, out: Path, *, device: str = "cpu", overwrite: bool = False) -> Table:
    """Time one step over all pixels of a ``size x size`` image on several code paths.

    Parameters
    ----------
    size : int
    out : Path
        Gets ``step.json``.
    device : str
    overwrite : bool
        Replace a finished result.

    Returns
    -------
    rich.table.Table
    """
    path = new_result(out, "step.json", overwrite)
    opened = open_device(device)
    settings = TrunkSettings()
    generator = torch.Generator().manual_seed(0)
    trunk = Trunk(settings, generator).to(opened)
    points = plane_coordinates((size, size), (1.0, 1.0), size / 2).to(opened)
    values = torch.rand(len(points), 1, generator=generator).to(opened)
    head = random_head(settings.width, 1, settings.omega, generator).to(opened)
    layers = Layers.of(trunk, head)
    sweep, optimiser = Sweep(layers), KfacOptimiser(layers, KfacSettings())
    optimiser.step(sweep.run(points, values, curvature=True), 0.0)

    def step() -> None:
        optimiser.step(sweep.run(points, values), 0.0)
        wait_for(opened)

    def reduced() -> None:
        with reduced_products():
            step()

    found = {"medinr, float32": (_shortest(step), peak_memory())}
    if has_fast_bfloat16(opened):
        found["medinr, bfloat16 products"] = (_shortest(reduced), peak_memory())
    published = PublishedRecipe(trunk, points, values)
    found["published recipe"] = (_shortest(published.step_as_published), peak_memory())

    # Measured last: its matrices are larger than a step's and would raise the peak memory.
    rate = matrix_rate(opened)
    operations = useful_operations(settings, len(points))
    table = Table(
        title=f"One step, {size} x {size}, {opened}, {torch.get_num_threads()} threads: "
        f"{operations / 1e9:.0f} GFLOP useful, float32 products at {rate / 1e9:.0f} GFLOP/s"
    )
    for column in ("code path", "seconds", "share of the product rate", "peak memory so far"):
        table.add_column(column, justify="left" if column == "code path" else "right")
    for name, (seconds, memory) in found.items():
        table.add_row(name, f"{seconds:.3f}", f"{operations / seconds / rate:.0%}", f"{memory / 2**20:.0f} MiB")
    facts = {
        "size": size,
        "threads": torch.get_num_threads(),
        "operations": operations,
        "product_rate": rate,
        "paths": {
            name: {"seconds": s, "share": operations / s / rate, "peak_bytes": m} for name, (s, m) in found.items()
        },
        "versions": versions(),
    }
    write_json(path, facts, overwrite=True)
    return table
