"""Data consistency: the image near a denoised one that explains the measurement best.

    ``x <- argmin 1/2 |A x - y|^2_P + w / (2 s^2) |x - v|^2``

with ``v`` the denoised image, ``s`` the noise level of the iteration and ``w`` the regularisation weight. It is linear
and solved by conjugate gradients from ``v``; for noise that is not Gaussian the data term is its quadratic surrogate at
the current image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from medinr.solve.balance import PERTURBATION, SHARE, Balanced, least_risk
from medinr.solve.krylov import cgls
from medinr.solve.preconditioner import Preconditioner
from medinr.solve.problem import Problem
from medinr.workers import Workers


class Consistency(Protocol):
    """A data-consistency step of half-quadratic splitting, of a slice, a volume, or slices measured each on its own."""

    def solve(self, denoised: Tensor, level: float) -> Tensor:
        """Image that is consistent with the data, near a denoised one, at the noise level of the iteration."""

    def start(self) -> Tensor:
        """Image of zeros, of the right shape and kind."""

    def at(self, image: Tensor) -> None:
        """Go on from an image: surrogates of the noise are taken there next."""


class DataConsistency:
    """Data-consistency steps of one problem.

    Parameters
    ----------
    problem : Problem
    regularisation_weight : float
        Weight of the denoised image.
    cg_iterations : int
        Of conjugate gradients, at most; a quarter of them with a preconditioner.
    precondition_below : float
        Noise level below which a `Preconditioner` is used; measured when first wanted.
    fitted : Tensor of bool, shape of the data, optional
        Measurements to use; all by default.
    stands_for : float
        Measurements that each of these stands for, where the problem is a part of another. Their noise then counts for
        less than it is, so the denoised image weighs more by the root of it.

    Attributes
    ----------
    freedom : float or None
        Degrees of freedom of the image per measurement, once `balance` has found them.
    """

    def __init__(
        self,
        problem: Problem,
        regularisation_weight: float,
        cg_iterations: int,
        precondition_below: float = 0.0,
        fitted: Tensor | None = None,
        stands_for: float = 1.0,
    ) -> None:
        self.problem = problem
        self.freedom: float | None = None
        self._cg_iterations, self._fitted = cg_iterations, fitted
        self._weight, self._below, self._stands_for = regularisation_weight, precondition_below, stands_for
        self._preconditioner: Preconditioner | None = None
        self._prediction: Tensor | None = problem.data

    def start(self) -> Tensor:
        """Image of zeros."""
        return torch.zeros_like(self.problem.adjoint(self.problem.data))

    def at(self, image: Tensor) -> None:
        """Take the next surrogate of the noise at an image."""
        self._prediction = self.problem.predict(image)

    def forget(self) -> None:
        """Take the next surrogate of the noise at the denoised image: another part of the data was explained since."""
        self._prediction = None

    def solve(self, denoised: Tensor, level: float) -> Tensor:
        """Do one step.

        Parameters
        ----------
        denoised : Tensor, shape of the image
            ``v``, in solver units.
        level : float
            Noise level ``s`` of the iteration.

        Returns
        -------
        Tensor, shape of the image
        """
        target, left, precision = self._posed(denoised)
        change, unexplained = self._change(left, precision, level, self._weight * self._stands_for**0.5)
        self._prediction = target - unexplained
        return denoised + change

    def perturbed(self, generator: torch.Generator) -> DataConsistency:
        """The same of data with a little more noise, see `medinr.solve.balance`."""
        problem = self.problem
        _, precision = problem.noise.surrogate(problem.data, problem.data)
        noise = torch.randn(problem.data.shape, generator=generator, dtype=problem.data.dtype).to(problem.data.device)
        strength = PERTURBATION * (2**0.5 if noise.is_complex() else 1.0)
        sigma = torch.where(precision > 0, precision, torch.inf).rsqrt()
        data = problem.data + strength * sigma * noise
        other = DataConsistency(
            replace(problem, data=data), self._weight, self._cg_iterations, self._below, self._fitted, self._stands_for
        )
        other._prediction = self._prediction
        return other

    def balance(self, denoised: Tensor, level: float, other: Balanced, other_denoised: Tensor) -> Tensor:
        """Choose the regularisation weight by Stein's unbiased risk estimate, see `medinr.solve.balance`.

        Parameters
        ----------
        denoised, other_denoised : Tensor, shape of the image
            Of the data as they are, and as ``other`` has them.
        level : float
        other : DataConsistency
            What `perturbed` gave.

        Returns
        -------
        Tensor, shape of the image
        """
        assert isinstance(other, DataConsistency)
        added = other.problem.data - self.problem.data
        _, left, precision = self._posed(denoised)
        _, other_left, other_precision = other._posed(other_denoised)
        count = int((precision > 0).sum()) * (2 if added.is_complex() else 1)
        energy = float((precision * added.abs().square()).sum())

        def balanced(weight: float) -> tuple[Tensor, Tensor, float]:
            change, unexplained = self._change(left, precision, level, weight)
            _, more = other._change(other_left, other_precision, level, weight)
            left_over = float((precision * (added.conj() * (more - unexplained)).real).sum())
            return change, unexplained, 1 - left_over / energy

        def risk(weight: float) -> float:
            _, unexplained, freedom = balanced(weight)
            return float((precision * unexplained.abs().square()).sum()) / count + 2 * freedom

        change, _, self.freedom = balanced(SHARE * least_risk(risk))
        return denoised + change

    def _posed(self, denoised: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The data of the noise's surrogate, what of them a denoised image leaves unexplained, and their precision."""
        problem = self.problem
        predicted = problem.predict(denoised)
        before = predicted if self._prediction is None else self._prediction
        target, precision = problem.noise.surrogate(before, problem.data)
        precision = precision if self._stands_for == 1 else self._stands_for * precision
        precision = precision if self._fitted is None else precision * self._fitted
        return target, target - predicted, precision

    def _change(self, left: Tensor, precision: Tensor, level: float, weight: float) -> tuple[Tensor, Tensor]:
        """Change of the denoised image that explains what is left, and what stays unexplained then."""
        quick = level < self._below and Preconditioner.suits(self.problem)
        preconditioner = self._measured_once(precision) if quick else None
        return cgls(
            self.problem,
            left,
            self._cg_iterations if preconditioner is None else math.ceil(self._cg_iterations / 4),
            weight=precision,
            regularisation=weight / level**2,
            preconditioner=preconditioner,
        )

    def _measured_once(self, weight: Tensor) -> Preconditioner:
        if self._preconditioner is None:
            # Later weights differ little, and with any of them the iterations lead to the same image.
            self._preconditioner = Preconditioner.measured(self.problem, weight)
        return self._preconditioner


class SubsetConsistency:
    """Ordered subsets (Hudson & Larkin, IEEE TMI 1994): other views of a projection in each step, all in the last ones.

    Parameters
    ----------
    whole : DataConsistency
        With all views.
    parts : sequence of DataConsistency
        With interleaved views each.
    partial : int
        Steps that use one of the parts.
    """

    def __init__(self, whole: DataConsistency, parts: Sequence[DataConsistency], partial: int) -> None:
        self._whole, self._parts, self._partial = whole, parts, partial
        self._done, self._previous = 0, whole

    @property
    def freedom(self) -> float | None:
        """Degrees of freedom, see `DataConsistency`."""
        return self._whole.freedom

    def start(self) -> Tensor:
        """Image of zeros."""
        return self._whole.start()

    def at(self, image: Tensor) -> None:
        """Take the next surrogate of the noise at an image."""
        self._whole.at(image)

    def solve(self, denoised: Tensor, level: float) -> Tensor:
        """Do the next step."""
        step = self._parts[self._done % len(self._parts)] if self._done < self._partial else self._whole
        if step is not self._previous:
            # A prediction of other views, or one from long ago, is of no use.
            step.forget()
        self._done, self._previous = self._done + 1, step
        return step.solve(denoised, level)

    def perturbed(self, generator: torch.Generator) -> DataConsistency:
        """All views with a little more noise, see `medinr.solve.balance`."""
        return self._whole.perturbed(generator)

    def balance(self, denoised: Tensor, level: float, other: Balanced, other_denoised: Tensor) -> Tensor:
        """Choose the regularisation weight for all views, see `DataConsistency.balance`."""
        return self._whole.balance(denoised, level, other, other_denoised)


class SliceBySlice:
    """Data consistency of slices that were measured each on its own, side by side.

    Parameters
    ----------
    slices : sequence of DataConsistency
        In the order in which the slices lie.
    workers : Workers
    """

    def __init__(self, slices: Sequence[DataConsistency], workers: Workers) -> None:
        self._slices, self._workers = slices, workers

    @property
    def freedom(self) -> list[float | None]:
        """Degrees of freedom of each slice, see `DataConsistency`."""
        return [part.freedom for part in self._slices]

    def start(self) -> Tensor:
        """Volume ``(z, y, x)`` of zeros."""
        return torch.stack([part.start() for part in self._slices])

    def at(self, image: Tensor) -> None:
        """Take the next surrogates of the noise at the slices of a volume."""
        for part, plane in zip(self._slices, image, strict=True):
            part.at(plane)

    def solve(self, denoised: Tensor, level: float) -> Tensor:
        """Do one step of every slice; shape (z, y, x)."""
        pairs = list(zip(self._slices, denoised, strict=True))
        return torch.stack(self._workers.map(lambda pair: pair[0].solve(pair[1], level), pairs))

    def perturbed(self, generator: torch.Generator) -> SliceBySlice:
        """Slices with a little more noise each, see `medinr.solve.balance`."""
        return SliceBySlice([part.perturbed(generator) for part in self._slices], self._workers)

    def balance(self, denoised: Tensor, level: float, other: Balanced, other_denoised: Tensor) -> Tensor:
        """Choose the regularisation weight of every slice, see `DataConsistency.balance`; shape (z, y, x)."""
        assert isinstance(other, SliceBySlice)
        pairs = list(zip(self._slices, denoised, other._slices, other_denoised, strict=True))
        return torch.stack(self._workers.map(lambda pair: pair[0].balance(pair[1], level, *pair[2:]), pairs))
