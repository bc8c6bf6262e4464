"""Small problems as matrices, to be solved directly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medinr.operators import Gaussian, birdcage_maps, undersampled_fourier
from medinr.solve.problem import Problem


def coils(complex_image: bool = True, scale: float = 2.0) -> Problem:
    """Undersampled k-space of three coils in double precision."""
    operator = undersampled_fourier((8, 6), [1, 3, 4, 6], birdcage_maps((8, 6), 3).to(torch.complex128))
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(operator.range.shape, generator=generator, dtype=torch.complex128)
    return Problem(data, operator, Gaussian(0.3), (1.0, 1.0), complex_image, scale)


def flat(value: Tensor) -> Tensor:
    """Real parts, then imaginary ones if there are any."""
    return torch.cat([value.real.reshape(-1), value.imag.reshape(-1)]) if value.is_complex() else value.reshape(-1)


def matrix_of(problem: Problem) -> Tensor:
    """``A`` in units of the solver, as a real matrix on `flat` images, to `flat` data."""
    kind = torch.complex128 if problem.complex_image else torch.float64
    units = torch.eye(math.prod(problem.shape), dtype=torch.float64)
    factors = (1.0, 1.0j) if problem.complex_image else (1.0,)
    images = [(factor * unit).to(kind).reshape(problem.shape) for factor in factors for unit in units]
    return torch.stack([flat(problem.predict(image)) for image in images], dim=1)


def exact_change(problem: Problem, weight: Tensor, regularisation: float, residual: Tensor) -> Tensor:
    """The `flat` change that `medinr.solve.krylov.cgls` should find, from its normal equations."""
    matrix = matrix_of(problem)
    weights = flat(torch.complex(weight, weight)) if residual.is_complex() else flat(weight)
    normal = matrix.T @ (weights.unsqueeze(1) * matrix)
    normal = normal + regularisation * torch.eye(matrix.shape[1], dtype=torch.float64)
    return torch.linalg.solve(normal, matrix.T @ (weights * flat(residual)))
