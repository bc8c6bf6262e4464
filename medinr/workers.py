"""Threads for independent jobs: several jobs in parallel instead of parallel loops within one.

Threads that share every small product wait for one another hundreds of times a second, and move data between the caches
of the cores. Threads that each run a whole job wait once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def _use_one_thread() -> None:
    torch.set_num_threads(1)


class Workers:
    """A pool of as many threads as PyTorch uses when it is created.

    Attributes
    ----------
    count : int
    """

    def __init__(self) -> None:
        self.count = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self.count, initializer=_use_one_thread) if self.count > 1 else None

    def map(self, work: Callable[[Job], Result], jobs: Sequence[Job]) -> list[Result]:
        """Run jobs in parallel; results are in the order of the jobs.

        ``work`` runs without gradient, and the number of PyTorch threads is restored afterwards.
        """
        without_graph = torch.no_grad()(work)
        if self._pool is None or len(jobs) == 1:
            return [without_graph(job) for job in jobs]
        # The matrix library has one number of threads for the whole process.
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return list(self._pool.map(without_graph, jobs))
        finally:
            torch.set_num_threads(before)
