"""The state of a volume that is being solved, kept so that a run that was stopped goes on within it."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


class Unfinished(Protocol):
    """Where a solver leaves its state from time to time, and finds it again."""

    def load(self) -> tuple[int, NDArray[Any]] | None:
        """Give the steps that were done and the values after them; None where nothing is kept."""

    def save(self, done: int, values: NDArray[Any]) -> None:
        """Keep the values after so many steps, where the last time was long enough ago."""
