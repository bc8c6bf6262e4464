"""Null-space part of an image: what the measurement left to the prior.

An image is the sum of two parts, ``x = x_measured + x_null`` with ``A x_null = 0``: the second does not change the
measurement, so no measured value could have contradicted it. The first is the least-squares solution of smallest norm,

    ``x_measured = argmin_d |A d - A x|^2``, by conjugate gradients from zero (Björck, Elfving & Strakos 1998),

which never leaves the row space of ``A`` (Deal & Nolet 1996; Schwab, Antholzer & Haltmeier 2019).
"""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.solve.krylov import cgls
from medinr.solve.problem import Problem


@torch.no_grad()
def null_space_part(problem: Problem, image: Tensor, *, iterations: int = 200, tolerance: float = 1e-4) -> Tensor:
    """Compute the part of an image that the operator does not measure.

    Some operators, such as projections, measure some patterns a thousand times more weakly than others. Conjugate
    gradients recover those last, so the part returned also holds what is measured far more weakly than the noise.

    Parameters
    ----------
    problem : Problem
        For ``A`` and its adjoint; data and noise do not matter.
    image : Tensor, shape (y, x)
        In any unit; complex when the problem's image is.
    iterations : int
        Largest number of conjugate-gradient iterations.
    tolerance : float
        They end when ``|A x_null|`` is this fraction of ``|A x|``.

    Returns
    -------
    Tensor, shape (y, x)
        ``x_null`` in the unit of the image.

    Raises
    ------
    ConfigError
        When iterations or tolerance are out of range.
    """
    if iterations < 1 or not 0 < tolerance < 1:
        raise ConfigError(
            f"The null space wants iterations of 1 or more and a tolerance from 0 to 1; got {iterations}, {tolerance}."
        )
    measured, _ = cgls(problem, problem.predict(image), iterations, residual_tolerance=tolerance)
    return image - measured
