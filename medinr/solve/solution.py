"""What a reconstruction returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medinr.solve.checks import Check, residual_check
from medinr.volume import Affine


@dataclass(frozen=True)
class Step:
    """One row of the convergence record.

    Attributes
    ----------
    phase : {"plug_and_play", "image_domain", "measurement_domain"}
        ``"plug_and_play"`` is kept where no network was fitted; of a joint fit it is only told to who watches.
    step : int
        Optimiser steps, or iterations of plug-and-play, done.
    planned : int
        Steps at most.
    seconds : float
        Since the start.
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
    image : Tensor, shape (y, x) or (z, y, x)
        In the units of the problem's image; complex when the problem's image is.
    reason : str
        Why the reconstruction stopped, in words.
    stopped_at : int
        Step that made the image.
    seconds : float
        Wall time.
    residual : float
        Whitened root-mean-square residual over all measurements; about 1 when image and noise model are right.
    steps : tuple of Step
    settings : dict
    freedom : float or None
        Degrees of freedom of the image per measurement, where they were found (`medinr.solve.balance`).
    affine : ndarray, shape (4, 4), optional
        Index (x, y, z) to RAS mm, where it is known.
    """

    image: Tensor
    reason: str
    stopped_at: int
    seconds: float
    residual: float
    steps: tuple[Step, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    freedom: float | None = None
    affine: Affine | None = None

    @property
    def expected_residual(self) -> float | None:
        """Residual that an image of so many degrees of freedom leaves where the model is right."""
        return None if self.freedom is None else math.sqrt(max(0.0, 1.0 - self.freedom))

    @property
    def checks(self) -> tuple[Check, ...]:
        """What the result says of itself: whether its residual is that of a right model."""
        return (residual_check(self.residual),)

    @property
    def array(self) -> NDArray[Any]:
        """The image as a NumPy array."""
        return np.asarray(self.image.detach().resolve_conj().cpu().numpy())
