"""Straight rays on a pixel grid, described so that Joseph's method can walk them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rays:
    """Where each ray meets the rows or the columns of a grid (Joseph 1982), about 33 bytes per ray.

    A ray walks along the axis it is steeper to, one row (or column) ``j`` at a time, and lies there at the
    fractional column (or row) ``start + slope j``. Its line integral is ``step`` times the sum of the values
    interpolated linearly there; beyond the border the image is zero.

    Attributes
    ----------
    shape : tuple of int
        Image shape ``(y, x)``.
    down : Tensor of bool, shape (ray,)
        Whether the ray walks down the rows; otherwise it walks across the columns.
    start, slope, step : Tensor, float64, shape (ray,)
        The first two in pixels, with ``|slope| <= 1``; ``step`` in mm.
    first, last : Tensor, int32, shape (ray,)
        The half-open range of ``j`` with a pixel within reach.
    """

    shape: tuple[int, int]
    down: Tensor
    start: Tensor
    slope: Tensor
    step: Tensor
    first: Tensor
    last: Tensor

    @property
    def samples(self) -> int:
        """Interpolated values on all rays; the matrix has at most twice as many entries."""
        return int((self.last - self.first).sum(dtype=torch.int64))

    def entries(self, chosen: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Non-zero entries of the matrix rows that belong to some rays.

        Parameters
        ----------
        chosen : slice
            Of rays.

        Returns
        -------
        counts : Tensor, int64, shape (ray,)
            Pixels met by each ray.
        pixels : Tensor, int32
            Flat index of each pixel met, ray by ray.
        weights : Tensor, float64
            Its weight in mm.
        """
        rows, columns = self.shape
        down, first = self.down[chosen, None], self.first[chosen, None]
        walked = int((self.last[chosen] - self.first[chosen]).max())
        j = first + torch.arange(walked, dtype=torch.int32, device=first.device)
        across = self.start[chosen, None] + self.slope[chosen, None] * j
        lower = across.floor()
        share = across - lower
        index = torch.stack([lower, lower + 1.0], dim=-1).to(torch.int32)
        weight = torch.stack([1.0 - share, share], dim=-1)
        inside = (index >= 0) & (index < torch.where(down, columns, rows)[..., None])
        met = inside & (weight > 0) & (j < self.last[chosen, None])[..., None]
        pixel = torch.where(down[..., None], j[..., None] * columns + index, index * columns + j[..., None])
        return met.sum(dim=(1, 2)), pixel[met], (weight * self.step[chosen, None, None])[met]


def trace(angles: Tensor, offsets: Tensor, shape: tuple[int, int], spacing: tuple[float, float]) -> Rays:
    """Describe the rays ``x cos(angle) - y sin(angle) = offset`` on a grid centred at the origin.

    Parameters
    ----------
    angles : Tensor, float64, shape (ray,)
        In radians.
    offsets : Tensor, float64, shape (ray,)
        In mm.
    shape : tuple of int
        Image shape ``(y, x)``.
    spacing : tuple of float
        Pixel size ``(dy, dx)`` in mm.

    Returns
    -------
    Rays
    """
    (rows, columns), (dy, dx) = shape, spacing
    sine, cosine = angles.sin(), angles.cos()
    down = cosine.abs() / dy >= sine.abs() / dx  # more pixels per mm along y
    main, other = torch.where(down, cosine, sine), torch.where(down, sine, cosine)
    along, across = torch.where(down, dy, dx).double(), torch.where(down, dx, dy).double()
    length, width = torch.where(down, rows, columns), torch.where(down, columns, rows)
    signed = torch.where(down, offsets, -offsets)
    slope = other * along / (main * across)
    start = (signed - (length - 1) / 2 * along * other) / (main * across) + (width - 1) / 2
    # Within reach means -1 < start + slope j < width.
    level = slope == 0
    safe = torch.where(level, torch.ones_like(slope), slope)
    ends = torch.stack([(-1.0 - start) / safe, (width - start) / safe])
    within = (start > -1) & (start < width)
    low = torch.where(level, torch.where(within, 0.0, length.double()), ends.amin(0).ceil())
    high = torch.where(level, length.double(), ends.amax(0).floor() + 1.0)
    first = torch.minimum(low.clamp(min=0.0), length.double())
    last = torch.maximum(torch.minimum(high.clamp(min=0.0), length.double()), first)
    return Rays(shape, down, start, slope, along / main.abs(), first.to(torch.int32), last.to(torch.int32))


def centred(count: int) -> Tensor:
    """Positions of ``count`` neighbours one apart with their middle at zero, float64."""
    return torch.arange(count, dtype=torch.float64) - (count - 1) / 2
