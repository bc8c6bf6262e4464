"""Conjugate gradients on least-squares problems (CGLS; Björck, Elfving & Strakos, SIAM J. Matrix Anal. 1998)."""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.solve.preconditioner import Preconditioner
from medinr.solve.problem import Problem

#: Iterations end when the gradient has shrunk by this factor. Single-coil k-space, where ``A^H P A`` has one eigenvalue
#: besides zero, is there after one.
TOLERANCE = 1e-3


def cgls(
    problem: Problem,
    residual: Tensor,
    iterations: int,
    *,
    weight: Tensor | None = None,
    regularisation: float = 0.0,
    preconditioner: Preconditioner | None = None,
    residual_tolerance: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Find the change ``d`` of an image: ``argmin |A d - residual|^2_weight + regularisation |d|^2``.

    Conjugate gradients on the least-squares problem itself: what stays unexplained comes with the change, and the
    operator is not applied again to know it.

    Parameters
    ----------
    problem : Problem
        For ``A`` and its adjoint.
    residual : Tensor, shape of the data
    iterations : int
        At most.
    weight : Tensor, shape of the data, optional
        Real, not negative; 1 by default.
    regularisation : float
        0 or more; above 0 where a preconditioner is given.
    preconditioner : Preconditioner, optional
        Gradients are then measured as it does.
    residual_tolerance : float, optional
        Iterations end when the residual has shrunk by this factor. By default they end when the gradient has shrunk by
        `TOLERANCE`.

    Returns
    -------
    change : Tensor, shape of the image
        ``d``.
    unexplained : Tensor, shape of the data
        ``residual - A d``.
    """
    # Without weights the products are squared norms, which need no array of their own.
    product = _squared_norm if weight is None and preconditioner is None and not regularisation else _product
    gradient = problem.adjoint(residual if weight is None else weight * residual)
    direction = step = gradient if preconditioner is None else preconditioner(gradient, regularisation)
    change = torch.zeros_like(gradient)
    energy = product(gradient, step)
    floor = TOLERANCE**2 * float(energy)
    residual_floor = 0.0 if residual_tolerance is None else residual_tolerance**2 * float(product(residual, residual))
    for _ in range(iterations):
        if residual_tolerance is None:
            if float(energy) <= floor:
                break
        elif float(product(residual, residual)) <= residual_floor:
            break
        seen = problem.predict(direction)
        curvature = product(seen, seen, weight)
        if regularisation:
            curvature = curvature + regularisation * product(direction, direction)
        length = energy / curvature
        change = change + length * direction
        residual = residual - length * seen
        gradient = problem.adjoint(residual if weight is None else weight * residual)
        gradient = gradient - regularisation * change if regularisation else gradient
        step = gradient if preconditioner is None else preconditioner(gradient, regularisation)
        previous, energy = energy, product(gradient, step)
        direction = step + (energy / previous) * direction
    return change, residual


def _product(one: Tensor, other: Tensor, weight: Tensor | None = None) -> Tensor:
    products = one.real * other.real + one.imag * other.imag if one.is_complex() else one * other
    return (products if weight is None else weight * products).sum()


def _squared_norm(one: Tensor, other: Tensor, weight: Tensor | None = None) -> Tensor:
    squared: Tensor = torch.linalg.vector_norm(one).square()
    return squared
