"""Variable-density Poisson-disc sampling on a grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: The smallest distance grows as ``1 + POISSON_SLOPE * radius``, radius 1 at the edge of k-space.
POISSON_SLOPE = 3.0

#: Halvings of the interval of distances; the rest of the excess is dropped at random.
BISECTIONS = 12


def poisson_disc(radius: Tensor, allowed: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Draw ``number`` grid points no closer to each other than a distance that grows with the radius.

    Dart throwing (Cook 1986) over all grid points in random order: a point that falls blocks the disc of radius
    ``s (1 + POISSON_SLOPE * radius)`` around it, and ``s`` is found by bisection. Where that is at most 1 every point
    is taken. SigPy draws with Bridson's (2007) search at positions between the grid points instead, which round to
    neighbours now and then, and bisects the slope.

    Parameters
    ----------
    radius : Tensor, shape (rows, columns)
        Distance from the centre of k-space, 1 at the edge.
    allowed : Tensor, bool, shape (rows, columns)
        Where points may be.
    number : int
        At most as many as are allowed.
    generator : torch.Generator

    Returns
    -------
    Tensor, int64, shape (number,)
        Flat indices, increasing.
    """
    rows, columns = radius.shape
    candidates = allowed.flatten().nonzero().flatten()
    order = candidates[torch.randperm(len(candidates), generator=generator)].tolist()
    relative = (1.0 + POISSON_SLOPE * radius.double()).flatten().tolist()
    densest, sparsest = 0.0, float(max(rows, columns))
    chosen = order
    for _ in range(BISECTIONS):
        scale = math.sqrt(max(densest, 0.02) * sparsest)
        thrown = _throw(order, relative, scale, rows, columns)
        if len(thrown) >= number:
            densest, chosen = scale, thrown
            if len(thrown) <= 1.01 * number:
                break
        else:
            sparsest = scale
    kept = torch.randperm(len(chosen), generator=generator)[:number]
    return torch.tensor(chosen, dtype=torch.int64)[kept].sort().values


def _throw(order: list[int], relative: list[float], scale: float, rows: int, columns: int) -> list[int]:
    """Points taken, in the order they were thrown."""
    blocked = bytearray(rows * columns)
    ones = b"\x01" * (2 * max(rows, columns) + 1)
    widths: dict[int, list[tuple[int, int]]] = {}
    taken = []
    for index in order:
        if blocked[index]:
            continue
        taken.append(index)
        square = (scale * relative[index]) ** 2
        if square <= 1.0:
            continue
        # Squared distances between grid points are whole numbers: only the next whole number below matters.
        reach = math.ceil(square) - 1
        if reach not in widths:
            high = math.isqrt(reach)
            widths[reach] = [(dy, math.isqrt(reach - dy * dy)) for dy in range(-high, high + 1)]
        y, x = divmod(index, columns)
        for dy, width in widths[reach]:
            if 0 <= y + dy < rows:
                row = (y + dy) * columns
                start, stop = row + max(x - width, 0), row + min(x + width + 1, columns)
                blocked[start:stop] = ones[: stop - start]
    return taken
