"""The range of a line inside a grid, compiled."""

from __future__ import annotations

import numpy as np

from medinr.operators.compiling import compile_kernel


@compile_kernel
def inside(begin, step, last, count):  # type: ignore[no-untyped-def]
    """Range of ``i`` below ``count`` with ``0 <= begin + i step < last``."""
    low, high = 0, count
    if step != 0.0:
        ends = (-begin / step, (last - begin) / step)
        low = max(0, min(np.int64(min(max(min(ends), -1.0), count + 1.0)) - 1, count))
        high = min(count, max(np.int64(min(max(max(ends), -1.0), count + 1.0)) + 2, 0))
    while low < high and not 0.0 <= begin + low * step < last:
        low += 1
    while high > low and not 0.0 <= begin + (high - 1) * step < last:
        high -= 1
    return low, high
