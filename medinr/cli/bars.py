"""Progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
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
    """Callbacks that update the bars of a training, each with the number done.

    Attributes
    ----------
    network, prior : callable
        Steps, with the PSNR per head and the gain in dB.
    follow_ups : callable
        Sessions of which synthetic follow-ups are made, with their number; the bar appears with the first.
    """

    network: Callable[[int, tuple[float, ...]], None]
    prior: Callable[[int, float], None]
    follow_ups: Callable[[int, int], None]


@contextmanager
def training_bars(console: Console, steps: int, prior_steps: int) -> Iterator[TrainingBars]:
    """Bars for the parts of a training."""
    with _bar(console) as bar:
        network = bar.add_task("network", total=steps, note="")
        prior = bar.add_task("denoisers", total=prior_steps, note="", visible=prior_steps > 0)
        follow_ups = bar.add_task("synthetic follow-ups", total=None, note="made from sessions", visible=False)
        smooth = [0.0, 0.0]

        def update_network(done: int, psnr: tuple[float, ...]) -> None:
            heads = " ".join(f"{value:.0f}" for value in psnr[:12]) + (" ..." if len(psnr) > 12 else "")
            bar.update(network, completed=done, note=f"mean {sum(psnr) / len(psnr):.1f} dB, heads {heads}")

        def update_prior(done: int, gain: float) -> None:
            smooth[:] = [0.98 * smooth[0] + 0.02 * gain, 0.98 * smooth[1] + 0.02]
            bar.update(prior, completed=done, note=f"{smooth[0] / smooth[1]:.1f} dB above the noisy image")

        def update_follow_ups(done: int, planned: int) -> None:
            bar.update(follow_ups, completed=done, total=planned, visible=True)

        yield TrainingBars(update_network, update_prior, update_follow_ups)


@contextmanager
def stage_bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar per stage of a job, which appears when the stage begins."""
    with _bar(console) as bar:
        tasks = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total, note="")
            bar.update(tasks[stage], completed=done, total=total)

        yield update


@contextmanager
def fit_bar(console: Console) -> Iterator[Callable[[int, Step], None]]:
    """A bar per slice, with the residual in units of the noise."""
    with _bar(console) as bar:
        tasks = {}

        def update(position: int, step: Step) -> None:
            if position not in tasks:
                tasks[position] = bar.add_task(f"slice {position}", total=step.planned, note="")
            bar.update(tasks[position], completed=step.step, note=f"residual {step.residual:.2f} x noise")

        yield update
