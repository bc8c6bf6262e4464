"""What of an image the measurement decided, and what it left to the prior.

An image is the sum of two parts, ``x = x_seen + x_null`` with ``A x_null = 0``: the measurement of the second is
nothing, so nothing measured could have contradicted it. The first is the least-squares solution of smallest norm,

    ``x_seen = argmin_d |A d - A x|^2``, by conjugate gradients from zero (Björck, Elfving & Strakos 1998),

which never leaves the row space of ``A`` (Deal & Nolet 1996; Schwab, Antholzer & Haltmeier 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.solve.problem import Problem


@torch.no_grad()
def null_space_part(problem: Problem, image: Tensor, *, iterations: int = 200, tolerance: float = 1e-4) -> Tensor:
    """Give the part of an image that the operator does not see.

    Where the operator measures some patterns a thousand times more weakly than others, as projections do, conjugate
    gradients find those last: the part returned then also holds what is measured so weakly that noise drowns it.

    Parameters
    ----------
    problem : Problem
        For ``A`` and its adjoint; data and noise do not matter.
    image : Tensor, shape (y, x)
        In any unit; complex when the problem's image is.
    iterations : int
        Of conjugate gradients, at most.
    tolerance : float
        They end when ``|A x_null|`` is this fraction of ``|A x|``.

    Returns
    -------
    Tensor, shape (y, x)
        ``x_null`` in the unit of the image.

    Raises
    ------
    ConfigError
        When iterations or tolerance make no sense.
    """
    if iterations < 1 or not 0 < tolerance < 1:
        raise ConfigError(
            f"The null space wants iterations of 1 or more and a tolerance from 0 to 1; got {iterations}, {tolerance}."
        )
    unseen, residual = image, problem.predict(image)
    floor = tolerance**2 * float(_energy(residual))
    direction = slope = problem.adjoint(residual)
    energy = _energy(slope)
    for _ in range(iterations):
        if float(_energy(residual)) <= floor:
            break
        seen = problem.predict(direction)
        step = energy / _energy(seen)
        unseen, residual = unseen - step * direction, residual - step * seen
        slope = problem.adjoint(residual)
        previous, energy = energy, _energy(slope)
        direction = slope + (energy / previous) * direction
    return unseen


def _energy(value: Tensor) -> Tensor:
    squared: Tensor = torch.linalg.vector_norm(value).square()
    return squared
