"""Figures of an evaluation for papers, as PNG and as SVG: the charts of the report, by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from medinr.figures.comparison import comparison_figure
from medinr.jobs.evaluate.results import Case, Results
from medinr.report.charts import stop_place, stop_words
from medinr.report.tables import PatientMean, patient_points, records_of, series_of, slice_scores

#: PNG for a manuscript's preview, SVG for its print.
KINDS = ("png", "svg")

#: The same order of shapes and (light) colours as the report's.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_COLOURS = ("#0060a8", "#b8460a", "#00734f", "#9a3279", "#6d5600", "#333333", "#5b45b5", "#86201f")


def paper_figures(results: Results, folder: Path) -> list[Path]:
    """Draw PSNR against time of each task, and images and convergence of each slice.

    Parameters
    ----------
    results : Results
    folder : Path
        Made when missing; files of the same names are replaced.

    Returns
    -------
    list of Path
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = records_of(results.table)
    points = patient_points(records)
    known = dict.fromkeys([*results.facts.get("methods", {}), *(p.method for p in points)])
    by_task = {
        task: [name for name in known if any((p.task, p.method) == (task, name) for p in points)]
        for task in results.facts["tasks"]
    }
    series = series_of({task: names for task, names in by_task.items() if names})
    scores = slice_scores(records)
    written = []
    for task in by_task:
        words = results.facts["tasks"][task].get("words") or task
        chosen = [p for p in points if p.task == task and math.isfinite(p.psnr) and p.seconds > 0]
        chosen.sort(key=lambda point: list(known).index(point.method))
        if chosen:
            written += _saved(_quality_time(chosen, series, words), folder / f"psnr_time__{task}")
    for case in results.cases():
        words = results.facts["tasks"][case.task].get("words") or case.task
        title = f"{words}: {case.subject}, {case.contrast or case.modality}, slice {case.slice}"
        images = results.images(case)
        names = [name for name in by_task.get(case.task, []) if name in images]
        if names:
            found = scores.get((case.task, case.scan, case.slice), {})
            written += [
                comparison_figure(
                    folder / f"images__{case.case}.{kind}",
                    [(name, images[name]) for name in names],
                    images["reference"],
                    modality=case.metric_modality,
                    unit=case.unit,
                    scores=[_pair(found.get(name, {})) for name in names],
                    title=title,
                    spacing=case.spacing,
                )
                for kind in KINDS
            ]
        figure = _convergence(case, series, title)
        if figure is not None:
            written += _saved(figure, folder / f"convergence__{case.case}")
    return written


def _quality_time(points: Sequence[PatientMean], series: Mapping[str, int], title: str) -> Figure:
    figure = Figure(figsize=(6.0, 4.2), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(p.method for p in points):
        own = [p for p in points if p.method == name]
        axes.plot(
            [p.seconds for p in own],
            [p.psnr for p in own],
            linestyle="none",
            alpha=0.8,
            label=name,
            **_style(series[name]),
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="wall time per slice, s", ylabel="PSNR, dB")
    _decorate(figure, [axes], title)
    return figure


def _convergence(case: Case, series: Mapping[str, int], title: str) -> Figure | None:
    kinds = [key for key in ("psnr", "residual") if any(curve.get(key) for curve in case.curves.values())]
    if not kinds:
        return None
    figure = Figure(figsize=(4.4 * len(kinds), 3.6), layout="constrained")
    panels = list(figure.subplots(1, len(kinds), squeeze=False)[0])
    for axes, key in zip(panels, kinds, strict=True):
        for number, (name, curve) in enumerate(case.curves.items()):
            if not curve.get(key):
                continue
            style = _style(series.get(name, number))
            stop = stop_place(curve, key)
            axes.plot(
                curve["seconds"],
                curve[key],
                color=style["color"],
                label=f"{name}, {stop_words(curve)}".split(" (", 1)[0],
            )
            if stop is not None:
                axes.plot(*stop, **style)
        if key == "residual":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="wall time, s", ylabel="PSNR, dB" if key == "psnr" else "residual")
    _decorate(figure, panels, title)
    return figure


def _style(number: int) -> dict[str, Any]:
    return {"marker": _MARKERS[number % len(_MARKERS)], "color": _COLOURS[number % len(_COLOURS)]}


def _decorate(figure: Figure, panels: Sequence[Any], title: str) -> None:
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 3), frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)


def _pair(scores: Mapping[str, float]) -> tuple[float, float] | None:
    return (scores["psnr"], scores["ssim"]) if "psnr" in scores and "ssim" in scores else None


def _saved(figure: Figure, stem: Path) -> list[Path]:
    paths = [stem.parent / f"{stem.name}.{kind}" for kind in KINDS]
    for path in paths:
        figure.savefig(path, dpi=200, facecolor="white")
    return paths
