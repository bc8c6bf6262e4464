"""How bright an image is, from its measurement alone: denoisers and networks were trained on images of order one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from medinr.solve.problem import Problem

#: Conjugate-gradient iterations of the least-squares image; later ones fit noise.
ITERATIONS = 5

#: Samples that the quantile is taken of, at most.
MOST = 2**24

#: Quantile of the image's magnitude that becomes one.
LEVEL = 0.99


def scale_from_data(problem: Problem) -> float:
    """99th percentile of the magnitude of a least-squares image, stopped early; 1 where that is zero.

    Parameters
    ----------
    problem : Problem
        Its own scale does not matter.
    """
    from medinr.solve.krylov import cgls

    unscaled = replace(problem, scale=1.0)
    with torch.no_grad():
        image, _ = cgls(unscaled, unscaled.data, ITERATIONS)
    magnitude = image.abs().flatten().float()
    # Evenly spread samples of a large volume: torch sorts no more than this many.
    level = float(torch.quantile(magnitude[:: -(-magnitude.numel() // MOST)], LEVEL))
    return level if level > 0 else 1.0
