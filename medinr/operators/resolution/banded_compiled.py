"""A matrix with few neighbouring weights per row, times volumes, compiled for the processor.

`medinr.operators.resolution.along_axis` imports this file for the first product. Each thread has columns of
its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.operators.compiling import compile_kernel, in_threads, shares
from medinr.operators.linear_map import spacious

#: Columns that are multiplied together: as many rows as have weights stay in the cache.
_TILE = 4096

#: Groups of four products that take as long as one interpolated value.
_LIGHT = 16


@compile_kernel
def _multiply(matrix, low, fours, x, out, first, last):  # type: ignore[no-untyped-def]
    """Columns ``first`` to ``last`` of a product; row ``j`` of the matrix has ``fours[j]`` groups of weights.

    The groups have four weights each and begin at ``low[j]``. Beyond the last row of ``x`` the weights are zero.
    """
    top = len(x) - 1
    for begin in range(first, last, _TILE):
        end = min(begin + _TILE, last)
        for j in range(out.shape[0]):
            line = out[j, begin:end]
            for four in range(fours[j]):
                k = low[j] + 4 * four
                u, v, w, z = matrix[j, k], matrix[j, k + 1], matrix[j, k + 2], matrix[j, k + 3]
                a, b = x[k, begin:end], x[min(k + 1, top), begin:end]
                c, d = x[min(k + 2, top), begin:end], x[min(k + 3, top), begin:end]
                if four == 0:
                    for i in range(len(line)):
                        line[i] = u * a[i] + v * b[i] + w * c[i] + z * d[i]
                else:
                    for i in range(len(line)):
                        line[i] += u * a[i] + v * b[i] + w * c[i] + z * d[i]


class BandedRows:
    """Multiply volumes by a matrix whose rows have few neighbouring weights.

    Parameters
    ----------
    matrix : Tensor, shape (rows, k)
        Zeros before the first and after the last weight of a row cost nothing.
    dtype : torch.dtype
        Of the volumes, float32 or float64.
    """

    def __init__(self, matrix: Tensor, dtype: torch.dtype) -> None:
        weights = torch.nn.functional.pad(matrix.to(dtype=dtype, device="cpu"), (0, 3)).numpy()
        some = weights != 0
        low, high = some.argmax(1), some.shape[1] - some[:, ::-1].argmax(1)
        self._table = weights, low, np.where(some.any(1), -(-(high - low) // 4), 1)

    def __call__(self, x: Tensor) -> Tensor:
        """Multiply each volume: (volume, k, columns) -> (volume, rows, columns)."""
        columns, fours = x.shape[-1], self._table[2]
        result = spacious((len(x), len(fours), columns), x)
        tasks: list[tuple[Any, tuple[Any, ...]]] = [
            (_multiply, (*self._table, volume, out, *part))
            for volume, out in zip(x.numpy(), result.numpy(), strict=True)
            for part in shares(columns, len(x), _TILE)
        ]
        in_threads(tasks, int(fours.sum()) * columns * len(x) // _LIGHT)
        return result
