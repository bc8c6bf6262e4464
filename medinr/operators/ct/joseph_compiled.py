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

#: Images below which each is walked alone: lanes are filled up to eight.
_LEAST = 7

#: Zeros on either side of each row: rays of a block that left the image early rest there.
_PAD = 2

#: Neighbouring rays that walk together through one image: where they are is computed in vectors.
_BLOCK = 32

#: A band of the image that is walked at a time should stay in the second-level cache.
_BAND_BYTES = 2**18


@compile_kernel
def _gather(image, data, ray, start, slope, step, low, high, begin, end, top, bottom):  # type: ignore[no-untyped-def]
    """Add to each ray's value its sum over a band of one image: (length, width), (ray,)."""
    most, single = image.shape[1] - 2.0, image.dtype.type
    starts, slopes, sums = np.zeros(_BLOCK), np.zeros(_BLOCK), np.zeros(_BLOCK, image.dtype)
    pixels, shares = np.zeros(_BLOCK, np.uint32), np.zeros(_BLOCK, image.dtype)
    for first in range(begin, end, _BLOCK):
        count = min(_BLOCK, end - first)
        upper, lower = bottom, top
        for m in range(count):
            starts[m], slopes[m] = start[first + m], slope[first + m]
            upper, lower = min(upper, low[first + m]), max(lower, high[first + m])
        sums[:] = 0
        for j in range(max(upper, top), min(lower, bottom)):
            row = image[j]
            for m in range(_BLOCK):
                at = min(max(starts[m] + slopes[m] * j, 0.0), most)
                pixel = np.int32(at)
                pixels[m], shares[m] = pixel, single(at - pixel)
            for m in range(_BLOCK):
                k = np.uintp(pixels[m])
                value = row[k]
                sums[m] += value + shares[m] * (row[k + np.uintp(1)] - value)
        for m in range(count):
            data[ray[first + m]] += sums[m] * single(step[first + m])


@compile_kernel
def _scatter(image, data, ray, start, slope, step, low, high, begin, end, top, bottom):  # type: ignore[no-untyped-def]
    """Transpose of `_gather`: add each ray's value to the pixels it meets in a band."""
    most, single = image.shape[1] - 2.0, image.dtype.type
    starts, slopes, values = np.zeros(_BLOCK), np.zeros(_BLOCK), np.zeros(_BLOCK, image.dtype)
    pixels, parts = np.zeros(_BLOCK, np.uint32), np.zeros(_BLOCK, image.dtype)
    for first in range(begin, end, _BLOCK):
        count = min(_BLOCK, end - first)
        upper, lower = bottom, top
        values[:] = 0
        for m in range(count):
            starts[m], slopes[m] = start[first + m], slope[first + m]
            upper, lower = min(upper, low[first + m]), max(lower, high[first + m])
            values[m] = data[ray[first + m]] * single(step[first + m])
        for j in range(max(upper, top), min(lower, bottom)):
            row = image[j]
            for m in range(_BLOCK):
                at = min(max(starts[m] + slopes[m] * j, 0.0), most)
                pixel = np.int32(at)
                pixels[m], parts[m] = pixel, single(at - pixel) * values[m]
            # Neighbouring rays meet the same pixels: taken one after another, each would wait for the one before.
            for apart in range(_BLOCK // 4):
                for quarter in range(4):
                    m = quarter * (_BLOCK // 4) + apart
                    k = np.uintp(pixels[m])
                    row[k] += values[m] - parts[m]
                    row[k + np.uintp(1)] += parts[m]


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
        for part, lanes in together(len(images), _LEAST):
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
        for part, lanes in together(len(sinograms), _LEAST):
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


def together(count: int, least: int = 2) -> list[tuple[slice, int]]:
    """Images to walk together, and the lanes to do it in: whole vectors, or each alone where they are few."""
    found = []
    for start in range(0, count, _LANES):
        stop = min(start + _LANES, count)
        few = stop - start < least
        found += [(slice(k, k + 1), 1) for k in range(start, stop)] if few else [(slice(start, stop), stop - start)]
    return [(part, lanes if lanes == 1 else 8 * math.ceil(lanes / 8)) for part, lanes in found]


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
