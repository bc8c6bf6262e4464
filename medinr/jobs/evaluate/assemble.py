"""Tables and images of an evaluation, made from the records of its jobs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from medinr.jobs.evaluate.cases import WORK, load_facts, scans_left_out
from medinr.jobs.evaluate.results import (
    EXPECTED_RESIDUAL,
    REGRET,
    RESIDUAL,
    Case,
    Results,
    make_table,
    read_facts,
    read_images,
    write_case,
    write_facts,
    write_table,
)
from medinr.jobs.evaluate.sentences import NOISE_NOTE, noise_sentences, tasks_of, uncorrected_sentences


def assemble(folder: Path) -> Results:
    """Write tables and images from every record in the folder, and read them back.

    The same records give the same bytes, however many processes made them, in whatever order.
    """
    records: dict[str, list[Path]] = defaultdict(list)
    cases: dict[str, Case] = {}
    for path in sorted((folder / WORK).glob("*.safetensors")):
        parts = path.name.removesuffix(".safetensors").split("__")
        name = "__".join(parts[:3])
        if len(parts) == 4:
            records[name].append(path)
        else:
            facts = load_facts(path)
            cases[name] = Case(**facts | {"spacing": tuple(facts["spacing"])})
    rows: list[dict[str, Any]] = []
    left_out = scans_left_out(folder)
    for name, case in cases.items():
        if not records[name]:
            continue
        images = {"reference": read_images(folder / WORK / f"{name}.safetensors")["reference"]}
        curves = {}
        for path in records[name]:
            facts = load_facts(path)
            if not facts["scores"]:
                left_out.append(f"{facts['method']} has no result for {case.task}, {case.scan}: {facts['reason']}.")
                continue
            images[facts["method"]] = read_images(path)["image"]
            if facts["curve"]:
                curves[facts["method"]] = facts["curve"] | {key: facts[key] for key in ("stopped_at", "reason")}
            rows += _rows(case, facts)
        write_case(folder, replace(case, curves=curves), images)
    table = make_table(rows)
    write_table(folder, table)
    evaluation = read_facts(folder)
    # What is said of the references' noise depends on what was computed, so it is said anew.
    before = [note for note in evaluation["notes"] if not note.startswith(NOISE_NOTE)]
    limits = [sentence for task in tasks_of(table) for sentence in noise_sentences(table, task)]
    notes = [*before, *left_out, *uncorrected_sentences(cases.values()), *limits]
    write_facts(folder, evaluation | {"notes": list(dict.fromkeys(notes))})
    return Results.read(folder)


def _rows(case: Case, facts: dict[str, Any]) -> list[dict[str, Any]]:
    shared = {
        "task": case.task,
        "subject": case.subject,
        "session": case.session,
        "contrast": case.contrast,
        "scan": case.scan,
        "slice": case.slice,
    } | {
        key: facts[key]
        for key in ("method", "seed", "seconds", "peak_memory_mb", "stopped_at", "settings_hash", "medinr_version")
    }
    return [shared | score for score in (*facts["scores"], *_regret(facts), *_residuals(facts))]


def _regret(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """PSNR of the best intermediate image above that of the result, where the curve was recorded."""
    recorded = facts["curve"].get("psnr") or []
    (final,) = (s["value"] for s in facts["scores"] if (s["region"], s["metric"]) == ("slice", "psnr"))
    if recorded and math.isfinite(final):
        yield {"region": "slice", "metric": REGRET, "value": max(0.0, max(recorded) - final)}


def _residuals(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the image leaves of the measurement, and what it would by its degrees of freedom, where these are known."""
    for metric in (RESIDUAL, EXPECTED_RESIDUAL):
        if (value := facts.get(metric)) is not None:
            yield {"region": "slice", "metric": metric, "value": value}
