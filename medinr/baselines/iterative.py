"""Iterative linear reconstruction stopped early: conjugate gradients, and SIRT."""

from __future__ import annotations

import numpy as np
import sigpy
import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.operators.adapters import to_sigpy
from medinr.operators.base import LinearOperator


def least_squares(data: Tensor, operator: LinearOperator, iterations: int) -> Tensor:
    """Least squares by conjugate gradients from zero, SigPy's; with coil maps this is SENSE (Pruessmann et al. 2001).

    Parameters
    ----------
    data : Tensor, shape of ``operator.range``
    operator : LinearOperator
    iterations : int
        The number is the only regularisation: later iterations fit noise.

    Returns
    -------
    Tensor, shape of ``operator.domain``
    """
    _check(iterations)
    A = to_sigpy(operator)
    right = A.H(data.detach().resolve_conj().numpy())
    # Once the residual is rounding error, conjugate gradients diverge.
    tolerance = np.finfo(right.dtype).eps ** (2 / 3) * np.linalg.norm(right)
    solver = sigpy.alg.ConjugateGradient(A.N, right, 0 * right, max_iter=iterations, tol=tolerance)
    while not solver.done():
        solver.update()
    return torch.from_numpy(solver.x)


@torch.no_grad()
def sirt(data: Tensor, operator: LinearOperator, iterations: int, *, nonnegative: bool = True) -> Tensor:
    """Simultaneous iterative reconstruction: ``x <- x + C A^T R (y - A x)``.

    ``R`` and ``C`` are one over the row and column sums of ``A``, a matrix of path lengths (Gilbert 1972; Gregor &
    Benson, IEEE TMI 2008, equation 5). There is no step size to choose.

    Parameters
    ----------
    data : Tensor, shape of ``operator.range``
        Real.
    operator : LinearOperator
        With entries of at least 0.
    iterations : int
    nonnegative : bool
        Set negative values to zero after every iteration.

    Returns
    -------
    Tensor, shape of ``operator.domain``
    """
    _check(iterations)
    rows = operator(torch.ones(operator.domain.shape, dtype=data.dtype))
    columns = operator.H(torch.ones(operator.range.shape, dtype=data.dtype))
    # Rays outside the image and pixels outside all rays have sum zero; their weight is 0.
    r, c = (torch.where(total > 1e-6 * total.max(), 1.0 / total, torch.zeros_like(total)) for total in (rows, columns))
    x = torch.zeros(operator.domain.shape, dtype=data.dtype)
    for _ in range(iterations):
        x = x + c * operator.H(r * (data - operator(x)))
        if nonnegative:
            x = x.clamp_min(0.0)
    return x


def _check(iterations: int) -> None:
    if iterations < 1:
        raise ConfigError(f"An iterative reconstruction needs at least one iteration; got {iterations}.")
