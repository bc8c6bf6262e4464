"""Figure of uncertainty: the image, the half-width of its 90 % interval, and its null-space component."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medinr.errors import ShapeError
from medinr.figures.comparison import grey_scale

#: The scales of interval and null space end at this fraction of the grey scale, as those of errors do.
UNCERTAINTY_FRACTION = 0.1


def uncertainty_figure(
    path: Path,
    image: NDArray[np.float32],
    half_width: NDArray[np.float32],
    null_space: NDArray[np.float32],
    *,
    modality: str = "MR",
    unit: str = "a.u.",
    title: str = "",
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Path:
    """Draw the three side by side, each with its scale in the unit of the image.

    Parameters
    ----------
    path : Path
        PNG to write; its folder is created.
    image : ndarray, shape (y, x)
    half_width : ndarray, shape (y, x)
        Of the 90 % interval.
    null_space : ndarray, shape (y, x)
        The component that the measurement does not determine; signed.
    modality : {"MR", "CT"}
    unit, title : str
    spacing : (float, float)
        Pixel spacing (y, x) in mm.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ShapeError
        When the three differ in shape.
    """
    if not image.shape == half_width.shape == null_space.shape:
        raise ShapeError(
            f"Image, interval and null space need one shape; got {image.shape}, {half_width.shape}, {null_space.shape}."
        )
    low, high = grey_scale(None, modality, image)
    limit = UNCERTAINTY_FRACTION * (high - low)
    panels = (
        ("image", image, "gray", low, high),
        ("± of the 90 % interval", half_width, "magma", 0.0, limit),
        ("not determined by the data", null_space, "RdBu_r", -limit, limit),
    )
    aspect = spacing[0] / spacing[1]
    tall = 3.0 * aspect * image.shape[0] / image.shape[1]
    figure = Figure(figsize=(11.0, tall + 0.8), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for axes, (name, values, colours, bottom, top) in zip(figure.subplots(1, 3), panels, strict=True):
        shown = axes.imshow(values, cmap=colours, vmin=bottom, vmax=top, aspect=aspect, interpolation="nearest")
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
        figure.colorbar(shown, ax=axes, shrink=0.8).set_label(unit, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, facecolor="white")
    return path
