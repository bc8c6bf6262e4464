"""What a fit returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Step:
    """One row of the convergence record.

    Attributes
    ----------
    phase : {"guide", "imitate", "explain"}
        ``"guide"`` is kept where no network was fitted; of a joint fit it is only told to who watches.
    step : int
        Optimiser steps done, or turns of prior and measurement.
    planned : int
        Steps the fit does at most.
    seconds : float
        Since the start of the fit.
    residual : float
        Whitened root-mean-square residual of the fitted measurements; 1 is the noise level.
    held_out : float
        Mean negative log-likelihood of the held-out measurements; NaN when none are held out.
    rate : float
        Step-size factor.
    """

    phase: str
    step: int
    planned: int
    seconds: float
    residual: float
    held_out: float
    rate: float


@dataclass(frozen=True, eq=False)
class Solution:
    """An image and how it came about.

    Attributes
    ----------
    image : Tensor, shape (y, x)
        In the units of the problem's image; complex when the problem's image is.
    reason : str
        Why the fit stopped, in words.
    stopped_at : int
        Step whose weights made the image.
    seconds : float
        Wall time of the fit.
    residual : float
        Whitened root-mean-square residual over all measurements; about 1 when image and noise model are right.
    steps : tuple of Step
    settings : dict
    """

    image: Tensor
    reason: str
    stopped_at: int
    seconds: float
    residual: float
    steps: tuple[Step, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
