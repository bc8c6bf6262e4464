"""The sum over views of filtered backprojection, compiled for the processor.

`medinr.operators.ct.backprojection` imports this file on first use. Each thread has tiles of the image of
its own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from medinr.operators.compiling import compile_kernel, in_threads
from medinr.operators.ct.joseph_compiled import together
from medinr.operators.ct.rays import centred
from medinr.operators.line_compiled import inside

#: Edge of the tiles of the image in which the views are summed: a tile of 32 images fits the second-level cache, and
#: a view's shadow of it the first.
_TILE = 16

#: Rows that are summed together where there is one image: there the shadow is a whole view.
_ROWS = 8

PARALLEL, FLAT, CURVED = 0, 1, 2


@compile_kernel
def _sum_views(image, views, sines, cosines, x, y, kind, distance, magnified, start, pitch, top, bottom):  # type: ignore[no-untyped-def]
    """Add each pixel's value in every view, for rows ``top`` to ``bottom`` of one image: (y, x), (view, element)."""
    last = views.shape[1] - 1.0
    one, dx = image.dtype.type(1), (x[len(x) - 1] - x[0]) / max(len(x) - 1, 1)
    for view in range(views.shape[0]):
        profile, sine, cosine = views[view], sines[view], cosines[view]
        for j in range(top, bottom):
            row = image[j]
            if kind == PARALLEL:
                # Outside these pixels the shadow is not on the detector.
                begin, step = (-y[j] * sine - start + x[0] * cosine) / pitch + 1.0, dx * cosine / pitch
                low, high = inside(begin, step, last, len(x))
                for i in range(low, high):
                    at = begin + i * step
                    k = np.int64(at)
                    before = profile[k]
                    row[i] += before + image.dtype.type(at - k) * (profile[k + 1] - before)
            else:
                for i in range(len(x)):
                    across, depth = x[i] * cosine - y[j] * sine, distance + x[i] * sine + y[j] * cosine
                    if kind == FLAT:
                        shadow, weight = across / depth * magnified, (distance / depth) ** 2
                    else:
                        shadow = math.atan(across / depth) * magnified
                        weight = 1.0 / (across * across + depth * depth)
                    at = min(max((shadow - start) / pitch + 1.0, 0.0), last)
                    k = min(np.int64(at), views.shape[1] - 2)
                    share = image.dtype.type(at - k)
                    value = (one - share) * profile[k] + share * profile[k + 1]
                    row[i] += image.dtype.type(weight) * value


@compile_kernel
def _sum_views_lanes(image, views, sines, cosines, x, y, kind, distance, magnified, start, pitch, top, bottom):  # type: ignore[no-untyped-def]
    """`_sum_views` for several images at once: (y, x, image), (view, element, image)."""
    last = views.shape[1] - 1.0
    for left in range(0, len(x), _TILE):
        right = min(left + _TILE, len(x))
        for view in range(views.shape[0]):
            profile, sine, cosine = views[view], sines[view], cosines[view]
            for j in range(top, bottom):
                for i in range(left, right):
                    across, weight = x[i] * cosine - y[j] * sine, 1.0
                    shadow = across
                    if kind != PARALLEL:
                        depth = distance + x[i] * sine + y[j] * cosine
                        if kind == FLAT:
                            shadow, weight = across / depth * magnified, (distance / depth) ** 2
                        else:
                            shadow = math.atan(across / depth) * magnified
                            weight = 1.0 / (across * across + depth * depth)
                    at = min(max((shadow - start) / pitch + 1.0, 0.0), last)
                    k = min(np.int64(at), views.shape[1] - 2)
                    upper = image.dtype.type((at - k) * weight)
                    lower = image.dtype.type(weight) - upper
                    pixel, before, after = image[j, i], profile[k], profile[k + 1]
                    for m in range(image.shape[2]):
                        pixel[m] += lower * before[m] + upper * after[m]


def sum_views(
    padded: Tensor,
    angles: Tensor,
    shape: tuple[int, int],
    spacing: tuple[float, float],
    shadow: tuple[int, float, float],
    start: float,
    pitch: float,
) -> Tensor:
    """Backproject filtered views.

    Parameters
    ----------
    padded : Tensor, shape (image, angle, detector + 2)
        float32 or float64, on the processor, with a zero at either end of a view.
    angles : Tensor, float64, shape (angle,)
    shape, spacing
        Of the image ``(y, x)``.
    shadow : tuple
        `PARALLEL`, `FLAT` or `CURVED`, and the distances of the source to the axis and to the detector in mm.
    start, pitch : float
        Position of the first element and distance of the elements in mm.

    Returns
    -------
    Tensor, shape (image, y, x)
    """
    (rows, columns), (dy, dx) = shape, spacing
    x, y = (centred(columns) * dx).numpy(), (centred(rows) * dy).numpy()
    geometry = (angles.sin().numpy(), angles.cos().numpy(), x, y, *shadow, start, pitch)
    result = padded.new_empty(len(padded), rows, columns)
    for part, lanes in together(len(padded)):
        given = padded[part]
        kernel: Any
        if lanes == 1:
            image, height = padded.new_zeros(rows, columns), _ROWS
            kernel, arrays = _sum_views, (image.numpy(), given[0].contiguous().numpy())
        else:
            image, height = padded.new_zeros(rows, columns, lanes), _TILE
            views = padded.new_zeros(*given.shape[1:], lanes)
            views[..., : len(given)] = given.permute(1, 2, 0)
            kernel, arrays = _sum_views_lanes, (image.numpy(), views.numpy())
        bands = [(kernel, (*arrays, *geometry, top, min(top + height, rows))) for top in range(0, rows, height)]
        in_threads(bands, rows * columns * len(angles) * lanes)
        result[part] = image if lanes == 1 else image[..., : len(given)].permute(2, 0, 1)
    return result
