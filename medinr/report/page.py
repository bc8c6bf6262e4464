"""The page put together: numbers, charts, pictures and their provenance, in one file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from medinr.errors import FileError
from medinr.jobs.evaluate.results import Results
from medinr.jobs.evaluate.sentences import basis_sentence, noise_sentences
from medinr.report.cases import ShownCase, shown_cases
from medinr.report.charts import convergence_chart, psnr_time_chart, stop_words
from medinr.report.findings import finding_rows
from medinr.report.pictures import Budget
from medinr.report.sampling import sampling_chart, sampling_words
from medinr.report.tables import (
    Record,
    differences,
    patient_points,
    records_of,
    series_of,
    slice_scores,
    summary_table,
)

#: Scripts in the order they are joined; together they are one function.
SCRIPTS = ("decode.js", "paint.js", "viewer.js", "gestures.js", "report.js")


#: Values of a column that are listed; for the others the page refers to the table.
_VALUES = 12


def report_page(results: Results, *, title: str = "Evaluation", budget: Budget | None = None) -> str:
    """Write an evaluation as one HTML page.

    The same folder gives the same page, byte for byte.

    Parameters
    ----------
    results : Results
    title : str
        Heading of the page.
    budget : Budget, optional
        For the pictures. Where it does not suffice, there are fewer grey levels, then fewer slices; the page says so.

    Returns
    -------
    str
        HTML with its styles, scripts and pictures inside. Its content security policy forbids every request, and
        every script but its own.

    Raises
    ------
    FileError
        When the evaluation has no row, or no slice with images.
    """
    records = records_of(results.table)
    if not records:
        raise FileError(f"{results.folder} has an empty table of results. Run `medinr evaluate` again.")
    methods = _methods(results.facts, records)
    shown, levels, missing = shown_cases(results, list(methods), slice_scores(records), budget or Budget())
    if not shown:
        raise FileError(f"{results.folder / 'images'} has no slice. Run `medinr evaluate` again.")
    by_task = {
        task: [m for m in methods if any(r["task"] == task and r["method"] == m for r in records)]
        for task in dict.fromkeys(record["task"] for record in records)
    }
    by_task = {task: by_task[task] for task in results.facts["tasks"] if task in by_task} | by_task
    series = series_of(by_task)
    style, script = _asset("report.css"), _script()
    context = {
        "title": title,
        "policy": _policy(style, script),
        "style": Markup(style),
        "script": Markup(script),
        "facts": results.facts,
        "tasks": [_task(results, records, task, number, by_task[task], series) for number, task in enumerate(by_task)],
        "methods": [
            (name, {"words": about.get("words", ""), "settings": _pretty(about.get("settings"))})
            for name, about in methods.items()
        ],
        "cases": [_panel(number, case, results.facts, series) for number, case in enumerate(shown)],
        "data": _data(shown, results.facts, by_task),
        "findings": finding_rows(results.cases()),
        "levels": levels,
        "missing": missing,
        "non_finite": [(case.words, case.facts["non_finite"]) for case in shown if case.facts["non_finite"]],
        "provenance": _provenance(results, records),
        "settings": _pretty(results.facts.get("settings")),
    }
    environment = Environment(
        loader=PackageLoader("medinr.report", "assets"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(context)


def _methods(facts: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Mapping[str, Any]]:
    """Every method with its facts: in the order of the evaluation, then those that are in the table only."""
    known = dict(facts.get("methods", {}))
    return {name: known.get(name, {}) for name in dict.fromkeys([*known, *(r["method"] for r in records)])}


def _task(
    results: Results,
    records: Sequence[Record],
    task: str,
    number: int,
    methods: Sequence[str],
    series: Mapping[str, int],
) -> dict[str, Any]:
    about = results.facts["tasks"].get(task, {})
    words = about.get("words") or task
    points = [point for point in patient_points(records) if point.task == task]
    points.sort(key=lambda point: methods.index(point.method))
    return {
        "name": task,
        "words": words,
        "facts": _pretty(about.get("facts")),
        "modality": about.get("modality", ""),
        "unit": about.get("unit", ""),
        "table": (table := summary_table(results.table, task, methods)),
        "differences": differences(results.table, task, methods),
        "limits": noise_sentences(results.table, task),
        "basis": basis_sentence(table.patients),
        "chart": Markup(psnr_time_chart(points, series, words, f"time-{number}")),
        "points": sorted(points, key=lambda point: point.subject),
    }


def _panel(number: int, shown: ShownCase, facts: Mapping[str, Any], series: Mapping[str, int]) -> dict[str, Any]:
    case = shown.case
    words = facts["tasks"].get(case.task, {}).get("words") or case.task
    local = dict(series)
    for name in case.curves:
        local.setdefault(name, len(local))
    return {
        "number": number,
        "words": shown.words,
        "task": words,
        "pictures": Markup("\n".join(shown.pictures)),
        "convergence": Markup(convergence_chart(case.curves, local, shown.words, f"conv-{number}")),
        "stops": [(name, stop_words(curve)) for name, curve in case.curves.items()],
        "sampling": Markup(sampling_chart(case.sampling, shown.words, f"samp-{number}")),
        "sampled": sampling_words(case.sampling),
    }


def _data(shown: Sequence[ShownCase], facts: Mapping[str, Any], by_task: Mapping[str, Sequence[str]]) -> Markup:
    content = {
        "tasks": {task: (facts["tasks"].get(task, {}).get("words") or task) for task in by_task},
        "cases": [case.facts for case in shown],
    }
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # JSON cannot end its script element, nor open a comment, without one of these.
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _provenance(results: Results, records: Sequence[Record]) -> list[tuple[str, str]]:
    table = results.folder / "results.csv"
    rows = [("format", str(results.facts.get("format", "")))]
    rows.append(("seed", str(results.facts.get("seed", ""))))
    rows += [(name, str(version)) for name, version in results.facts.get("versions", {}).items()]
    rows.append(("medinr version of the numbers", _several({str(r["medinr_version"]) for r in records})))
    rows.append(("settings of the methods (hash)", _several({str(r["settings_hash"]) for r in records})))
    if table.is_file():
        rows.append(("results.csv (SHA-256)", hashlib.sha256(table.read_bytes()).hexdigest()))
    return rows


def _pretty(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) if content else ""


def _several(values: set[str]) -> str:
    found = sorted(values)
    rest = len(found) - _VALUES
    return ", ".join(found[:_VALUES]) + (f" and {rest} more, in results.csv" if rest > 0 else "")


def _policy(style: str, script: str) -> str:
    """Content security policy: this style, this script and pictures drawn by it; no requests."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        "default-src 'none'; "
        f"style-src 'sha256-{digest(style)}'; script-src 'sha256-{digest(script)}'; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )


def _script() -> str:
    return '"use strict";\n(() => {\n' + "\n".join(_asset(name) for name in SCRIPTS) + "})();\n"


def _asset(name: str) -> str:
    return resources.files("medinr.report").joinpath("assets", name).read_text(encoding="utf-8")
