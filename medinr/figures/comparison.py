"""Figures of reconstructions side by side on one grey scale, with their errors on one fixed scale.

They are drawn on a `matplotlib.figure.Figure` of their own, without global state and without a display.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, StrMethodFormatter
from numpy.typing import NDArray

from medinr.errors import ShapeError, UnitError
from medinr.metrics.image_quality import CT_WINDOW

Image = NDArray[Any]

#: Grey windows for CT in HU.
CT_WINDOWS = {"chest": (-1000.0, 400.0), "lung": (-1350.0, 150.0), "soft": (-160.0, 240.0), "full": CT_WINDOW}

#: The error scale ends at this fraction of the grey scale, so that it is the same for every method.
ERROR_FRACTION = 0.1

#: In inches: width of a panel, space between panels, width kept for a colour bar and its label, height of the
#: labels above a column, height of one line of the title.
_PANEL, _GAP, _BAR, _LABEL, _LINE = 2.6, 0.12, 0.95, 0.45, 0.19

#: Grey scales that end below this get ticks in a power of ten.
_SMALL = 0.01

#: Characters of the title that fit in one inch at its size.
_TITLE_DENSITY = 11


def comparison_figure(
    path: Path,
    columns: Sequence[tuple[str, Image]],
    reference: Image | None = None,
    *,
    modality: str = "MR",
    unit: str = "a.u.",
    scores: Sequence[tuple[float, float] | None] | None = None,
    title: str = "",
    spacing: tuple[float, float] = (1.0, 1.0),
    window: str | tuple[float, float] | None = None,
    error_limit: float | None = None,
) -> Path:
    """Draw reference and reconstructions on one grey scale and, below, the errors on one symmetric scale.

    Parameters
    ----------
    path : Path
        PNG to write; its folder is created.
    columns : sequence of (str, ndarray of shape (y, x))
        Name and image of the input, the baselines and medinr. Complex images are shown as magnitude.
    reference : ndarray, shape (y, x), optional
        Without it there is no row of errors.
    modality : {"MR", "CT"}
    unit : str
        Unit of the pixels, written at both scales.
    scores : sequence of (PSNR in dB, SSIM) or None, optional
        One per column, written under its name.
    title : str
    spacing : (float, float)
        Pixel spacing (y, x) in mm.
    window : str or (float, float), optional
        Ends of the grey scale, or for CT one of ``chest``, ``lung``, ``soft``, ``full``. Default: CT chest,
        MR from 0 to the 99.8th percentile of the reference (of the last column without one).
    error_limit : float, optional
        Half-width of the error scale; default a tenth of the grey scale.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ShapeError
        When the images differ in shape.
    """
    shown = [(name, _real(image)) for name, image in columns]
    reference = None if reference is None else _real(reference)
    _check_shapes(shown, reference)
    low, high = grey_scale(window, modality, reference if reference is not None else shown[-1][1])
    limit = error_limit or ERROR_FRACTION * (high - low)
    panels = shown if reference is None else [("reference", reference), *shown]
    marks = list(scores) if scores is not None else [None] * len(shown)
    labels = [None, *marks] if reference is not None else marks

    height, width = panels[0][1].shape
    aspect = spacing[0] / spacing[1]
    grid = _Grid(len(panels), 1 if reference is None else 2, _PANEL * height * aspect / width, title)
    figure = grid.figure()
    for column, ((name, image), label) in enumerate(zip(panels, labels, strict=True)):
        axes = grid.axes(figure, 0, column)
        grey = axes.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="nearest")
        axes.set_title(name if label is None else f"{name}\n{label[0]:.1f} dB, SSIM {label[1]:.3f}", fontsize=9)
        if reference is not None and column > 0:
            below = grid.axes(figure, 1, column)
            error = below.imshow(
                image - reference, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect=aspect, interpolation="nearest"
            )
    grid.bar(figure, 0, grey, unit)
    if reference is not None:
        grid.note(figure, f"error:\nimage - reference,\nscale ±{limit:.3g} {unit}")
        grid.bar(figure, 1, error, f"error, {unit}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white")
    return path


class _Grid:
    """Panels at exact positions in inches: automatic layouts leave gaps around images of fixed aspect."""

    def __init__(self, columns: int, rows: int, tall: float, title: str) -> None:
        self.columns, self.tall = columns, tall
        self.width = columns * (_PANEL + _GAP) + _BAR
        self.title = textwrap.wrap(title, int(_TITLE_DENSITY * self.width))
        self.top = _GAP + len(self.title) * _LINE + _LABEL
        self.height = self.top + rows * (tall + _GAP)

    def figure(self) -> Figure:
        figure = Figure(figsize=(self.width, self.height))
        place = (_GAP / self.width, 1 - _GAP / self.height)
        figure.text(*place, "\n".join(self.title), va="top", ha="left", fontsize=10)
        return figure

    def axes(self, figure: Figure, row: int, column: int) -> Any:
        axes = figure.add_axes(self._place(row, column, _PANEL))
        axes.set_axis_off()
        return axes

    def bar(self, figure: Figure, row: int, image: Any, label: str) -> None:
        bar = figure.colorbar(image, cax=figure.add_axes(self._place(row, self.columns, 0.12)))
        bar.set_label(label, fontsize=8)
        bar.ax.tick_params(labelsize=7)
        low, high = image.get_clim()
        size = max(abs(low), abs(high))
        if 0 < size < _SMALL:
            # Attenuation in 1/mm: ticks with many zeros would move the label outside the figure.
            power = math.floor(math.log10(size))
            bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10.0**power:g}"))
            bar.set_label(f"{label} (x 1e{power})", fontsize=8)
        else:
            bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))

    def note(self, figure: Figure, text: str) -> None:
        left, bottom, width, height = self._place(1, 0, _PANEL)
        figure.text(left + width * 0.94, bottom + height / 2, text, ha="right", va="center", fontsize=9)

    def _place(self, row: int, column: int, width: float) -> tuple[float, float, float, float]:
        left = _GAP + column * (_PANEL + _GAP)
        bottom = self.height - self.top - row * (self.tall + _GAP) - self.tall
        return left / self.width, bottom / self.height, width / self.width, self.tall / self.height


def _real(image: Image) -> NDArray[np.float64]:
    return np.abs(image).astype(np.float64) if np.iscomplexobj(image) else image.astype(np.float64)


def _check_shapes(shown: Sequence[tuple[str, Image]], reference: Image | None) -> None:
    if not shown:
        raise ShapeError("A comparison needs at least one image; got none.")
    wanted = shown[0][1].shape if reference is None else reference.shape
    for name, image in shown:
        if image.shape != wanted or image.ndim != 2:
            raise ShapeError(f"All images of a comparison are (y, x) of shape {wanted}; {name} has {image.shape}.")


def grey_scale(window: str | tuple[float, float] | None, modality: str, image: Image) -> tuple[float, float]:
    """Ends of the grey scale of an image; for the window see `comparison_figure`."""
    if isinstance(window, tuple):
        return window
    if modality == "CT":
        name = window or "chest"
        if name not in CT_WINDOWS:
            raise UnitError(f"There is no CT window {name!r}; choose one of {', '.join(CT_WINDOWS)} or give two HU.")
        return CT_WINDOWS[name]
    if window is not None:
        raise UnitError(f"Named windows are for CT; got {window!r} for {modality}. Give (low, high) instead.")
    high = float(np.percentile(image, 99.8))
    return 0.0, high if high > 0 else 1.0
