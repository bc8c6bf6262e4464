"""Progress of an evaluation: a live table in a terminal, otherwise a line per result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from medinr.jobs.evaluate.run import Status


@contextmanager
def evaluation_progress(console: Console) -> Iterator[Callable[[Status], None]]:
    """Yield a callback for every `medinr.jobs.evaluate.run.Status`."""
    if not console.is_terminal:
        yield lambda status: _line(console, status)
        return
    started = time.monotonic()
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda status: live.update(_table(status, time.monotonic() - started))


def _line(console: Console, status: Status) -> None:
    if status.last is None or not status.last.fresh:
        return
    done, planned = status.done.total(), status.planned.total()
    job = status.last.job
    found = f"{status.last.psnr:.2f} dB in {status.last.seconds:.1f} s"
    if math.isnan(status.last.psnr):
        found = "left out"
    console.print(f"{done}/{planned}  {job.case.replace('__', '  ')}  {job.method}: {found}", highlight=False)


def _table(status: Status, seconds: float) -> Table:
    done, planned = status.done.total(), status.planned.total()
    left = f", about {seconds / done * (planned - done):.0f} s left" if done else ""
    table = Table(title=f"{done} of {planned} reconstructions, {seconds:.0f} s{left}", box=SIMPLE, pad_edge=False)
    tasks = list(dict.fromkeys(task for task, _ in status.planned))
    methods = list(dict.fromkeys(method for _, method in status.planned))
    table.add_column("task", no_wrap=True)
    for method in methods:
        table.add_column(method, justify="right")
    for task in tasks:
        counts = [(status.done[task, method], status.planned[task, method]) for method in methods]
        table.add_row(task, *[f"{some}/{every}" if every else "" for some, every in counts])
    return table
