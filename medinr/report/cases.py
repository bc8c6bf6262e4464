"""The slices shown on a page: which ones, and the facts of each that the viewer needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medinr.figures.comparison import CT_WINDOWS
from medinr.jobs.evaluate.results import Case, Results
from medinr.report.pictures import (
    REFERENCE,
    UNCERTAINTY,
    Budget,
    Image,
    choose_levels,
    encode_case,
    first_window,
)

#: Cases whose pictures are encoded to estimate the size of all.
_SAMPLES = 4


@dataclass(frozen=True)
class ShownCase:
    """A slice on the page.

    Attributes
    ----------
    case : Case
    facts : dict
        What the viewer's script reads.
    pictures : tuple of str
        Base64, in the order of ``facts["images"]`` and then ``facts["uncertainties"]``.
    words : str
        Name of the slice, for readers.
    """

    case: Case
    facts: dict[str, Any]
    pictures: tuple[str, ...]
    words: str


def shown_cases(
    results: Results,
    methods: Sequence[str],
    scores: Mapping[tuple[str, str, int], Mapping[str, Mapping[str, float]]],
    budget: Budget,
) -> tuple[list[ShownCase], int, int]:
    """Encode the pictures of as many slices as the budget allows, with as many grey levels as it allows.

    Returns
    -------
    shown : list of ShownCase
        In order of task, scan and slice.
    levels : int
        Of grey.
    missing : int
        Slices left out.
    """
    cases = results.cases()
    if not cases:
        return [], 0, 0
    positions = sorted({round(k) for k in np.linspace(0, len(cases) - 1, _SAMPLES)})
    samples = [results.images(cases[k]) for k in positions]
    levels, count = choose_levels(samples, len(cases), budget)
    chosen = _middle_first(cases)[:count]
    chosen.sort(key=lambda case: (list(results.facts["tasks"]).index(case.task), case.scan, case.slice))
    shown = [_shown(case, results.images(case), methods, scores, levels) for case in chosen]
    return shown, levels, len(cases) - count


def case_words(case: Case) -> str:
    """Name of a slice, for readers: patient, session, contrast, slice."""
    return f"{case_patient(case)}, slice {case.slice}"


def case_patient(case: Case) -> str:
    """Name of a scan, for readers."""
    return ", ".join(part for part in (case.subject, case.session, case.contrast or case.modality) if part)


def _middle_first(cases: Sequence[Case]) -> list[Case]:
    """Order slices so that the first n hold every scan about equally, its middle slices first, for any n."""
    scans: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in cases:
        scans[case.task, case.scan].append(case)
    ranked = []
    for found in scans.values():
        found.sort(key=lambda case: case.slice)
        middle = (len(found) - 1) / 2
        order = sorted(range(len(found)), key=lambda k: abs(k - middle))
        ranked += [(rank, found[k]) for rank, k in enumerate(order)]
    ranked.sort(key=lambda pair: (pair[0], pair[1].case))
    return [case for _, case in ranked]


def _shown(
    case: Case,
    images: Mapping[str, Image],
    methods: Sequence[str],
    scores: Mapping[tuple[str, str, int], Mapping[str, Mapping[str, float]]],
    levels: int,
) -> ShownCase:
    scale, uncertainty, texts = encode_case(images, levels)
    known = [name for name in methods if name in texts]
    known += [name for name in texts if name not in (REFERENCE, *known) and not name.startswith(UNCERTAINTY)]
    names = [REFERENCE, *known]
    uncertainties = [name for name in texts if name.startswith(UNCERTAINTY)]
    window = first_window(images[REFERENCE], case.metric_modality)
    if case.metric_modality == "CT":
        presets = [[name, *ends] for name, ends in CT_WINDOWS.items()]
    else:
        presets = [["default", window.low, window.high], ["whole range", scale.low, scale.high]]
    non_finite = {name: int(np.size(images[name]) - np.isfinite(images[name]).sum()) for name in names}
    facts = {
        "task": case.task,
        "scan": case.scan,
        "patient": case_patient(case),
        "slice": case.slice,
        "series": case.series_description,
        "shape": list(images[REFERENCE].shape),
        "spacing": list(case.spacing),
        "unit": case.unit,
        "modality": case.modality,
        "scale": [scale.low, scale.high, scale.levels],
        "uncertainty": None if uncertainty is None else [uncertainty.low, uncertainty.high, uncertainty.levels],
        "window": [window.low, window.high],
        "error": window.error,
        "presets": presets,
        "images": names,
        "uncertainties": [name.removeprefix(UNCERTAINTY) for name in uncertainties],
        "non_finite": {name: count for name, count in non_finite.items() if count},
        "scores": _finite_only(scores.get((case.task, case.scan, case.slice), {})),
    }
    return ShownCase(case, facts, tuple(texts[name] for name in names + uncertainties), case_words(case))


def _finite_only(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Drop NaN and infinity, which JSON does not have."""
    return {
        name: {what: round(value, 6) for what, value in found.items() if np.isfinite(value)}
        for name, found in scores.items()
    }
