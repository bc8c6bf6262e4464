"""Means over square windows, cut off at the edge, as one small matrix per axis: products of matrices are quick."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

#: Rows or columns that are found at once, from those near to them: far from them the matrix is zero.
AT_ONCE = 64


@lru_cache(maxsize=32)
def averaging(size: int, radius: int) -> Tensor:
    """Mean over ``2 radius + 1`` pixels of an axis, as a matrix (size, size); do not change it."""
    position = torch.arange(size)
    inside = ((position - position.unsqueeze(1)).abs() <= radius).float()
    return inside / inside.sum(dim=1, keepdim=True)


def mean_nearby(images: Tensor, radius: int) -> Tensor:
    """Mean over a window of ``2 radius + 1`` pixels a side.

    Parameters
    ----------
    images : Tensor, shape (..., y, x)
        Real.
    radius : int

    Returns
    -------
    Tensor, shape (..., y, x)
    """
    along_y, along_x = (averaging(size, radius).to(images) for size in images.shape[-2:])
    rows = [along_y[part, near] @ images[..., near, :] for part, near in _parts(len(along_y), radius)]
    half = torch.cat(rows, dim=-2)
    return torch.cat([half[..., near] @ along_x[part, near].T for part, near in _parts(len(along_x), radius)], dim=-1)


def _parts(size: int, radius: int) -> Iterator[tuple[slice, slice]]:
    """Parts of an axis, and what lies within a radius of each."""
    for start in range(0, size, AT_ONCE):
        stop = min(size, start + AT_ONCE)
        yield slice(start, stop), slice(max(0, start - radius), stop + radius)
