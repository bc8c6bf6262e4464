"""Numbers of a page: means over patients with their intervals, per task and method, and sentences about them.

A metric is averaged over a patient's slices and seeds first, because those are not independent; intervals are over
patients (`medinr.jobs.evaluate.statistics`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from medinr.jobs.evaluate.results import EXPECTED_RESIDUAL, REGRET, RESIDUAL
from medinr.jobs.evaluate.sentences import comparison_words, corrected_slices
from medinr.jobs.evaluate.statistics import Difference, Summary, compare, patient_means, summarise, values_of
from medinr.metrics.image_quality import CORRECTED, METRICS
from medinr.metrics.lesions import LESION_METRICS

#: Metric, region, title and decimals of the columns; `METRICS` has the unit and whether higher is better.
SHOWN = (
    ("psnr", "slice", "PSNR", 2),
    (CORRECTED, "slice", "PSNR corrected", 2),
    ("ssim", "slice", "SSIM", 3),
    ("nrmse", "slice", "NRMSE", 3),
    ("hfen", "slice", "HFEN", 3),
    ("gmsd", "slice", "GMSD", 3),
    ("psnr", "body", "PSNR body", 2),
    (CORRECTED, "body", "PSNR corrected, body", 2),
    ("ssim", "body", "SSIM body", 3),
    (REGRET, "slice", "regret, dB", 2),
    (RESIDUAL, "slice", "residual over noise", 2),
    (EXPECTED_RESIDUAL, "slice", "residual by degrees of freedom", 2),
    ("lesions_kept", "slice", "lesions kept", 2),
    ("lesions_kept_4px_10", "slice", "lesions of 4 pixels and 10 % kept", 2),
    ("lesion_contrast", "slice", "contrast of lesions kept", 2),
    ("lesions_invented", "slice", "lesions invented", 2),
    ("seconds", "", "time, s", 2),
    ("peak_memory_mb", "", "memory, MiB", 0),
)

#: The method whose differences from all others are given.
OURS = "medinr"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class PatientMean:
    """PSNR in dB (slice) and wall seconds of a method, averaged over a patient's slices."""

    task: str
    subject: str
    method: str
    psnr: float
    seconds: float


@dataclass(frozen=True)
class Column:
    """A column of the summary: its title, and whether higher or lower is better."""

    title: str
    note: str


@dataclass(frozen=True)
class Entry:
    """A number as text, its interval as text (empty without one), and whether it is the best of its column."""

    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class SummaryTable:
    """One task: a row per method."""

    task: str
    patients: int
    slices: int
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]


def series_of(methods: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Give each method a marker: the same in every task, and no marker twice in one task.

    Parameters
    ----------
    methods : mapping of str to iterable of str
        Methods of each task.

    Examples
    --------
    >>> series_of({"ct": ["FBP", "TV"], "kspace": ["zero-filled", "TV"]})
    {'TV': 0, 'FBP': 1, 'zero-filled': 1}
    """
    together: dict[str, set[str]] = defaultdict(set)
    for found in methods.values():
        names = list(found)
        for name in names:
            together[name] |= {other for other in names if other != name}
    counts = {name: sum(name in set(found) for found in methods.values()) for name in together}
    taken: dict[str, int] = {}
    for name in sorted(together, key=lambda name: -counts[name]):
        used = {taken[other] for other in together[name] if other in taken}
        taken[name] = next(k for k in range(len(together) + 1) if k not in used)
    return taken


def records_of(table: pd.DataFrame) -> list[Record]:
    """Rows of a table as mappings."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def patient_points(records: Sequence[Record]) -> list[PatientMean]:
    """Average PSNR and seconds of every task, patient and method."""
    psnr: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    seconds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        if record["metric"] == "psnr" and record["region"] == "slice":
            key = (record["task"], record["subject"], record["method"])
            psnr[key].append(float(record["value"]))
            seconds[key].append(float(record["seconds"]))
    return [PatientMean(*key, _mean(psnr[key]), _mean(seconds[key])) for key in psnr]


def summary_table(table: pd.DataFrame, task: str, methods: Sequence[str]) -> SummaryTable:
    """Lay out a task: a row per method; a column per metric and region that has values, then time and memory."""
    columns, entries = [], []
    chosen = table[table["task"] == task]
    slices = len(chosen[["scan", "slice"]].drop_duplicates())
    for metric, region, title, decimals in SHOWN:
        found = {name: summarise(patient_means(values_of(chosen, task, name, metric, region))) for name in methods}
        if not any(summary.patients for summary in found.values()):
            continue
        unit, higher = (METRICS | LESION_METRICS).get(metric, ("", False))
        note = f"{'higher' if higher else 'lower'} is better"
        if metric == CORRECTED:
            known = corrected_slices(chosen)
            note = "the reference's own noise taken off" + ("" if known == slices else f", {known} of {slices} slices")
        columns.append(Column(f"{title}, {unit}" if unit else title, note))
        # Methods are not compared by the corrected PSNR, which is too high for those that keep noise.
        entries.append(_entries(found, decimals, higher, metric in METRICS and metric != CORRECTED))
    return SummaryTable(
        task,
        int(chosen["subject"].nunique()),
        slices,
        tuple(columns),
        tuple((name, tuple(column[name] for column in entries)) for name in methods),
    )


def differences(table: pd.DataFrame, task: str, methods: Sequence[str]) -> list[tuple[str, Difference]]:
    """Compare medinr with every other method: a sentence and its numbers."""
    baselines = [name for name in methods if name != OURS]
    if OURS not in methods or not baselines:
        return []
    return [(comparison_words(found), found) for found in compare(table[table["task"] == task], task, OURS, baselines)]


def slice_scores(records: Sequence[Record]) -> dict[tuple[str, str, int], dict[str, dict[str, float]]]:
    """Gather the numbers of each slice: by task, scan and slice, then method, then metric (whole slice) and seconds."""
    found: dict[tuple[str, str, int], dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for record in records:
        if record["region"] == "slice":
            method = found[record["task"], record["scan"], int(record["slice"])][record["method"]]
            method[record["metric"]].append(float(record["value"]))
            if record["metric"] == "psnr":
                method["seconds"].append(float(record["seconds"]))
    return {
        key: {name: {what: _mean(values) for what, values in kinds.items()} for name, kinds in methods.items()}
        for key, methods in found.items()
    }


def _entries(found: Mapping[str, Summary], decimals: int, higher: bool, ranked: bool) -> dict[str, Entry]:
    means = [summary.mean for summary in found.values() if not math.isnan(summary.mean)]
    best = (max if higher else min)(means, default=math.nan) if ranked else math.nan
    entries = {}
    for name, summary in found.items():
        if math.isnan(summary.mean):
            entries[name] = Entry("-")
            continue
        interval = ""
        if summary.low is not None and summary.high is not None:
            interval = f"{_text(summary.low, decimals)} to {_text(summary.high, decimals)}"
        entries[name] = Entry(_text(summary.mean, decimals), interval, summary.mean == best)
    return entries


def _text(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
