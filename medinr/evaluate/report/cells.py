"""The slices a page shows: which ones, and what the viewer has to know of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medinr.evaluate.figures import CT_WINDOWS
from medinr.evaluate.report.pictures import (
    REFERENCE,
    UNCERTAINTY,
    Budget,
    Image,
    choose_levels,
    encode_cell,
    first_window,
)
from medinr.evaluate.results import Cell, Results

#: Cells whose pictures are coded to learn what they take.
_SAMPLES = 4


@dataclass(frozen=True)
class ShownCell:
    """A slice on the page.

    Attributes
    ----------
    cell : Cell
    facts : dict
        What the viewer's script reads.
    pictures : tuple of str
        Base64, in the order of ``facts["images"]`` and then ``facts["doubts"]``.
    words : str
        What a reader calls the slice.
    """

    cell: Cell
    facts: dict[str, Any]
    pictures: tuple[str, ...]
    words: str


def shown_cells(
    results: Results,
    methods: Sequence[str],
    scores: Mapping[tuple[str, str, int], Mapping[str, Mapping[str, float]]],
    budget: Budget,
) -> tuple[list[ShownCell], int, int]:
    """Code the pictures of as many slices as the budget allows, on the finest levels it allows.

    Returns
    -------
    cells : list of ShownCell
        In order of task, scan and slice.
    levels : int
        Of grey.
    missing : int
        Slices left out.
    """
    cells = results.cells()
    if not cells:
        return [], 0, 0
    positions = sorted({round(k) for k in np.linspace(0, len(cells) - 1, _SAMPLES)})
    samples = [results.images(cells[k]) for k in positions]
    levels, count = choose_levels(samples, len(cells), budget)
    chosen = _middle_first(cells)[:count]
    chosen.sort(key=lambda cell: (list(results.facts["tasks"]).index(cell.task), cell.scan, cell.slice))
    shown = [_shown(cell, results.images(cell), methods, scores, levels) for cell in chosen]
    return shown, levels, len(cells) - count


def cell_words(cell: Cell) -> str:
    """What a reader calls a slice: patient, session, contrast, slice."""
    return f"{cell_patient(cell)}, slice {cell.slice}"


def cell_patient(cell: Cell) -> str:
    """What a reader calls a scan."""
    return ", ".join(part for part in (cell.subject, cell.session, cell.contrast or cell.modality) if part)


def _middle_first(cells: Sequence[Cell]) -> list[Cell]:
    """Order slices so that any beginning holds every scan about equally, its middle slices first."""
    scans: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        scans[cell.task, cell.scan].append(cell)
    ranked = []
    for found in scans.values():
        found.sort(key=lambda cell: cell.slice)
        middle = (len(found) - 1) / 2
        order = sorted(range(len(found)), key=lambda k: abs(k - middle))
        ranked += [(rank, found[k]) for rank, k in enumerate(order)]
    ranked.sort(key=lambda pair: (pair[0], pair[1].cell))
    return [cell for _, cell in ranked]


def _shown(
    cell: Cell,
    images: Mapping[str, Image],
    methods: Sequence[str],
    scores: Mapping[tuple[str, str, int], Mapping[str, Mapping[str, float]]],
    levels: int,
) -> ShownCell:
    scale, doubt, texts = encode_cell(images, levels)
    known = [name for name in methods if name in texts]
    known += [name for name in texts if name not in (REFERENCE, *known) and not name.startswith(UNCERTAINTY)]
    names = [REFERENCE, *known]
    doubts = [name for name in texts if name.startswith(UNCERTAINTY)]
    window = first_window(images[REFERENCE], cell.manner)
    if cell.manner == "CT":
        presets = [[name, *ends] for name, ends in CT_WINDOWS.items()]
    else:
        presets = [["default", window.low, window.high], ["whole range", scale.low, scale.high]]
    spoilt = {name: int(np.size(images[name]) - np.isfinite(images[name]).sum()) for name in names}
    facts = {
        "task": cell.task,
        "scan": cell.scan,
        "patient": cell_patient(cell),
        "slice": cell.slice,
        "series": cell.series_description,
        "shape": list(images[REFERENCE].shape),
        "spacing": list(cell.spacing),
        "unit": cell.unit,
        "modality": cell.modality,
        "scale": [scale.low, scale.high, scale.levels],
        "doubt": None if doubt is None else [doubt.low, doubt.high, doubt.levels],
        "window": [window.low, window.high],
        "error": window.error,
        "presets": presets,
        "images": names,
        "doubts": [name.removeprefix(UNCERTAINTY) for name in doubts],
        "spoilt": {name: count for name, count in spoilt.items() if count},
        "scores": _finite_only(scores.get((cell.task, cell.scan, cell.slice), {})),
    }
    return ShownCell(cell, facts, tuple(texts[name] for name in names + doubts), cell_words(cell))


def _finite_only(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Drop NaN and infinity, which JSON does not have."""
    return {
        name: {what: round(value, 6) for what, value in found.items() if np.isfinite(value)}
        for name, found in scores.items()
    }
