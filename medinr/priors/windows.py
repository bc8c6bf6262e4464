"""Means over square windows, cut off at the edge: one small matrix per axis, because matrix products are fast."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from medinr.banded import multiply_banded


@lru_cache(maxsize=32)
def averaging_matrix(size: int, radius: int) -> Tensor:
    """Mean over ``2 radius + 1`` pixels of an axis, as a matrix (size, size); it is cached, so do not change it."""
    position = torch.arange(size)
    inside = ((position - position.unsqueeze(1)).abs() <= radius).float()
    return inside / inside.sum(dim=1, keepdim=True)


def window_mean(images: Tensor, radius: int) -> Tensor:
    """Mean over a window of ``2 radius + 1`` pixels a side.

    Parameters
    ----------
    images : Tensor, shape (..., y, x)
        Real.
    radius : int
        Half the window in pixels. At the edge the mean is over the part of the window that lies inside.

    Returns
    -------
    Tensor, shape (..., y, x)
    """
    along_y, along_x = (averaging_matrix(size, radius).to(images) for size in images.shape[-2:])
    return multiply_banded(along_x, radius, multiply_banded(along_y, radius, images, -2), -1)
