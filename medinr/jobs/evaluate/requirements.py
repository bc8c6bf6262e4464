"""Claims about results that an evaluation checks: ``psnr[kspace_mr_single_4x] >= tv + 1.0``.

::

    claim  = metric ["." region] "[" task ["," method] "]" op side
    op     = ">=" | "<=" | ">" | "<"
    side   = number | method [("+" | "-") number]

The method on the left is medinr unless another is named; the case of letters does not matter. Two methods are compared
by the mean over patients of their paired differences. A number is compared with the mean over patients. A claim is
about the mean as measured; its interval tells how far that holds for other patients.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import pandas as pd

from medinr.errors import ConfigError
from medinr.jobs.evaluate.results import EXPECTED_RESIDUAL, REGIONS, REGRET, RESIDUAL
from medinr.jobs.evaluate.statistics import COSTS, Summary, paired_difference, patient_means, summarise, values_of
from medinr.metrics.image_quality import METRICS
from medinr.metrics.lesions import LESION_METRICS

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_GRAMMAR = re.compile(
    rf"\s*(?P<metric>[A-Za-z_]+)(?:\.(?P<region>[a-z]+))?\s*"
    rf"\[\s*(?P<task>{_NAME})\s*(?:,\s*(?P<method>{_NAME})\s*)?\]\s*(?P<op>>=|<=|>|<)\s*"
    rf"(?:(?P<number>{_NUMBER})|(?P<baseline>{_NAME})(?:\s+(?P<sign>[+-])\s*(?P<offset>\d+\.?\d*|\.\d+))?)\s*"
)
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Requirement:
    """A parsed claim.

    Attributes
    ----------
    text : str
        As it was written.
    metric, region, task, method, op : str
    baseline : str
        Empty when the right side is a number.
    offset : float
        The number, or what is added to the baseline.
    """

    text: str
    metric: str
    region: str
    task: str
    method: str
    op: str
    baseline: str
    offset: float


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds, with the numbers, in words."""

    requirement: Requirement
    held: bool
    words: str


def parse_requirement(text: str, methods: Mapping[str, Collection[str]]) -> Requirement:
    """Read a claim and check that its names are among what is evaluated.

    Parameters
    ----------
    text : str
    methods : mapping of str to collection of str
        Methods of each task.

    Raises
    ------
    ConfigError
        When it cannot be read, or names what is not evaluated.

    Examples
    --------
    >>> found = parse_requirement("psnr[ct] >= tv + 1.0", {"ct": ["TV", "medinr"]})
    >>> found.method, found.op, found.baseline, found.offset
    ('medinr', '>=', 'TV', 1.0)
    """
    found = _GRAMMAR.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"--require {text!r} is not like 'psnr[TASK] >= tv + 1.0' or 'ssim.body[TASK, METHOD] > 0.9'."
        )
    metric, region, task = found["metric"].lower(), found["region"] or "slice", found["task"]
    known_metrics = [*METRICS, REGRET, RESIDUAL, EXPECTED_RESIDUAL, *LESION_METRICS, *COSTS]
    if metric not in known_metrics:
        raise ConfigError(f"--require {text!r}: {metric!r} is not one of {', '.join(known_metrics)}.")
    if region not in REGIONS:
        raise ConfigError(f"--require {text!r}: region {region!r} is not one of {', '.join(REGIONS)}.")
    if task not in methods:
        raise ConfigError(f"--require {text!r}: task {task!r} is not evaluated here; {', '.join(methods)} is.")
    known = {name.casefold(): name for name in methods[task]}
    for name in (found["method"] or "medinr", found["baseline"]):
        if name is not None and name.casefold() not in known:
            raise ConfigError(
                f"--require {text!r}: {task} is not evaluated with {name!r}, but with {', '.join(methods[task])}."
            )
    if found["baseline"] is None:
        baseline, offset = "", float(found["number"])
    else:
        baseline = known[found["baseline"].casefold()]
        offset = float(found["offset"] or 0) * (-1 if found["sign"] == "-" else 1)
    method = known[(found["method"] or "medinr").casefold()]
    return Requirement(text.strip(), metric, region, task, method, found["op"], baseline, offset)


def judge(requirement: Requirement, table: pd.DataFrame) -> Verdict:
    """Check a claim; without numbers it does not hold.

    Parameters
    ----------
    requirement : Requirement
    table : DataFrame
        `medinr.jobs.evaluate.results.Results.table`.
    """
    r = requirement
    own = summarise(patient_means(values_of(table, r.task, r.method, r.metric, r.region)))
    if not r.baseline:
        held = _OPERATORS[r.op](own.mean, r.offset)  # false for NaN
        return Verdict(r, held, f"{r.text}: {_verb(held)}, {r.method} has {_numbers(own)}")
    found = paired_difference(table, r.task, r.method, r.baseline, r.metric, r.region).summary
    held = not math.isnan(found.mean) and _OPERATORS[r.op](found.mean, r.offset)
    baseline = summarise(patient_means(values_of(table, r.task, r.baseline, r.metric, r.region)))
    both = f"{r.method} has {own.mean:.4g}, {r.baseline} {baseline.mean:.4g}"
    return Verdict(
        r,
        held,
        f"{r.text}: {_verb(held)}, {both}, difference {_numbers(found)}",
    )


def _verb(held: bool) -> str:
    return "holds" if held else "falls short"


def _numbers(found: Summary) -> str:
    people = f"{found.patients} patient{'' if found.patients == 1 else 's'}"
    if found.low is None or found.high is None:
        return f"{found.mean:.4g} ({people})"
    return f"{found.mean:.4g} (95 % {found.low:.4g} to {found.high:.4g}, {people})"
