"""Coarse grids for projections: high noise levels leave no detail that would want small pixels.

A projection along the same rays costs less on larger pixels, and so does the denoiser. Coarse to fine is an old way in
tomography (Oh, Milstein, Bouman & Webb, IEEE TIP 14, 2005); here the noise level says when the pixels become smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from medinr.operators import Projector
from medinr.solve.problem import Problem

#: How many times as large the pixels become, at most, and how few there are along a side, at least.
LARGEST, FEWEST = 4, 64


def stages(problem: Problem, levels: Sequence[float], coarse_above: float, full: int) -> list[tuple[int, int, int]]:
    """Cut the iterations of a reconstruction where its pixels become smaller.

    Parameters
    ----------
    problem : Problem
    levels : sequence of float
        Noise level of each iteration.
    coarse_above : float
        See `medinr.solve.half_quadratic.PlugAndPlaySettings`.
    full : int
        Iterations at the end that have the problem's own pixels, at least.

    Returns
    -------
    list of (int, int, int)
        How many times as large the pixels are, the first iteration, and the one after the last.
    """
    factors = [_factor(problem, level, coarse_above) for level in levels]
    factors[-full:] = [1] * len(factors[-full:])
    starts = [k for k, factor in enumerate(factors) if k == 0 or factor != factors[k - 1]]
    return [(factors[a], a, b) for a, b in zip(starts, [*starts[1:], len(factors)], strict=True)]


def _factor(problem: Problem, level: float, coarse_above: float) -> int:
    if not coarse_above or not isinstance(problem.operator, Projector) or problem.complex_image:
        return 1
    factor = 1
    while factor < LARGEST and level > factor * coarse_above and min(problem.shape) >= 2 * factor * FEWEST:
        factor *= 2
    return factor


def on_coarser_grid(problem: Problem, factor: int) -> Problem:
    """The same projection of an image with larger pixels.

    Parameters
    ----------
    problem : Problem
        With a `medinr.operators.Projector`.
    factor : int
        How many times as large the pixels are.
    """
    if factor == 1:
        return problem
    assert isinstance(problem.operator, Projector)
    operator = problem.operator.coarser(factor)
    return replace(problem, operator=operator, spacing=operator.spacing)


def resampled(image: Tensor, problem: Problem, other: Problem) -> Tensor:
    """Bring an image from the grid of one problem to that of another, by cubic interpolation.

    Parameters
    ----------
    image : Tensor, shape (y, x)
        Real.
    problem, other : Problem
        On grids with the same middle.

    Returns
    -------
    Tensor, shape of the other problem's image
    """
    if problem.shape == other.shape:
        return image
    axes = (
        _positions(*sizes) for sizes in zip(problem.shape, problem.spacing, other.shape, other.spacing, strict=True)
    )
    y, x = torch.meshgrid(*axes, indexing="ij")
    points = torch.stack([x, y], dim=-1).to(image)
    found = grid_sample(image[None, None], points[None], mode="bicubic", padding_mode="border", align_corners=False)
    return found[0, 0]


def _positions(size: int, spacing: float, wanted: int, other_spacing: float) -> Tensor:
    """Middles of an axis' wanted pixels, in halves of the length of the axis that is there."""
    return (torch.arange(wanted, dtype=torch.float64) - (wanted - 1) / 2) * (2 * other_spacing / (size * spacing))
