"""Slices that have nothing to do with one another, at once: short operations share a processor badly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch

Result = TypeVar("Result")


class StoppedError(Exception):
    """Raised in the other slices when one has failed or the run was interrupted; nobody sees it."""


def each_side_by_side(
    positions: Sequence[int], work: Callable[[int, Callable[[], None]], Result], slices: int
) -> Generator[tuple[int, Result], None, None]:
    """Work on as many slices at once as torch has threads, which they share evenly.

    Parameters
    ----------
    positions : sequence of int
        Slices to do.
    work : callable
        Given a position and a function without arguments, which it is to call every now and then: it raises when there
        is no need to go on.
    slices : int
        Of the measurement. It alone decides how many threads each has, so that a slice that is done again on its own
        has the same bits.

    Yields
    ------
    position : int
    result
        As soon as it is there.
    """
    threads = torch.get_num_threads()
    workers = max(1, min(threads, slices))
    stopped = threading.Event()

    def proceed() -> None:
        if stopped.is_set():
            raise StoppedError

    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        waiting = {pool.submit(work, position, proceed): position for position in positions}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
