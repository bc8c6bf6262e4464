"""Threads that each compute alone: several pieces of work side by side instead of one piece cut up.

Cutting every small product among threads makes them wait for one another hundreds of times a second, and moves a
piece from one core's cache to another's in between. A thread that keeps its piece from the first product to the last
waits once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def _compute_alone() -> None:
    torch.set_num_threads(1)


class Workers:
    """As many threads as PyTorch may use when they are made.

    Attributes
    ----------
    count : int
    """

    def __init__(self) -> None:
        self.count = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self.count, initializer=_compute_alone) if self.count > 1 else None

    def map(self, work: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
        """Do jobs side by side; results in the order of the jobs.

        ``work`` runs without gradient, and PyTorch is left with as many threads as before.
        """
        alone = torch.no_grad()(work)
        if self._pool is None or len(jobs) == 1:
            return [alone(job) for job in jobs]
        # The matrix library keeps one number of threads for the whole process.
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return list(self._pool.map(alone, jobs))
        finally:
            torch.set_num_threads(before)
