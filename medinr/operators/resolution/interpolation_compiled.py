"""Linear interpolation between two grids without a matrix, compiled for the processor.

`medinr.operators.resolution.affine_resampling` imports this file for the first product. In the forward
product each thread has rows of the target of its own; in the transpose each has whole images. Positions in the source
are computed on the fly, so that nothing as large as a volume is stored.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medinr.operators.compiling import compile_kernel, in_threads, shares
from medinr.operators.line_compiled import inside
from medinr.operators.linear_map import spacious


@compile_kernel
def _along(steps, axis):  # type: ignore[no-untyped-def]
    """Return a step along an axis of the target, in source voxels; as numbers, since arrays would cost memory."""
    return steps[0, axis], steps[1, axis], steps[2, axis]


@compile_kernel
def _begin(origin, steps, plane, line):  # type: ignore[no-untyped-def]
    """Return the place of a row's first voxel."""
    (az, ay, ax), (bz, by, bx) = _along(steps, 0), _along(steps, 1)
    return origin[0] + az * plane + bz * line, origin[1] + ay * plane + by * line, origin[2] + ax * plane + bx * line


@compile_kernel
def _places(begin, step, low, shape, index, back, down, right):  # type: ignore[no-untyped-def]
    """Flat index of the voxel before each place from ``low`` on, and how far the place is from it along each axis."""
    dz, dy, dx = step
    z, y, x = begin[0] + dz * low, begin[1] + dy * low, begin[2] + dx * low
    for i in range(len(index)):
        # By rounding the last position may be slightly beyond the range of `inside`.
        j, k = min(np.int64(y + dy * i), shape[1] - 2), min(np.int64(x + dx * i), shape[2] - 2)
        down[i], right[i] = y + dy * i - j, x + dx * i - k
        index[i] = j * shape[2] + k
    if shape[0] > 1:
        for i in range(len(index)):
            m = min(np.int64(z + dz * i), shape[0] - 2)
            back[i] = z + dz * i - m
            index[i] += m * shape[1] * shape[2]


@compile_kernel
def _between(voxels, at, below, down, right):  # type: ignore[no-untyped-def]
    """Value between four voxels of a plane, of which the first is ``at`` and the one below it ``below`` further."""
    # Unsigned: counting from the end, which NumPy's indices do, would double the time.
    one = np.uint64(1)
    first, second = voxels[at], voxels[at + below]
    upper = first + right * (voxels[at + one] - first)
    lower = second + right * (voxels[at + below + one] - second)
    return upper + down * (lower - upper)


@compile_kernel
def _share(voxels, at, below, down, right, value):  # type: ignore[no-untyped-def]
    """Transpose of `_between`."""
    one = np.uint64(1)
    lower = down * value
    upper = value - lower
    voxels[at] += upper - right * upper
    voxels[at + one] += right * upper
    voxels[at + below] += lower - right * lower
    voxels[at + below + one] += right * lower


@compile_kernel
def _at_rim(image, z, y, x, value, spread):  # type: ignore[no-untyped-def]
    """Read at any place, or spread a value to the voxels around it; there are none beyond the border."""
    m, j, k = math.floor(z), math.floor(y), math.floor(x)
    total = image.dtype.type(0)
    for back in range(max(m, 0), min(m + 2, image.shape[0])):
        for down in range(max(j, 0), min(j + 2, image.shape[1])):
            for right in range(max(k, 0), min(k + 2, image.shape[2])):
                weight = image.dtype.type((1 - abs(z - back)) * (1 - abs(y - down)) * (1 - abs(x - right)))
                if spread:
                    image[back, down, right] += weight * value
                elif weight > 0:
                    total += weight * image[back, down, right]
    return total


@compile_kernel
def _parts(begin, step, shape, count):  # type: ignore[no-untyped-def]
    """Range of a row of the target inside the source, and range with source voxels on all sides.

    Places in the one plane of a two-dimensional source have to lie between four of them only.
    """
    start, end, low, high = 0, count, 0, count
    for axis in range(3):
        first, last = inside(begin[axis] + 1.0, step[axis], shape[axis] + 1.0, count)
        start, end = max(start, first), min(end, last)
        if shape[axis] > 1:
            first, last = inside(begin[axis], step[axis], shape[axis] - 1.0, count)
            low, high = max(low, first), min(high, last)
        elif axis > 0 or begin[axis] != 0.0 or step[axis] != 0.0:
            high = 0
    end = max(start, end)
    return start, end, min(low, end), max(min(low, end), high)


@compile_kernel
def _gather(image, out, origin, steps, lines, first, last):  # type: ignore[no-untyped-def]
    """Read rows ``first`` to ``last`` of the target (z y, x) at their places in the source (z, y, x)."""
    count, step, zero = out.shape[1], _along(steps, 2), image.dtype.type(0)
    index, beyond = np.empty(count, np.int64), np.zeros((3, count), image.dtype)
    back, down, right = beyond[0], beyond[1], beyond[2]
    voxels, below, behind = image.ravel(), np.uint64(image.shape[2]), np.uint64(image.shape[1] * image.shape[2])
    for row in range(first, last):
        z, y, x = begin = _begin(origin, steps, row // lines, row % lines)
        start, end, low, high = _parts(begin, step, image.shape, count)
        out[row, :start] = zero
        out[row, end:] = zero
        for i in range(start, low):
            out[row, i] = _at_rim(image, z + step[0] * i, y + step[1] * i, x + step[2] * i, zero, False)
        line = out[row, low:high]
        _places(begin, step, low, image.shape, index[: len(line)], back, down, right)
        for i in range(len(line)):
            line[i] = _between(voxels, np.uint64(index[i]), below, down[i], right[i])
        if image.shape[0] > 1:
            for i in range(len(line)):
                if back[i] != zero:
                    other = _between(voxels, np.uint64(index[i]) + behind, below, down[i], right[i])
                    line[i] += back[i] * (other - line[i])
        for i in range(high, end):
            out[row, i] = _at_rim(image, z + step[0] * i, y + step[1] * i, x + step[2] * i, zero, False)


@compile_kernel
def _scatter(image, data, origin, steps, lines):  # type: ignore[no-untyped-def]
    """Transpose of `_gather`: add each value to the voxels around its place."""
    count, step, zero = data.shape[1], _along(steps, 2), image.dtype.type(0)
    index, beyond = np.empty(count, np.int64), np.zeros((3, count), image.dtype)
    back, down, right = beyond[0], beyond[1], beyond[2]
    voxels, below, behind = image.ravel(), np.uint64(image.shape[2]), np.uint64(image.shape[1] * image.shape[2])
    for row in range(data.shape[0]):
        z, y, x = begin = _begin(origin, steps, row // lines, row % lines)
        start, end, low, high = _parts(begin, step, image.shape, count)
        for i in range(start, low):
            _at_rim(image, z + step[0] * i, y + step[1] * i, x + step[2] * i, data[row, i], True)
        line = data[row, low:high]
        _places(begin, step, low, image.shape, index[: len(line)], back, down, right)
        for i in range(len(line)):
            value = back[i] * line[i]
            _share(voxels, np.uint64(index[i]), below, down[i], right[i], line[i] - value)
            if value != zero:
                _share(voxels, np.uint64(index[i]) + behind, below, down[i], right[i], value)
        for i in range(high, end):
            _at_rim(image, z + step[0] * i, y + step[1] * i, x + step[2] * i, data[row, i], True)


class CompiledInterpolation:
    """Reading a source at the places of a target, and the transpose, in float32 or float64.

    Parameters
    ----------
    source, target : tuple of int
        ``(z, y, x)`` each, or ``(y, x)`` each.
    origin : ndarray, shape (3,)
        Index ``(z, y, x)`` in the source of the target's first voxel.
    steps : ndarray, shape (3, 3)
        What a step along each axis of the target adds to it, in columns.
    """

    def __init__(
        self,
        source: tuple[int, ...],
        target: tuple[int, ...],
        origin: NDArray[np.float64],
        steps: NDArray[np.float64],
    ) -> None:
        self._axes = len(source)
        self._source, self._target = (1, *source)[-3:], (1, *target)[-3:]
        self._places = (origin, steps, self._target[1])

    def forward(self, images: Tensor) -> Tensor:
        """Read images of the source's shape at the places of the target."""
        result = spacious((*images.shape[: -self._axes], *self._target[-self._axes :]), images)
        sources, targets = self._arrays(images, result)
        tasks: list[tuple[Any, tuple[Any, ...]]] = [
            (_gather, (image, out, *self._places, *part))
            for part in shares(self._target[0] * self._target[1], len(sources))
            for image, out in zip(sources, targets, strict=True)
        ]
        in_threads(tasks, result.numel())
        return result

    def backward(self, images: Tensor) -> Tensor:
        """Spread images of the target's shape over the source, the transpose."""
        result = spacious((*images.shape[: -self._axes], *self._source[-self._axes :]), images).zero_()
        sources, targets = self._arrays(result, images)
        tasks: list[tuple[Any, tuple[Any, ...]]] = [
            (_scatter, (image, data, *self._places)) for image, data in zip(sources, targets, strict=True)
        ]
        in_threads(tasks, images.numel())
        return result

    def _arrays(self, source: Tensor, target: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
        rows = self._target[0] * self._target[1]
        return (
            source.contiguous().numpy().reshape(-1, *self._source),
            target.contiguous().numpy().reshape(-1, rows, self._target[2]),
        )
