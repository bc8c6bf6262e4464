"""Convergence of a fit: residual of the fitted and of the held-out measurements, against steps and seconds."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from medinr.errors import ShapeError

#: Colour-blind safe (Okabe & Ito 2008).
_TRAINING, _HELD_OUT, _STOP = "#0072B2", "#D55E00", "#555555"


@dataclass(frozen=True)
class ConvergenceRow:
    """Residuals at one step; without held-out measurements ``held_out`` is None."""

    step: int
    seconds: float
    training: float
    held_out: float | None = None


def convergence_figure(
    path: Path,
    rows: Sequence[ConvergenceRow],
    *,
    stopped_at: int | None = None,
    reason: str = "",
    title: str = "",
    label: str = "residual",
) -> Path:
    """Draw training and held-out residual against steps (left) and wall time (right), with the stop.

    Parameters
    ----------
    path : Path
        PNG to write; its folder is created.
    rows : sequence of ConvergenceRow
        In order of steps.
    stopped_at : int, optional
        Step whose result was kept; marked in both panels.
    reason, title : str
        Why it stopped, and which fit this is.
    label : str
        What the residual is, with its unit.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ShapeError
        When there is no row.
    """
    if not rows:
        raise ShapeError("A convergence figure needs at least one row; got none.")
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    steps, seconds = [float(row.step) for row in rows], [row.seconds for row in rows]
    stop = next((index for index, row in enumerate(rows) if row.step == stopped_at), None)
    for axes, times, name in ((panels[0], steps, "step"), (panels[1], seconds, "wall time, s")):
        _curves(axes, times, rows)
        if stop is not None:
            text = f"stopped: step {stopped_at}, {seconds[stop]:.1f} s"
            axes.axvline(times[stop], color=_STOP, linestyle="--", linewidth=1, label=text)
        axes.set_xlabel(name)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(label)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle("\n".join(textwrap.wrap(title, 95) + textwrap.wrap(reason, 95)), fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white")
    return path


def _curves(axes: Any, times: Sequence[float], rows: Sequence[ConvergenceRow]) -> None:
    axes.plot(times, [row.training for row in rows], color=_TRAINING, label="measurements in the fit")
    held = [(time, row.held_out) for time, row in zip(times, rows, strict=True) if row.held_out is not None]
    if held:
        axes.plot(*zip(*held, strict=True), color=_HELD_OUT, label="measurements held out")
    if all(row.training > 0 and (row.held_out is None or row.held_out > 0) for row in rows):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
