"""What loops compiled for the processor share: the compiler, the threads they run on, and the way along a line.

Only this file imports numba. Operators import a file of loops when they are first asked for a product; the machine
code is cached on disk, compiling it takes a few seconds, once.

Threads never write to the same place, so results repeat bit by bit on any number of them. They are those of the
caller's process, as many as torch uses, started for one product and gone after it: forked and threaded callers are
safe.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import numba
import numpy as np
import torch

#: Interpolated values below which starting threads takes longer than the work.
_SMALL = 200_000


def compile_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop over arrays, cached on disk where that is possible."""
    # Sums may be reordered, but NaN and infinity keep their meaning.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to cache in
        compiled = numba.njit(**options)(function)
    return compiled


def in_threads(tasks: list[tuple[Callable[..., None], tuple[Any, ...]]], work: int) -> None:
    """Call each function with its arguments, on as many threads as torch uses.

    ``work`` is the number of interpolated values: a few are not worth starting threads for.
    """
    threads = min(torch.get_num_threads(), len(tasks)) if work >= _SMALL else 1
    waiting = iter(tasks)
    failed: list[BaseException] = []

    def work_off() -> None:
        try:
            for function, arguments in waiting:
                function(*arguments)
        except BaseException as error:
            failed.append(error)

    # The caller's thread works too, and no pool is built: starting threads takes as long as a small product.
    others = [Thread(target=work_off) for _ in range(threads - 1)]
    for other in others:
        other.start()
    work_off()
    for other in others:
        other.join()
    if failed:
        raise failed[0]


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
