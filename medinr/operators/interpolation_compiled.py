"""Linear interpolation between two grids without a matrix, compiled: the fast way on the processor.

As in `medinr.operators.joseph_compiled`, only `medinr.operators.affine_resampling` imports this file, when it is first
asked for, and threads never write to the same place: reading, each has rows of the target of its own; spreading, each
has whole images. The places in the source are worked out on the way, so that nothing as large as a volume is kept.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.operators.joseph_compiled import compile_kernel, in_threads


@compile_kernel
def _snapped(at, rounding):  # type: ignore[no-untyped-def]
    nearest = np.rint(at)
    return nearest if abs(at - nearest) < rounding else at


@compile_kernel
def _place(begin, steps, i, rounding):  # type: ignore[no-untyped-def]
    z, y, x = begin[0] + steps[0, 2] * i, begin[1] + steps[1, 2] * i, begin[2] + steps[2, 2] * i
    return _snapped(z, rounding), _snapped(y, rounding), _snapped(x, rounding)


@compile_kernel
def _gather(image, out, origin, steps, lines, rounding, first, last):  # type: ignore[no-untyped-def]
    """Read rows ``first`` to ``last`` of the target (z y, x) at their places in the source (z, y, x)."""
    depth, height, width = image.shape
    one, zero = image.dtype.type(1), image.dtype.type(0)
    for row in range(first, last):
        begin = origin + steps[:, 0] * (row // lines) + steps[:, 1] * (row % lines)
        for i in range(out.shape[1]):
            z, y, x = _place(begin, steps, i, rounding)
            m, j, k = math.floor(z), math.floor(y), math.floor(x)
            total = zero
            if -1 <= m < depth and -1 <= j < height and -1 <= k < width:
                back, down, right = image.dtype.type(z - m), image.dtype.type(y - j), image.dtype.type(x - k)
                inside = 0 <= j < height - 1 and 0 <= k < width - 1
                for behind in range(2):
                    weight = back if behind else one - back
                    if weight == zero or not 0 <= m + behind < depth:
                        continue
                    plane = image[m + behind]
                    if inside:
                        above = (one - right) * plane[j, k] + right * plane[j, k + 1]
                        below = (one - right) * plane[j + 1, k] + right * plane[j + 1, k + 1]
                        total += weight * ((one - down) * above + down * below)
                        continue
                    for under in range(2):
                        for beside in range(2):
                            if 0 <= j + under < height and 0 <= k + beside < width:
                                part = (down if under else one - down) * (right if beside else one - right)
                                total += weight * part * plane[j + under, k + beside]
            out[row, i] = total


@compile_kernel
def _scatter(image, data, origin, steps, lines, rounding):  # type: ignore[no-untyped-def]
    """Transpose of `_gather`: add each value to the voxels around its place."""
    depth, height, width = image.shape
    one = image.dtype.type(1)
    for row in range(data.shape[0]):
        begin = origin + steps[:, 0] * (row // lines) + steps[:, 1] * (row % lines)
        for i in range(data.shape[1]):
            z, y, x = _place(begin, steps, i, rounding)
            m, j, k = math.floor(z), math.floor(y), math.floor(x)
            if not (-1 <= m < depth and -1 <= j < height and -1 <= k < width):
                continue
            back, down, right = image.dtype.type(z - m), image.dtype.type(y - j), image.dtype.type(x - k)
            for behind in range(2):
                weight = (back if behind else one - back) * data[row, i]
                if not 0 <= m + behind < depth:
                    continue
                for under in range(2):
                    for beside in range(2):
                        if 0 <= j + under < height and 0 <= k + beside < width:
                            part = (down if under else one - down) * (right if beside else one - right)
                            image[m + behind, j + under, k + beside] += weight * part


class CompiledInterpolation:
    """Reading a source at the places of a target, and the transpose, in float32 or float64.

    Parameters
    ----------
    source, target : tuple of int
        ``(z, y, x)``.
    origin : ndarray, shape (3,)
        Index ``(z, y, x)`` in the source of the target's first voxel.
    steps : ndarray, shape (3, 3)
        What a step along each axis of the target adds to it, in columns.
    rounding : float
        Places this close to a voxel are its own.
    """

    def __init__(
        self,
        source: tuple[int, int, int],
        target: tuple[int, int, int],
        origin: NDArray[np.float64],
        steps: NDArray[np.float64],
        rounding: float,
    ) -> None:
        self._source, self._target = source, target
        self._places = (origin, steps, target[1], rounding)

    def forward(self, images: Tensor) -> Tensor:
        """Read: (image, source voxel) -> (image, target voxel)."""
        result = images.new_empty(len(images), math.prod(self._target))
        rows = self._target[0] * self._target[1]
        pieces = math.ceil(4 * torch.get_num_threads() / max(1, len(images)))
        edges = np.linspace(0, rows, min(rows, pieces) + 1).astype(int).tolist()
        tasks = []
        for image, out in zip(images, result, strict=True):
            pair = image.reshape(self._source).numpy(), out.reshape(rows, -1).numpy()
            tasks += [(_gather, (*pair, *self._places, first, last)) for first, last in itertools.pairwise(edges)]
        in_threads(tasks, result.numel())
        return result

    def backward(self, images: Tensor) -> Tensor:
        """Apply the transpose: (image, target voxel) -> (image, source voxel)."""
        result = images.new_zeros(len(images), math.prod(self._source))
        rows = self._target[0] * self._target[1]
        tasks: list[tuple[Any, tuple[Any, ...]]] = []
        for data, out in zip(images, result, strict=True):
            tasks.append((_scatter, (out.reshape(self._source).numpy(), data.reshape(rows, -1).numpy(), *self._places)))
        in_threads(tasks, images.numel())
        return result
