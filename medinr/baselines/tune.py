"""Tuning of one hyper-parameter for all scans of a task, on training subjects only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from torch import Tensor

from medinr.errors import ConfigError

Case = TypeVar("Case")

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True)
class Trial:
    """A weight that was tried, with the score of every training case."""

    weight: float
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the cases."""
        return float(np.mean(self.scores))


@dataclass(frozen=True)
class Tuning:
    """The chosen weight and every trial, by increasing weight."""

    weight: float
    trials: tuple[Trial, ...]

    def __str__(self) -> str:
        lines = [
            f"{trial.weight:12.4g}  {trial.mean:7.3f}{'  <- chosen' if trial.weight == self.weight else ''}"
            for trial in self.trials
        ]
        return "\n".join(["      weight     mean", *lines])


def tune_weight(
    cases: Sequence[Case],
    solve: Callable[[Case, float], Tensor],
    score: Callable[[Case, Tensor], float],
    weights: Sequence[float],
    *,
    refinements: int = 4,
    extensions: int = 4,
) -> Tuning:
    """Pick the weight with the best mean score over training cases.

    A logarithmic grid first, extended where its best weight is its first or last, so that no baseline suffers from a
    short grid; then golden-section steps in the logarithm around the best (Kiefer 1953).

    Parameters
    ----------
    cases : sequence
        Training cases, as ``solve`` and ``score`` take them.
    solve : callable
        ``solve(case, weight)`` reconstructs.
    score : callable
        ``score(case, image)``, larger is better, such as PSNR in dB.
    weights : sequence of float
        At least two, positive, increasing.
    refinements : int
        Golden-section evaluations after the grid.
    extensions : int
        Largest number of steps by which the grid is extended.

    Returns
    -------
    Tuning

    Raises
    ------
    ConfigError
        When there is no case or the weights are no increasing positive grid.
    """
    grid = [float(weight) for weight in weights]
    if not cases:
        raise ConfigError("A weight is chosen on training cases; got none.")
    if len(grid) < 2 or grid[0] <= 0 or any(b <= a for a, b in pairwise(grid)):
        raise ConfigError(f"A weight grid is increasing, positive and has at least two values; got {grid}.")
    tried: dict[float, Trial] = {}

    def value(weight: float) -> float:
        if weight not in tried:
            tried[weight] = Trial(weight, tuple(score(case, solve(case, weight)) for case in cases))
        return tried[weight].mean

    for weight in grid:
        value(weight)
    _extend(grid, value, extensions)
    best = max(range(len(grid)), key=lambda index: value(grid[index]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    _golden_section(value, math.log(low), math.log(high), refinements)
    chosen = max(tried.values(), key=lambda trial: trial.mean)
    return Tuning(chosen.weight, tuple(tried[weight] for weight in sorted(tried)))


def _extend(grid: list[float], value: Callable[[float], float], extensions: int) -> None:
    """Extend the grid, in place, beyond an end that is its best."""
    for _ in range(extensions):
        best = max(grid, key=value)
        if best == grid[0]:
            grid.insert(0, grid[0] ** 2 / grid[1])
        elif best == grid[-1]:
            grid.append(grid[-1] ** 2 / grid[-2])
        else:
            return
        value(grid[0])
        value(grid[-1])


def _golden_section(value: Callable[[float], float], low: float, high: float, evaluations: int) -> None:
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    for _ in range(max(evaluations - 1, 0)):
        if value(math.exp(left)) >= value(math.exp(right)):
            high, right = right, left
            left = high - _GOLDEN * (high - low)
        else:
            low, left = left, right
            right = low + _GOLDEN * (high - low)
