"""Progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from medinr.solve.solution import Step


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=console)


@contextmanager
def pretrain_bar(console: Console, steps: int) -> Iterator[Callable[[int, tuple[float, ...]], None]]:
    """Bar over training steps, with the worst, mean and best head."""
    with _bar(console) as bar:
        task = bar.add_task("pretraining", total=steps, note="")

        def update(done: int, psnr: tuple[float, ...]) -> None:
            heads = " ".join(f"{value:.0f}" for value in psnr[:12]) + (" ..." if len(psnr) > 12 else "")
            bar.update(task, completed=done, note=f"mean {sum(psnr) / len(psnr):.1f} dB, heads {heads}")

        yield update


@contextmanager
def fit_bar(console: Console, steps: int) -> Iterator[Callable[[int, Step], None]]:
    """Bar per slice, with the residual in units of the noise."""
    with _bar(console) as bar:
        tasks = {}

        def update(position: int, step: Step) -> None:
            if position not in tasks:
                tasks[position] = bar.add_task(f"slice {position}", total=steps, note="")
            bar.update(tasks[position], completed=step.step, note=f"residual {step.residual:.2f} x noise")

        yield update
