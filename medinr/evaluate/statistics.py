"""Means per patient, then over patients, and paired differences between methods.

Slices of one person are not independent, so the person is the unit: a metric is averaged over a patient's
slices first, and intervals are drawn over patients.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medinr.evaluate.scores import Score

#: Below this many patients a bootstrap interval says nothing, so none is given.
FEWEST_FOR_INTERVAL = 3

RESAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """A mean over patients with its 95 % interval, where there are enough patients for one."""

    mean: float
    low: float | None
    high: float | None
    patients: int


@dataclass(frozen=True)
class Difference:
    """Paired difference between two methods, first minus second, over the slices that both scored."""

    first: str
    second: str
    metric: str
    summary: Summary

    @property
    def better(self) -> bool:
        """Whether the first is above the second beyond what the choice of patients explains.

        With fewer than three patients there is no interval, and the sign of the mean decides.
        """
        bound = self.summary.mean if self.summary.low is None else self.summary.low
        return bound > 0


def patient_means(scores: Iterable[Score], metric: str) -> dict[str, float]:
    """Average a metric over each patient's slices; rows without a value are left out."""
    values: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        value = getattr(score, metric)
        if value is not None and not math.isnan(value):
            values[score.subject].append(float(value))
    return {subject: float(np.mean(found)) for subject, found in values.items()}


def summarise(per_patient: Mapping[str, float], seed: int = 0) -> Summary:
    """Average over patients, with a percentile bootstrap over patients (Efron 1979).

    Parameters
    ----------
    per_patient : mapping of str to float
        From `patient_means`.
    seed : int
        For the resampling.
    """
    values = np.array([per_patient[subject] for subject in sorted(per_patient)])
    if values.size == 0:
        return Summary(math.nan, None, None, 0)
    mean = float(values.mean())
    if values.size < FEWEST_FOR_INTERVAL or not np.isfinite(values).all():
        return Summary(mean, None, None, values.size)
    draws = np.random.default_rng(seed).integers(0, values.size, size=(RESAMPLES, values.size))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return Summary(mean, float(low), float(high), values.size)


def paired_difference(
    scores: Sequence[Score], first: str, second: str, metric: str = "psnr", seed: int = 0
) -> Difference:
    """Compare two methods on the slices that both scored, patient by patient.

    Parameters
    ----------
    scores : sequence of Score
        Of one task.
    first, second : str
        Methods.
    """
    of_first = {(s.subject, s.scan, s.slice): s for s in scores if s.method == first}
    of_second = {(s.subject, s.scan, s.slice): s for s in scores if s.method == second}
    shared = [key for key in of_first if key in of_second]
    mine = patient_means((of_first[key] for key in shared), metric)
    theirs = patient_means((of_second[key] for key in shared), metric)
    gaps = {subject: mine[subject] - theirs[subject] for subject in mine if subject in theirs}
    return Difference(first, second, metric, summarise(gaps, seed))
