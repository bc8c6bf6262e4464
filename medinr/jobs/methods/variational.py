"""Total variation and its like in the units of an image, whatever the noise."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from medinr.baselines import denoise_magnitude, total_variation
from medinr.operators import Rician
from medinr.solve.problem import Problem


def tv_image(
    problem: Problem,
    weight: float,
    iterations: int,
    method: Callable[..., Tensor] = total_variation,
    fitted: Tensor | None = None,
) -> Tensor:
    """Reconstruct by total variation, or by `medinr.baselines.generalised_variation`.

    Parameters
    ----------
    problem : Problem
    weight : float
        In units of the noise.
    iterations : int
    method : callable
    fitted : Tensor of bool, shape of the data, optional
        Measurements to use, where they are no magnitudes; all by default.

    Returns
    -------
    Tensor, shape (y, x)
    """
    if isinstance(problem.noise, Rician):
        return denoise_magnitude(problem.data, problem.noise, weight, iterations=iterations, method=method)
    _, precision = problem.noise.surrogate(problem.data, problem.data)
    return method(
        problem.data,
        problem.operator,
        weight,
        precision=precision if fitted is None else precision * fitted,
        iterations=iterations,
        nonnegative=not problem.complex_image,
    )
