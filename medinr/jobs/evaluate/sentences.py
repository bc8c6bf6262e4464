"""Sentences that state whether one method is better than others, from paired differences and their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from medinr.jobs.evaluate.results import REGRET, Case
from medinr.jobs.evaluate.statistics import (
    FEWEST_FOR_INTERVAL,
    Difference,
    compare,
    patient_means,
    summarise,
    values_of,
)
from medinr.metrics.image_quality import CORRECTED

#: Intervals within this are printed as 0.0 dB; such methods are called level.
LEVEL_DB = 0.05

#: How sentences about the references' noise begin.
NOISE_NOTE = "Noise of the references: "


def tasks_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Tasks of a table, in its order."""
    return tuple(str(task) for task in table["task"].unique())


def methods_of(table: pd.DataFrame, task: str) -> tuple[str, ...]:
    """Methods of a task in alphabetical order, medinr last."""
    found = sorted({str(method) for method in table.loc[table["task"] == task, "method"]}, key=str.casefold)
    return tuple(sorted(found, key=lambda name: name == "medinr"))


def comparison_sentence(table: pd.DataFrame, task: str, method: str = "medinr", region: str = "slice") -> str:
    """Compare one method with every other one, by paired per-patient PSNR.

    There are three statements about a baseline. ``medinr is 1.2 dB above TV (95 % 0.9 to 1.5, 7 patients)``: the
    interval lies above zero. ``medinr is not better than BM3D here: 0.3 dB below (...)``: it lies below, or close
    around zero. ``the difference to TGV is not decided by these 2 patients (+0.4 dB)``: neither.

    Parameters
    ----------
    table : DataFrame
        `medinr.jobs.evaluate.results.Results.table`.
    task, method : str
    region : {"slice", "body"}
    """
    methods = methods_of(table, task)
    baselines = [name for name in methods if name != method]
    if method not in methods or not baselines:
        return f"{task}: nothing to compare {method} with."
    where = "" if region == "slice" else " inside the body"
    found = compare(table, task, method, baselines, region=region)
    return f"{task}{where}: " + "; ".join(comparison_words(difference) for difference in found) + "."


def comparison_words(difference: Difference) -> str:
    """One comparison of `comparison_sentence`."""
    method, baseline, found = difference.first, difference.second, difference.summary
    if found.patients == 0:
        return f"{method} and {baseline} have no slice in common"
    people = count(found.patients, "patient")
    if not math.isfinite(found.mean):
        return f"{method} and {baseline} cannot be told apart by PSNR: one of them is exact on some slice ({people})"
    if found.low is None or found.high is None:
        these = "this 1 patient" if found.patients == 1 else f"these {people}"
        return f"the difference to {baseline} is not decided by {these} ({found.mean:+.1f} dB)"
    interval = f"95 % {found.low:.1f} to {found.high:.1f}"
    basis = f"{interval}, {people}"
    if max(abs(found.low), abs(found.high)) < LEVEL_DB:
        return f"{method} is not better than {baseline} here: level ({basis})"
    if found.low > 0:
        return f"{method} is {found.mean:.1f} dB above {baseline} ({basis})"
    if found.high < 0:
        return f"{method} is not better than {baseline} here: {-found.mean:.1f} dB below ({basis})"
    return f"the difference to {baseline} is not decided by these {people} ({found.mean:+.1f} dB, {interval})"


def basis_sentence(patients: int) -> str:
    """Note on the number of patients, where it is too small for intervals; otherwise empty."""
    if patients >= FEWEST_FOR_INTERVAL:
        return ""
    people = count(patients, "patient")
    return f"With {people} no difference is decided; {FEWEST_FOR_INTERVAL} are the fewest for an interval."


def regret_sentence(table: pd.DataFrame, method: str = "medinr") -> str:
    """Summarise the stopping regret of a method over all tasks; empty where it was not recorded.

    Parameters
    ----------
    table : DataFrame
        `medinr.jobs.evaluate.results.Results.table`.
    method : str
    """
    found = table.loc[(table["method"] == method) & (table["metric"] == REGRET), "value"]
    if found.empty:
        return ""
    middle, high = found.quantile([0.5, 0.95])
    basis = count(len(found), "reconstruction")
    return (
        f"Stopping regret of {method}, PSNR of the best intermediate image above the result, over {basis}: "
        f"median {middle:.2f} dB, 95th percentile {high:.2f} dB, at most {found.max():.2f} dB."
    )


def corrected_slices(chosen: pd.DataFrame) -> int:
    """Number of slices of a table of one task with a PSNR without the reference's noise."""
    return len(chosen.loc[chosen["metric"] == CORRECTED, ["scan", "slice"]].drop_duplicates())


def noise_sentences(table: pd.DataFrame, task: str) -> list[str]:
    """Say for which contrasts of a task the reference limits what can be seen.

    There is a sentence where the variance of the reference's own noise is more than half of the squared error (whole
    slice, mean over slices, then patients) of the method with the highest PSNR.

    Parameters
    ----------
    table : DataFrame
        `medinr.jobs.evaluate.results.Results.table`.
    task : str
    """
    chosen = table[(table["task"] == task) & (table["region"] == "slice")]
    found = []
    for contrast, own in chosen.groupby("contrast", sort=True):
        known = {method: one for method in methods_of(own, task) if not (one := _both_psnr(own, task, method)).empty}
        if not known:
            continue
        best = max(known, key=lambda method: summarise(patient_means(known[method]["psnr"])).mean)
        share = summarise(patient_means(1 - 10 ** ((known[best]["psnr"] - known[best][CORRECTED]) / 10)))
        if share.mean > 0.5:
            where = ", ".join(filter(None, (task, str(contrast))))
            basis = f"{100 * share.mean:.0f} %, {count(share.patients, 'patient')}"
            found.append(
                f"{NOISE_NOTE}in {where}, the variance is more than half ({basis}) of the squared error of the method "
                f"with the highest PSNR ({best})."
            )
    return found


def _both_psnr(table: pd.DataFrame, task: str, method: str) -> pd.DataFrame:
    """PSNR and corrected PSNR of the slices that have both."""
    return pd.DataFrame({metric: values_of(table, task, method, metric) for metric in ("psnr", CORRECTED)}).dropna()


def uncorrected_sentences(cases: Iterable[Case]) -> list[str]:
    """Say of which scans no noise is taken off though they are references, and why."""
    scans: dict[str, dict[str, None]] = {}
    for case in cases:
        if case.uncorrected:
            scans.setdefault(case.uncorrected, {})[case.scan] = None
    return [f"{NOISE_NOTE}none is taken off for {', '.join(names)}: {why}." for why, names in scans.items()]


def count(number: int, noun: str) -> str:
    """``1 patient``, ``2 patients``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
