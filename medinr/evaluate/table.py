"""The comparison in words: one table per task, and a plain sentence on whether medinr is better."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from medinr.evaluate.scores import Score, ScoreLog
from medinr.evaluate.statistics import Summary, paired_difference, patient_means, summarise

__all__ = ["Score", "ScoreLog", "comparison_sentence", "comparison_table", "methods_of", "tasks_of"]

#: Column title and number of decimals of each metric; short, so that a table fits 80 characters.
METRICS = {
    "psnr": ("PSNR", 2),
    "ssim": ("SSIM", 3),
    "nrmse": ("NRMSE", 3),
    "hfen": ("HFEN", 3),
    "psnr_body": ("PSNR\nbody", 2),
    "ssim_body": ("SSIM\nbody", 3),
    "seconds": ("s", 1),
    "peak_mb": ("MiB", 0),
}

#: Differences that would be printed as 0.0 dB are called level.
LEVEL_DB = 0.05


def tasks_of(scores: Sequence[Score]) -> tuple[str, ...]:
    """Tasks, in the order they were first scored."""
    return tuple(dict.fromkeys(score.task for score in scores))


def methods_of(scores: Sequence[Score], task: str) -> tuple[str, ...]:
    """Methods of a task, in the order they were first scored."""
    return tuple(dict.fromkeys(score.method for score in scores if score.task == task))


def comparison_table(scores: Sequence[Score], task: str) -> Table:
    """Lay out task x method: means per patient, then over patients, with 95 % intervals.

    Parameters
    ----------
    scores : sequence of Score
    task : str

    Returns
    -------
    rich.table.Table
        One row per method; metrics that nobody recorded have no column, and with fewer than three patients
        there is no interval.
    """
    chosen = [score for score in scores if score.task == task]
    shown = [metric for metric in METRICS if patient_means(chosen, metric)]
    slices = len({(score.scan, score.slice) for score in chosen})
    patients = len({score.subject for score in chosen})
    table = Table(
        title=f"{task}: mean per patient, then over patients",
        caption=f"{_count(patients, 'patient')}, {_count(slices, 'slice')}. n: patients; PSNR in dB with its 95 % "
        "interval over patients; body: inside the body mask; s: wall seconds per slice.",
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("method", no_wrap=True)
    table.add_column("n", justify="right")
    for metric in shown:
        table.add_column(METRICS[metric][0], justify="right", no_wrap=True)
        if metric == "psnr":
            table.add_column("95 %", justify="right", no_wrap=True)
    for method in methods_of(chosen, task):
        rows = [score for score in chosen if score.method == method]
        cells = [str(len({row.subject for row in rows}))]
        for metric in shown:
            summary = summarise(patient_means(rows, metric))
            cells.append("-" if math.isnan(summary.mean) else f"{summary.mean:.{METRICS[metric][1]}f}")
            if metric == "psnr":
                cells.append(_interval(summary))
        table.add_row(method, *cells)
    return table


def comparison_sentence(scores: Sequence[Score], task: str, method: str = "medinr") -> str:
    """Say in words how one method stands against every other one, by paired per-patient PSNR.

    Examples of what it says: ``medinr is 0.8 dB above TV (2 patients)``; ``medinr is not better than TV here
    (0.1 dB below, 2 patients)``. With three patients or more, better means that the 95 % interval of the
    paired difference lies above zero.
    """
    chosen = [score for score in scores if score.task == task]
    peers = [name for name in methods_of(chosen, task) if name != method]
    if method not in methods_of(chosen, task) or not peers:
        return f"{task}: nothing to compare {method} with."
    return f"{task}: " + "; ".join(_against(chosen, method, peer) for peer in peers) + "."


def _against(scores: Sequence[Score], method: str, peer: str) -> str:
    difference = paired_difference(scores, method, peer)
    found = difference.summary
    if found.patients == 0:
        return f"{method} and {peer} have no slice in common"
    if math.isnan(found.mean):
        return f"{method} and {peer} cannot be told apart: both fit some slice exactly"
    basis = _count(found.patients, "patient")
    if found.low is not None and found.high is not None:
        basis += f", 95 % interval {found.low:+.1f} to {found.high:+.1f} dB"
    if abs(found.mean) < LEVEL_DB:
        return f"{method} is level with {peer}, not better ({found.mean:+.2f} dB, {basis})"
    if difference.better:
        return f"{method} is {found.mean:.1f} dB above {peer} ({basis})"
    side = "above, within chance" if found.mean > 0 else "below"
    return f"{method} is not better than {peer} here ({abs(found.mean):.1f} dB {side}, {basis})"


def _interval(summary: Summary) -> str:
    if summary.low is None or summary.high is None:
        return "-"
    return f"{summary.low:.1f} to {summary.high:.1f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
