"""The last step of half-quadratic splitting: how much of the denoised image, and how much of the data.

The last image is denoised once more, and data consistency brings it back to the measurement with the regularisation
weight of the least expected error. Stein's unbiased risk estimate (Stein 1981, for images Ramani, Blu & Unser 2008)
gives that error, in what was measured, without a reference:

    ``|A x - y|^2_P - n + 2 df``,   ``df = E <P b, A x(y + b) - A x(y)> / |b|^2`` (per component)

with the degrees of freedom ``df`` by a Monte-Carlo divergence: the step is done a second time with a little more noise
``b`` in the data. Where the model holds, the residual of the result is that of so many degrees of freedom,
``|A x - y|^2_P = n - df``: noise of the measurement is not reproduced, however much of it there is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

#: Noise that is added to the data for the divergence, relative to their own.
PERTURBATION = 0.1

#: Iterations at the end that are repeated for the divergence.
FOLLOWED = 8

#: Share of the weight of least risk that is taken: the risk is that of the whole image, air included, and flat; bodies
#: of simulated slices and held-out lines of a real scan prefer a little more of the data.
SHARE = 0.7

#: Regularisation weights between which the best is looked for, their resolution, and how often, at most.
LEAST_WEIGHT, MOST_WEIGHT, RESOLUTION, EVALUATIONS = 1e-3, 1e3, 0.3, 8


class Balanced(Protocol):
    """A data-consistency step that can choose its regularisation weight."""

    def solve(self, denoised: Tensor, level: float) -> Tensor:
        """Image that is consistent with the data, near a denoised one."""

    def perturbed(self, generator: torch.Generator) -> Balanced:
        """The same of data with a little more noise (`PERTURBATION`)."""

    def balance(self, denoised: Tensor, level: float, other: Balanced, other_denoised: Tensor) -> Tensor:
        """Image near a denoised one, with the weight of the least expected error; ``other`` is the perturbed step."""


def balanced_step(
    consistency: Balanced,
    denoise: Callable[[Tensor, float, int], Tensor],
    kept: tuple[int, Tensor],
    image: Tensor,
    levels: list[float],
) -> Tensor:
    """Denoise the last image once more and bring it back to the data as far as these are worth it.

    Parameters
    ----------
    consistency : Balanced
    denoise : callable
        Of image, noise level and number of the iteration.
    kept : (int, Tensor)
        An iteration, `FOLLOWED` ones before the end or the first, and the denoised image that its data consistency
        started from: from there on they are repeated with other data. Earlier ones depend on the noise too, but little
        of that is left.
    image : Tensor, shape of the image
        What the last data-consistency step gave.
    levels : list of float
        Noise level of each iteration.

    Returns
    -------
    Tensor, shape of the image
    """
    first, other_denoised = kept
    other = consistency.perturbed(torch.Generator().manual_seed(0))
    for iteration in range(first, len(levels)):
        other_denoised = denoise(other.solve(other_denoised, levels[iteration]), levels[iteration], iteration)
    last = len(levels) - 1
    return consistency.balance(denoise(image, levels[last], last), levels[last], other, other_denoised)


def least_risk(risk: Callable[[float], float]) -> float:
    """Find the regularisation weight at which a smooth function of it is least.

    Parameters
    ----------
    risk : callable
        Of a weight.
    """
    found = minimize_scalar(
        lambda exponent: risk(math.exp(exponent)),
        bounds=(math.log(LEAST_WEIGHT), math.log(MOST_WEIGHT)),
        method="bounded",
        options={"xatol": RESOLUTION, "maxiter": EVALUATIONS},
    )
    return math.exp(float(found.x))
