"""Real matrices applied along one axis of images as matrix products; for banded ones the zeros are skipped."""

from __future__ import annotations

import torch
from torch import Tensor

#: Rows of a banded matrix that are multiplied together.
_BLOCK = 32


def multiply_along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """Apply a real matrix to one axis, counted from the end, for all others at once."""
    matrix = matrix.to(x)
    if axis == -1:
        return x @ matrix.T
    # The axes behind count as one: one product per image, without transposing.
    product: Tensor = (matrix.contiguous() @ x.flatten(axis + 1)).unflatten(-1, x.shape[axis + 1 :])
    return product


def multiply_banded(matrix: Tensor, reach: int, x: Tensor, axis: int) -> Tensor:
    """`multiply_along` for a square matrix that is zero further than ``reach`` from its diagonal."""
    size = len(matrix)
    block = max(_BLOCK, reach)
    if block + 2 * reach > size // 2:
        return multiply_along(matrix, x, axis)
    parts = []
    for first in range(0, size, block):
        low, high = max(0, first - reach), min(size, first + block + reach)
        parts.append(multiply_along(matrix[first : first + block, low:high], x.narrow(axis, low, high - low), axis))
    return torch.cat(parts, dim=axis)
