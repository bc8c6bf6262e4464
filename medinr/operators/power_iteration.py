"""The largest eigenvalue of a symmetric, non-negative map, by power iteration."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def largest_eigenvalue(apply: Callable[[Tensor], Tensor], start: Tensor, iterations: int) -> float:
    """Estimate it from below.

    Parameters
    ----------
    apply : callable
        The map, such as ``A^H P A``.
    start : Tensor
        Any image that is not orthogonal to the eigenvector, such as noise.
    iterations : int

    Returns
    -------
    float
        0 where the map takes the start, or what became of it, to zero.
    """
    value = float(torch.linalg.vector_norm(start))
    for _ in range(iterations):
        if value == 0.0:
            break
        start = apply(start / torch.linalg.vector_norm(start))
        value = float(torch.linalg.vector_norm(start))
    return value
