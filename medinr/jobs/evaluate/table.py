"""One table per task for the terminal: task x method, with intervals over patients."""

from __future__ import annotations

import math

import pandas as pd
from rich.box import SIMPLE
from rich.table import Table

from medinr.jobs.evaluate.results import REGRET
from medinr.jobs.evaluate.sentences import (
    basis_sentence,
    comparison_sentence,
    corrected_slices,
    count,
    methods_of,
    noise_sentences,
    tasks_of,
)
from medinr.jobs.evaluate.statistics import Summary, patient_means, summarise, values_of
from medinr.metrics.image_quality import CORRECTED
from medinr.metrics.lesions import LESION_METRICS

__all__ = ["comparison_sentence", "comparison_table", "methods_of", "tasks_of"]

#: Metric, region, column title and decimals; short, so that a table fits 80 characters.
SHOWN = (
    ("psnr", "slice", "PSNR", 2),
    (CORRECTED, "slice", "PSNR\ncorr.", 2),
    ("ssim", "slice", "SSIM", 3),
    ("nrmse", "slice", "NRMSE", 3),
    ("psnr", "body", "PSNR\nbody", 2),
    ("ssim", "body", "SSIM\nbody", 3),
    (REGRET, "slice", "regret", 2),
    ("lesions_kept", "slice", "lesions\nkept", 2),
    ("lesions_kept_4px_10", "slice", "4 px\n10 %", 2),
    ("lesion_contrast", "slice", "their\ncontrast", 2),
    ("lesions_invented", "slice", "in-\nvented", 2),
    ("seconds", "", "s", 1),
    ("peak_memory_mb", "", "MiB", 0),
)

#: What is shown beside the lesions of tasks that have some.
LESION_TABLE = (("psnr", "slice"), ("ssim", "slice"), ("seconds", ""))


def comparison_table(table: pd.DataFrame, task: str) -> Table:
    """Make the table of one task: means per patient, then over patients, with 95 % intervals.

    Parameters
    ----------
    table : DataFrame
        `medinr.jobs.evaluate.results.Results.table`.
    task : str

    Returns
    -------
    rich.table.Table
        One row per method. Metrics without values have no column, nor has NRMSE beside the corrected PSNR; fewer than
        three patients have no interval.
    """
    chosen = table[table["task"] == task]
    patients, slices = chosen["subject"].nunique(), len(chosen[["scan", "slice"]].drop_duplicates())
    methods = methods_of(table, task)
    found = {
        (method, metric, region): summarise(patient_means(values_of(chosen, task, method, metric, region)))
        for method in methods
        for metric, region, _, _ in SHOWN
    }
    shown = [one for one in SHOWN if any(found[method, one[0], one[1]].patients for method in methods)]
    # Of one line of a terminal all would be too much.
    if any(metric in LESION_METRICS for metric, *_ in shown):
        shown = [one for one in shown if one[0] in LESION_METRICS or one[:2] in LESION_TABLE]
    elif any(metric == CORRECTED for metric, *_ in shown):
        shown = [one for one in shown if one[0] != "nrmse"]
    laid_out = Table(
        title=f"{task}: mean per patient, then over patients",
        caption=_caption(patients, slices, {metric for metric, *_ in shown}, corrected_slices(chosen))
        + "".join(f" {sentence}" for sentence in noise_sentences(table, task)),
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    laid_out.add_column("method", no_wrap=True)
    laid_out.add_column("n", justify="right")
    for metric, region, title, _ in shown:
        laid_out.add_column(title, justify="right", no_wrap=True)
        if (metric, region) == ("psnr", "slice"):
            laid_out.add_column("95 %", justify="right", no_wrap=True)
    for method in methods:
        row = [str(found[method, "psnr", "slice"].patients)]
        for metric, region, _, decimals in shown:
            summary = found[method, metric, region]
            row.append("-" if math.isnan(summary.mean) else f"{summary.mean:.{decimals}f}")
            if (metric, region) == ("psnr", "slice"):
                row.append(_interval(summary))
        laid_out.add_row(method, *row)
    return laid_out


def _caption(patients: int, slices: int, metrics: set[str], corrected: int) -> str:
    lesions = not metrics.isdisjoint(LESION_METRICS)
    part = "" if corrected == slices else f" ({corrected} of {count(slices, 'slice')}, where that is known)"
    parts = [
        f"{count(patients, 'patient')}, {count(slices, 'slice')}. n: patients",
        "PSNR in dB with its 95 % interval over patients",
        *([f"corr.: the reference's own noise taken off{part}"] if CORRECTED in metrics else []),
        "body: inside the body mask",
        *(["regret: dB of the best intermediate image above the result"] if REGRET in metrics else []),
        *(["shares of inserted lesions kept, and of empty places where one was invented"] if lesions else []),
        "s: wall seconds per slice",
        "MiB: peak memory.",
    ]
    return f"{'; '.join(parts)} {basis_sentence(patients)}".rstrip()


def _interval(summary: Summary) -> str:
    if summary.low is None or summary.high is None:
        return "-"
    return f"{summary.low:.1f} to {summary.high:.1f}"
