"""From the records of units to what an evaluation's folder is read for: tables and images."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from medinr.pipelines.cells import WORK, load_facts

from medinr.evaluate.results import REGRET, Cell, Results, make_table, read_images, write_cell, write_table


def assemble(folder: Path) -> Results:
    """Write tables and images from every record in the folder, and read them back.

    The same records give the same bytes, however many processes made them, in whatever order.
    """
    records: dict[str, list[Path]] = defaultdict(list)
    cells: dict[str, Cell] = {}
    for path in sorted((folder / WORK).glob("*.safetensors")):
        parts = path.name.removesuffix(".safetensors").split("__")
        name = "__".join(parts[:3])
        if len(parts) == 4:
            records[name].append(path)
        else:
            facts = load_facts(path)
            cells[name] = Cell(**facts | {"spacing": tuple(facts["spacing"])})
    rows: list[dict[str, Any]] = []
    for name, cell in cells.items():
        if not records[name]:
            continue
        images = {"reference": read_images(folder / WORK / f"{name}.safetensors")["reference"]}
        curves = {}
        for path in records[name]:
            facts = load_facts(path)
            images[facts["method"]] = read_images(path)["image"]
            if facts["curve"]:
                curves[facts["method"]] = facts["curve"] | {key: facts[key] for key in ("stopped_at", "reason")}
            rows += _rows(cell, facts)
        write_cell(folder, replace(cell, curves=curves), images)
    write_table(folder, make_table(rows))
    return Results.read(folder)


def _rows(cell: Cell, facts: dict[str, Any]) -> list[dict[str, Any]]:
    shared = {
        "task": cell.task,
        "subject": cell.subject,
        "session": cell.session,
        "contrast": cell.contrast,
        "scan": cell.scan,
        "slice": cell.slice,
    } | {
        key: facts[key]
        for key in ("method", "seed", "seconds", "peak_memory_mb", "stopped_at", "settings_hash", "medinr_version")
    }
    return [shared | score for score in (*facts["scores"], *_regret(facts))]


def _regret(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """By how much the best image on the way was better than the one that was given, where somebody looked."""
    looked = facts["curve"].get("psnr") or []
    (given,) = (s["value"] for s in facts["scores"] if (s["region"], s["metric"]) == ("slice", "psnr"))
    if looked and math.isfinite(given):
        yield {"region": "slice", "metric": REGRET, "value": max(0.0, max(looked) - given)}
