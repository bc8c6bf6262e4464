"""Checks of solutions that are handed to Python code: what failed is a warning."""

from __future__ import annotations

import warnings

from medinr.solve.solution import Solution


def checked(solution: Solution, where: str = "") -> Solution:
    """Return a solution, and warn of its checks that failed; ``where`` names the slice."""
    for check in solution.checks:
        if not check.passed:
            warnings.warn(f"{where}{check.words}", stacklevel=4)
    return solution
