"""Progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

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


class TrainingBars(NamedTuple):
    """What moves the bars of a training, each with the number done.

    Attributes
    ----------
    trunk, prior : callable
        Steps, with the PSNR per head and the gain in dB.
    exams : callable
        Sessions of which exams are made up, with how many there are; the bar shows once there is one.
    """

    trunk: Callable[[int, tuple[float, ...]], None]
    prior: Callable[[int, float], None]
    exams: Callable[[int, int], None]


@contextmanager
def training_bars(console: Console, steps: int, prior_steps: int) -> Iterator[TrainingBars]:
    """Bars over the parts of a training."""
    with _bar(console) as bar:
        trunk = bar.add_task("trunk", total=steps, note="")
        prior = bar.add_task("local prior", total=prior_steps, note="", visible=prior_steps > 0)
        exams = bar.add_task("earlier exams", total=None, note="made up from sessions", visible=False)
        smooth = [0.0, 0.0]

        def update_trunk(done: int, psnr: tuple[float, ...]) -> None:
            heads = " ".join(f"{value:.0f}" for value in psnr[:12]) + (" ..." if len(psnr) > 12 else "")
            bar.update(trunk, completed=done, note=f"mean {sum(psnr) / len(psnr):.1f} dB, heads {heads}")

        def update_prior(done: int, gain: float) -> None:
            smooth[:] = [0.98 * smooth[0] + 0.02 * gain, 0.98 * smooth[1] + 0.02]
            bar.update(prior, completed=done, note=f"{smooth[0] / smooth[1]:.1f} dB above doing nothing")

        def update_exams(done: int, planned: int) -> None:
            bar.update(exams, completed=done, total=planned, visible=True)

        yield TrainingBars(update_trunk, update_prior, update_exams)


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
