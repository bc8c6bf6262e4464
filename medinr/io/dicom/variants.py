"""Pictures at one position told apart: echoes, b-values, components, time points, and plain copies."""

from __future__ import annotations

import filecmp
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from medinr.errors import GeometryError
from medinr.io.dicom.frames import LABELS, TIMES, Frame
from medinr.io.dicom.geometry import SAME_PLACE_MM, distance, in_order, repeated

#: Labels whose values are free text.
_FREE_TEXT = ("stack", "acquisition")

#: Frames of one stack in the order of their position, and what distinguishes it from others at that position.
Stack = tuple[tuple[Frame, ...], str]


def without_copies(frames: Sequence[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Separate files that are in the folder twice: same SOPInstanceUID, same bytes.

    Returns
    -------
    kept, copies : list of Frame
    """
    kept: list[Frame] = []
    copies: list[Frame] = []
    first: dict[str, Frame] = {}
    for frame in frames:
        if not frame.header.instance:
            kept.append(frame)
            continue
        known = first.setdefault(frame.header.instance, frame)
        same = known.path != frame.path and filecmp.cmp(known.path, frame.path, shallow=False)
        (copies if same else kept).append(frame)
    return kept, copies


def stacks_of(frames: Sequence[Frame]) -> Iterator[Stack]:
    """Split pictures of one series, matrix and orientation into stacks with one picture per position.

    They are told apart by the first tag of `LABELS` that takes as many values as there are pictures at a position, or
    fewer; where there is none, by the order in time at each position. What cannot be told apart stays together.
    """
    try:
        ordered = in_order(frames)
    except GeometryError:
        # Listing continues; reading this series raises an error that names the tag and the file.
        yield tuple(frames), ""
        return
    if repeated(ordered) is None:
        yield tuple(ordered), ""
        return
    for value, part in _parts(ordered):
        if len(part) == len(ordered):
            yield tuple(ordered), ""
            return
        for stack, words in stacks_of(part):
            yield stack, ", ".join(filter(None, (value, words)))


def _parts(ordered: Sequence[Frame]) -> list[tuple[str, list[Frame]]]:
    places = _places(ordered)
    most = max(Counter(places).values())
    for label, _ in LABELS:
        parts: dict[str, list[Frame]] = {}
        for frame in ordered:
            parts.setdefault(dict(frame.labels).get(label, ""), []).append(frame)
        # A tag with more values than pictures at one position differs from slice to slice, and tells nothing.
        if 1 < len(parts) <= most:
            ordered_parts = sorted(parts.items(), key=_numeric)
            return [(_named(label, value, rank), part) for rank, (value, part) in enumerate(ordered_parts, start=1)]
    for label, _ in TIMES:
        times = [dict(frame.times).get(label, "") for frame in ordered]
        if all(times) and len(set(zip(places, times, strict=True))) == len(ordered):
            return _in_time(ordered, places, times, label)
    return [("", list(ordered))]


def _places(ordered: Sequence[Frame]) -> list[int]:
    """Number the positions; pictures closer than `SAME_PLACE_MM` share one."""
    numbers = [0]
    for before, after in pairwise(ordered):
        numbers.append(numbers[-1] + (distance(after) - distance(before) >= SAME_PLACE_MM))
    return numbers


def _in_time(
    ordered: Sequence[Frame], places: Sequence[int], times: Sequence[str], label: str
) -> list[tuple[str, list[Frame]]]:
    order = sorted(range(len(ordered)), key=lambda number: _sortable(times[number]))
    seen: Counter[int] = Counter()
    parts: dict[int, list[Frame]] = {}
    for number in order:
        seen[places[number]] += 1
        parts.setdefault(seen[places[number]], []).append(ordered[number])
    return [(f"time point {point} of {len(parts)} (by {label})", part) for point, part in sorted(parts.items())]


def _named(label: str, value: str, rank: int) -> str:
    # Free text may name the patient: such stacks are counted.
    free = label in _FREE_TEXT and not value.replace(".", "").isdigit()
    return f"{label} {rank if free and value else value or 'not given'}"


def _sortable(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return 0.0, text


def _numeric(part: tuple[str, list[Frame]]) -> tuple[float, str]:
    return _sortable(part[0])
