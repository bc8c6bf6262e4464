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
def training_bars(
    console: Console, steps: int, prior_steps: int
) -> Iterator[tuple[Callable[[int, tuple[float, ...]], None], Callable[[int, float], None]]]:
    """Bars over the steps of trunk and local prior, with the PSNR per head and the gain in dB."""
    with _bar(console) as bar:
        trunk = bar.add_task("trunk", total=steps, note="")
        prior = bar.add_task("local prior", total=prior_steps, note="", visible=prior_steps > 0)
        smooth = [0.0, 0.0]

        def update_trunk(done: int, psnr: tuple[float, ...]) -> None:
            heads = " ".join(f"{value:.0f}" for value in psnr[:12]) + (" ..." if len(psnr) > 12 else "")
            bar.update(trunk, completed=done, note=f"mean {sum(psnr) / len(psnr):.1f} dB, heads {heads}")

        def update_prior(done: int, gain: float) -> None:
            smooth[:] = [0.98 * smooth[0] + 0.02 * gain, 0.98 * smooth[1] + 0.02]
            bar.update(prior, completed=done, note=f"{smooth[0] / smooth[1]:.1f} dB above doing nothing")

        yield update_trunk, update_prior


@contextmanager
def fit_bar(console: Console) -> Iterator[Callable[[int, Step], None]]:
    """Bar per slice, with the residual in units of the noise."""
    with _bar(console) as bar:
        tasks = {}

        def update(position: int, step: Step) -> None:
            if position not in tasks:
                tasks[position] = bar.add_task(f"slice {position}", total=step.planned, note="")
            bar.update(tasks[position], completed=step.step, note=f"residual {step.residual:.2f} x noise")

        yield update
