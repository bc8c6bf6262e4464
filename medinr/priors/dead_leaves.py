"""Synthetic images of overlapping discs, which teach a denoiser flat regions and edges of every contrast.

The dead-leaves model (Matheron 1968; Lee, Mumford & Huang, IJCV 2001) has the statistics of natural images. A denoiser
that has seen it too is less at a loss with anatomy, or a phantom, that no training scan shows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Fewest and most ellipses in a patch.
FEWEST, MOST = 3, 28

#: Smallest semi-axis in pixels; the largest is half a patch.
SMALLEST = 2.0

#: Least contrast of ellipses in an image of brightness about one.
FAINTEST = 0.01

#: How far an ellipse moves from slice to slice at most, in pixels along each axis.
SHIFT = 2.0

#: Width of an edge in pixels.
EDGE = 0.8

#: Largest brightness.
BRIGHTEST = 1.2


def dead_leaves(size: int, slices: int, generator: torch.Generator) -> Tensor:
    """Draw neighbouring slices of ellipses that move from slice to slice.

    Parameters
    ----------
    size : int
        Pixels per side.
    slices : int
    generator : torch.Generator

    Returns
    -------
    Tensor, shape (slices, size, size)
        0 to `BRIGHTEST`.
    """
    base, faint, many = torch.rand(3, generator=generator).tolist()
    image = torch.full((slices, size, size), 0.8 * base)
    contrast = FAINTEST ** (1.0 - faint)
    at = torch.arange(float(size))
    offset = torch.arange(float(slices))[:, None, None] - slices // 2
    for _ in range(FEWEST + int((MOST - FEWEST) * many)):
        y, x, long, short, angle, value, down, right = torch.rand(8, generator=generator).tolist()
        a = SMALLEST + long**2 * size / 2
        b = a * (0.3 + 0.7 * short)
        dy = at[:, None] - y * size - offset * SHIFT * (2 * down - 1)
        dx = at[None, :] - x * size - offset * SHIFT * (2 * right - 1)
        cosine, sine = math.cos(math.pi * angle), math.sin(math.pi * angle)
        radius = torch.hypot((dy * cosine + dx * sine) / a, (dx * cosine - dy * sine) / b)
        inside = ((1.0 - radius) * b / EDGE + 0.5).clamp(0.0, 1.0)
        brightness = min(BRIGHTEST, max(0.0, 0.8 * base + contrast * (2 * value - 1)))
        image += inside * (brightness - image)
    return image
