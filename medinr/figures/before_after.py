"""Pictures of a scan before and after, with what was removed on a scale of its own; and of its noise.

They are drawn on a `matplotlib.figure.Figure` of their own, without global state and without a display.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medinr.errors import ShapeError
from medinr.figures.comparison import grey_scale

Image = NDArray[Any]

#: In inches: width of a panel, tallest panel, space between panels, width kept for colour bars, height of a column's
#: label and of one line of the title.
_PANEL, _TALLEST, _GAP, _BAR, _LABEL, _LINE = 3.0, 4.5, 0.12, 1.0, 0.3, 0.19

#: Characters of the title that fit in one inch at its size.
_TITLE_DENSITY = 11

#: The scale of the removed part ends at this percentile of its size.
_MOST_REMOVED = 99.5

#: Standard deviations to which the histogram of the removed part goes.
_DEVIATIONS = 5.0


@dataclass(frozen=True, eq=False)
class PlaneView:
    """One plane through the patient.

    Attributes
    ----------
    name : str
        Such as ``"axial"``.
    before, after, difference : ndarray, two-dimensional
        May have different pixels: each fills the plane.
    size : (float, float)
        Height and width in mm.
    """

    name: str
    before: Image
    after: Image
    difference: Image
    size: tuple[float, float]


def before_after_figure(
    path: Path,
    views: Sequence[PlaneView],
    *,
    modality: str,
    unit: str,
    title: str,
    labels: tuple[str, str, str],
) -> Path:
    """Draw planes of a scan as it was, of the result, and of their difference.

    Parameters
    ----------
    path : Path
        PNG to write; its folder is created.
    views : sequence of PlaneView
        One row each.
    modality : {"MR", "CT"}
        Decides the grey scale; it is that of the results, for both.
    unit : str
    title : str
    labels : (str, str, str)
        Of the three columns.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ShapeError
        When there is no view.
    """
    if not views:
        raise ShapeError("A picture needs at least one plane; got none.")
    after = np.concatenate([np.abs(view.after).ravel() if modality != "CT" else view.after.ravel() for view in views])
    low, high = grey_scale(None, modality, after)
    removed = np.concatenate([np.abs(view.difference).ravel() for view in views])
    limit = float(np.percentile(removed, _MOST_REMOVED)) or 1.0
    heights = [min(_TALLEST, _PANEL * view.size[0] / view.size[1]) for view in views]
    width = 3 * (_PANEL + _GAP) + 2 * _BAR
    lines = textwrap.wrap(title, int(_TITLE_DENSITY * width))
    top = _GAP + len(lines) * _LINE + _LABEL
    height = top + sum(heights) + _GAP * len(views)
    figure = Figure(figsize=(width, height))
    figure.text(_GAP / width, 1 - _GAP / height, "\n".join(lines), va="top", ha="left", fontsize=10)
    # The bars stand right of the panels that they explain.
    lefts = (_GAP, _GAP + _PANEL + _GAP, 2 * (_GAP + _PANEL) + _BAR + _GAP)
    bottom = height - top
    for row, (view, tall) in enumerate(zip(views, heights, strict=True)):
        bottom -= tall
        shown = (_shown(view.before, modality), _shown(view.after, modality), _signed(view.difference))
        for column, (image, left) in enumerate(zip(shown, lefts, strict=True)):
            axes = figure.add_axes((left / width, bottom / height, _PANEL / width, tall / height))
            axes.set_axis_off()
            grey = column < 2
            drawn = axes.imshow(
                image,
                cmap="gray" if grey else "RdBu_r",
                vmin=low if grey else -limit,
                vmax=high if grey else limit,
                extent=(0.0, view.size[1], view.size[0], 0.0),
                aspect="equal",
                interpolation="nearest",
            )
            if row == 0:
                axes.set_title(labels[column], fontsize=9)
            if column == 0:
                axes.text(0.02, 0.02, view.name, color="white", fontsize=8, transform=axes.transAxes)
            if row == 0 and column > 0:
                place = ((left + _PANEL + _GAP) / width, bottom / height, 0.12 / width, tall / height)
                bar = figure.colorbar(drawn, cax=figure.add_axes(place))
                bar.set_label(unit, fontsize=8)
                bar.ax.tick_params(labelsize=7)
        bottom -= _GAP
    return _saved(figure, path)


def noise_figure(
    path: Path,
    *,
    sigma_map: Image | None = None,
    autocorrelation: Image | None = None,
    standardised: Image | None = None,
    spacing: tuple[float, float] = (1.0, 1.0),
    unit: str = "a.u.",
    title: str = "",
) -> Path | None:
    """Draw what is known of the noise: sigma in a slice, its autocorrelation, and whether the removed part is noise.

    Parameters
    ----------
    path : Path
    sigma_map : ndarray, shape (y, x), optional
    autocorrelation : ndarray, shape (2 k + 1, 2 k + 1), optional
    standardised : ndarray, shape (n,), optional
        The removed part over sigma; drawn as a histogram beside the normal distribution.
    spacing : (float, float)
        Pixel spacing (y, x) in mm.
    unit, title : str

    Returns
    -------
    Path or None
        None where there is nothing to draw.
    """
    count = sum(part is not None for part in (sigma_map, autocorrelation, standardised))
    if count == 0:
        return None
    figure = Figure(figsize=(4.2 * count, 3.8), layout="constrained")
    figure.suptitle("\n".join(textwrap.wrap(title, int(_TITLE_DENSITY * 4.2 * count))), fontsize=10)
    panels = iter(np.atleast_1d(np.asarray(figure.subplots(1, count))).ravel())
    if sigma_map is not None:
        axes = next(panels)
        drawn = axes.imshow(sigma_map, cmap="viridis", aspect=spacing[0] / spacing[1], interpolation="nearest")
        axes.set_title(f"sigma, {unit}", fontsize=9)
        axes.set_axis_off()
        figure.colorbar(drawn, ax=axes).ax.tick_params(labelsize=7)
    if autocorrelation is not None:
        axes = next(panels)
        reach_y, reach_x = (size // 2 for size in autocorrelation.shape)
        extent = (-reach_x - 0.5, reach_x + 0.5, reach_y + 0.5, -reach_y - 0.5)
        drawn = axes.imshow(autocorrelation, cmap="RdBu_r", vmin=-1, vmax=1, extent=extent, interpolation="nearest")
        axes.set_title("correlation of noise by distance in pixels", fontsize=9)
        axes.tick_params(labelsize=7)
        figure.colorbar(drawn, ax=axes).ax.tick_params(labelsize=7)
    if standardised is not None:
        _histogram(next(panels), standardised)
    return _saved(figure, path)


def _histogram(axes: Any, standardised: Image) -> None:
    edges = np.linspace(-_DEVIATIONS, _DEVIATIONS, 61)
    axes.hist(np.clip(standardised, edges[0], edges[-1]), edges, density=True, color="0.7", label="removed part")
    at = (edges[1:] + edges[:-1]) / 2
    axes.plot(at, np.exp(-(at**2) / 2) / math.sqrt(2 * math.pi), color="C3", label="noise of this sigma")
    axes.set_xlabel("removed part over sigma", fontsize=8)
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, frameon=False)


def _shown(image: Image, modality: str) -> NDArray[np.float64]:
    return np.asarray(image if modality == "CT" else np.abs(image), dtype=np.float64)


def _signed(image: Image) -> NDArray[np.float64]:
    return np.asarray(np.abs(image) if np.iscomplexobj(image) else image, dtype=np.float64)


def _saved(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white")
    return path
