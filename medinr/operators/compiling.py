"""Common parts of compiled loops: when they are used, their compiler, and their threads.

Only this file imports numba, when the first loop is compiled. Operators import a file of loops for
their first product. Compiling takes a few seconds, once; the machine code is cached on disk.

Threads never write to the same memory, so results are identical for any number of them. There are as many as torch
uses, started for one product and ended after it, so that forked and threaded callers are safe.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
from collections.abc import Callable
from threading import Thread
from typing import Any

import torch
from torch import Tensor

#: Interpolated values below which starting threads takes longer than the work.
_SMALL = 200_000


@functools.cache
def compiler_is_there() -> bool:
    """Whether numba is installed; asking does not load it."""
    return importlib.util.find_spec("numba") is not None


def loops_take(values: Tensor) -> bool:
    """Whether compiled loops can read a tensor: on the processor, in float32 or float64, or complex of these."""
    precise = values.dtype.to_real() in (torch.float32, torch.float64)
    return precise and values.device.type == "cpu" and compiler_is_there()


def compile_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop over arrays, cached on disk where that is possible."""
    import numba

    # Sums may be reordered, but NaN and infinity keep their meaning.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to cache in
        compiled = numba.njit(**options)(function)
    return compiled


def shares(length: int, batch: int, least: int = 1) -> list[tuple[int, int]]:
    """Cut each line of a batch into as many parts of ``least`` or more as give every thread two to work on."""
    parts = max(1, min(length // least, math.ceil(2 * torch.get_num_threads() / max(1, batch))))
    return list(itertools.pairwise(length * part // parts for part in range(parts + 1)))


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
