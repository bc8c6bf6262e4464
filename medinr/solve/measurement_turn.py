"""The measurement's turn: the image near what the prior gave that explains the measurement best.

    ``x <- argmin 1/2 |A x - y|^2_P + strength / (2 s^2) |x - v|^2``

It is linear and solved by conjugate gradients from ``v``; for noise that is not Gaussian the data term is its quadratic
surrogate at the current image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.solve.preconditioner import Preconditioner
from medinr.solve.problem import Problem

#: Conjugate gradients end when the gradient of the linear step has shrunk by this factor. Single-coil k-space,
#: where ``A^H P A`` has one eigenvalue besides zero, is there after one step.
TOLERANCE = 1e-3


class MeasurementTurn:
    """The measurement's turns of one problem.

    Parameters
    ----------
    problem : Problem
    strength : float
        Weight of what the prior gave.
    inner : int
        Conjugate-gradient steps, at most.
    precondition : float
        Noise level below which a `Preconditioner` is used; measured when first wanted.
    fitted : Tensor of bool, shape of the data, optional
        Measurements to use; all by default.
    stands_for : float
        Measurements that each of these stands for, where the problem is a part of another.
    """

    def __init__(
        self,
        problem: Problem,
        strength: float,
        inner: int,
        precondition: float,
        fitted: Tensor | None = None,
        stands_for: float = 1.0,
    ) -> None:
        self.problem = problem
        self._strength, self._inner, self._fitted = strength, inner, fitted
        self._below, self._stands_for = precondition, stands_for
        self._preconditioner: Preconditioner | None = None

    def explain(self, denoised: Tensor, prediction: Tensor | None, level: float) -> tuple[Tensor, Tensor]:
        """Take a turn.

        Parameters
        ----------
        denoised : Tensor, shape (y, x)
            ``v``, in network units.
        prediction : Tensor, shape of the data, optional
            What the image before would have given, for noise that is not Gaussian; that of ``v`` where it is not known.
        level : float
            Noise level ``s`` of the turn.

        Returns
        -------
        image : Tensor, shape (y, x)
        prediction : Tensor, shape of the data
            What it would give.
        """
        problem = self.problem
        predicted = problem.predict(denoised)
        target, precision = problem.noise.surrogate(predicted if prediction is None else prediction, problem.data)
        weight = precision if self._stands_for == 1 else self._stands_for * precision
        weight = weight if self._fitted is None else weight * self._fitted
        preconditioner = self._measured_once(weight) if level < self._below else None
        residual = target - predicted
        pull = self._strength / level**2
        change, residual = explain_residual(problem, weight, pull, residual, self._inner, preconditioner)
        return denoised + change, target - residual

    def _measured_once(self, weight: Tensor) -> Preconditioner:
        if self._preconditioner is None:
            # Later weights differ little, and with any of them the steps lead to the same image.
            self._preconditioner = Preconditioner.measured(self.problem, weight)
        return self._preconditioner


def explain_residual(
    problem: Problem,
    weight: Tensor,
    pull: float,
    residual: Tensor,
    iterations: int,
    preconditioner: Preconditioner | None = None,
) -> tuple[Tensor, Tensor]:
    """Find the change of the image that explains a residual: ``argmin |A d - residual|^2_weight + pull |d|^2``.

    Conjugate gradients on the least-squares problem itself (CGLS; Björck, Elfving & Strakos 1998), so that what
    stays unexplained comes with the change and nobody applies the operator again to know it.

    Parameters
    ----------
    problem : Problem
        For ``A`` and its adjoint.
    weight : Tensor, shape of the data
        Real, not negative.
    pull : float
        Above 0.
    residual : Tensor, shape of the data
    iterations : int
        At most; it ends when the gradient has shrunk by `TOLERANCE`.
    preconditioner : Preconditioner, optional
        Gradients are then measured as it does.

    Returns
    -------
    change : Tensor, shape (y, x)
        ``d``.
    unexplained : Tensor, shape of the data
        ``residual - A d``.
    """
    slope = problem.adjoint(weight * residual)
    direction = way = slope if preconditioner is None else preconditioner(slope, pull)
    change = torch.zeros_like(slope)
    energy = _product(slope, way)
    floor = TOLERANCE**2 * float(energy)
    for _ in range(iterations):
        if float(energy) <= floor:
            break
        seen = problem.predict(direction)
        step = energy / (_product(seen, seen, weight) + pull * _product(direction, direction))
        change = change + step * direction
        residual = residual - step * seen
        slope = problem.adjoint(weight * residual) - pull * change
        way = slope if preconditioner is None else preconditioner(slope, pull)
        previous, energy = energy, _product(slope, way)
        direction = way + (energy / previous) * direction
    return change, residual


def _product(one: Tensor, other: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    products = one.real * other.real + one.imag * other.imag if one.is_complex() else one * other
    return (weight * products).sum()
