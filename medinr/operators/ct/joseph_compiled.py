"""Joseph's projection without a matrix, compiled for the processor.

`medinr.operators.ct.projector` imports this file for the first projection; `ParallelBeam` has the times.

Projecting, each thread has rays of its own; backprojecting, each has a band of rows (or columns) of its own and walks
all rays through it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.operators.compiling import compile_kernel, in_threads
from medinr.operators.ct.rays import Rays

#: Images walked together, innermost in memory: the index arithmetic is done once for all, the sums in vectors.
_LANES = 32

#: Zeros on either side of each row; the second absorbs rounding in the range of the walk.
_PAD = 2

#: A band of the image that is walked at a time should stay in the second-level cache.
_BAND_BYTES = 2**18


@compile_kernel
def _gather(image, data, ray, start, slope, step, low, high, begin, end, top, bottom):  # type: ignore[no-untyped-def]
    """Add to each ray's value its sum over a band of one image: (length, width), (ray,)."""
    for n in range(begin, end):
        total = image.dtype.type(0)
        for j in range(max(low[n], top), min(high[n], bottom)):
            at = start[n] + slope[n] * j
            k = np.int64(at)
            value = image[j, k]
            total += value + image.dtype.type(at - k) * (image[j, k + 1] - value)
        data[ray[n]] += total * image.dtype.type(step[n])


@compile_kernel
def _scatter(image, data, ray, start, slope, step, low, high, begin, end, top, bottom):  # type: ignore[no-untyped-def]
    """Transpose of `_gather`: add each ray's value to the pixels it meets in a band."""
    for n in range(begin, end):
        value = data[ray[n]] * image.dtype.type(step[n])
        for j in range(max(low[n], top), min(high[n], bottom)):
            at = start[n] + slope[n] * j
            k = np.int64(at)
            part = image.dtype.type(at - k) * value
            image[j, k] += value - part
            image[j, k + 1] += part


@compile_kernel
def _gather_lanes(image, data, ray, start, slope, step, low, high, begin, end, top, bottom):  # type: ignore[no-untyped-def]
    """`_gather` for several images at once: (length, width, image), (ray, image)."""
    for n in range(begin, end):
        sums = data[ray[n]]
        weight = image.dtype.type(step[n])
        for j in range(max(low[n], top), min(high[n], bottom)):
            at = start[n] + slope[n] * j
            k = np.int64(at)
            upper = image.dtype.type(at - k) * weight
            lower = weight - upper
            left, right = image[j, k], image[j, k + 1]
            for m in range(image.shape[2]):
                sums[m] += lower * left[m] + upper * right[m]


@compile_kernel
def _scatter_lanes(image, data, ray, start, slope, step, low, high, begin, end, top, bottom):  # type: ignore[no-untyped-def]
    """Transpose of `_gather_lanes`."""
    for n in range(begin, end):
        values = data[ray[n]]
        weight = image.dtype.type(step[n])
        for j in range(max(low[n], top), min(high[n], bottom)):
            at = start[n] + slope[n] * j
            k = np.int64(at)
            upper = image.dtype.type(at - k) * weight
            lower = weight - upper
            left, right = image[j, k], image[j, k + 1]
            for m in range(image.shape[2]):
                left[m] += lower * values[m]
                right[m] += upper * values[m]


@dataclass(frozen=True)
class _Walk:
    """The rays that walk along one axis; ``table`` is what the kernels take."""

    down: bool
    length: int
    width: int
    table: tuple[np.ndarray[Any, Any], ...]

    @classmethod
    def of(cls, rays: Rays, down: bool) -> _Walk:
        length, width = rays.shape if down else rays.shape[::-1]
        which = (rays.down == down).nonzero().flatten()
        columns = (which, *(t[which] for t in (rays.start + _PAD, rays.slope, rays.step, rays.first, rays.last)))
        return cls(down, length, width, tuple(t.numpy() for t in columns))

    @property
    def count(self) -> int:
        return len(self.table[0])

    def bands(self, values_per_row: int, itemsize: int, least: int = 1) -> list[tuple[int, int]]:
        rows = max(1, min(_BAND_BYTES // (values_per_row * itemsize), math.ceil(self.length / least)))
        return [(top, min(top + rows, self.length)) for top in range(0, self.length, rows)]


class Compiled:
    """Projection and backprojection along some rays, on the processor, in float32 or float64.

    Parameters
    ----------
    rays : Rays
    """

    def __init__(self, rays: Rays) -> None:
        self._shape, self._samples, self._count = rays.shape, rays.samples, len(rays.start)
        walks = (_Walk.of(rays, down) for down in (True, False))
        self._walks = tuple(walk for walk in walks if walk.count)

    def forward(self, images: Tensor) -> Tensor:
        """Project: (image, pixel) -> (image, ray)."""
        result = images.new_empty(len(images), self._count)
        for part, lanes in together(len(images)):
            grid = images[part].reshape(-1, *self._shape)
            data = images.new_zeros(self._count, lanes)
            tasks = []
            for walk in self._walks:
                padded = images.new_zeros(walk.length, walk.width + 2 * _PAD, lanes)
                padded[:, _PAD:-_PAD, : len(grid)] = grid.permute(1, 2, 0) if walk.down else grid.permute(2, 1, 0)
                kernel, image, values = _kernel(padded, data, _gather, _gather_lanes)
                bands = walk.bands(image[0].size, image.itemsize)
                edges = np.linspace(0, walk.count, min(walk.count, 4 * torch.get_num_threads()) + 1).astype(int)
                pieces = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
                tasks += [(kernel, image, values, walk.table, rays, bands) for rays in pieces]
            _run(tasks, self._samples * lanes)
            result[part] = data[:, : len(grid)].T
        return result

    def backward(self, sinograms: Tensor) -> Tensor:
        """Apply the transpose: (image, ray) -> (image, pixel)."""
        result = sinograms.new_zeros(len(sinograms), *self._shape)
        for part, lanes in together(len(sinograms)):
            given = sinograms[part]
            data = sinograms.new_zeros(self._count, lanes)
            data[:, : len(given)] = given.T
            tasks, sums = [], []
            for walk in self._walks:
                padded = sinograms.new_zeros(walk.length, walk.width + 2 * _PAD, lanes)
                kernel, image, values = _kernel(padded, data, _scatter, _scatter_lanes)
                bands = walk.bands(image[0].size, image.itemsize, least=torch.get_num_threads())
                tasks += [(kernel, image, values, walk.table, (0, walk.count), [band]) for band in bands]
                inner = padded[:, _PAD:-_PAD, : len(given)]
                sums.append(inner.permute(2, 0, 1) if walk.down else inner.permute(2, 1, 0))
            _run(tasks, self._samples * lanes)
            for image in sums:
                result[part] += image
        return result.flatten(1)


_Task = tuple[Callable[..., None], Any, Any, tuple[Any, ...], tuple[int, int], list[tuple[int, int]]]


def together(count: int) -> list[tuple[slice, int]]:
    """Images to walk together, and the lanes to do it in: whole vectors, or one image alone."""
    parts = [slice(k, min(k + _LANES, count)) for k in range(0, count, _LANES)]
    return [(p, 1 if p.stop - p.start == 1 else 8 * math.ceil((p.stop - p.start) / 8)) for p in parts]


def _kernel(
    padded: Tensor, data: Tensor, single: Callable[..., None], lanes: Callable[..., None]
) -> tuple[Callable[..., None], Any, Any]:
    if padded.shape[-1] == 1:
        return single, padded[..., 0].numpy(), data[:, 0].numpy()
    return lanes, padded.numpy(), data.numpy()


def _run(tasks: list[_Task], work: int) -> None:
    in_threads([(_walk, task) for task in tasks], work)


def _walk(
    kernel: Callable[..., None],
    image: Any,
    data: Any,
    table: tuple[Any, ...],
    rays: tuple[int, int],
    bands: list[tuple[int, int]],
) -> None:
    for band in bands:
        kernel(image, data, *table, *rays, *band)
