"""A meta-learned start: Reptile (Nichol, Achiam & Schulman 2018), for coordinate networks (Tancik et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medinr.baselines.strainer import PublishedRecipe
from medinr.errors import ConfigError, ShapeError
from medinr.inr.network import Trunk, TrunkSettings

#: Share of the way to a task's weights that is gone, at first; it falls linearly to zero, as published.
OUTER_STEP = 1.0

#: Points that a task is learned on.
POINTS = 4096


def meta_trunk(
    images: Tensor,
    points: Tensor,
    architecture: TrunkSettings,
    *,
    turns: int = 300,
    steps: int = 16,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Trunk:
    """Find weights from which the published recipe learns any of the images quickly.

    ``theta <- theta + epsilon (phi - theta)``, with ``phi`` what a few Adam steps on one image make of ``theta``. Every
    image gets a head drawn at random, as the recipe will draw one later.

    Parameters
    ----------
    images : Tensor, shape (n, y, x)
        Scaled intensities, about 0 to 1.
    points : Tensor, shape (y * x, 2)
        Network coordinates of their common grid.
    architecture : TrunkSettings
    turns : int
        Images looked at, one after another in random order.
    steps : int
        Adam steps on each.
    seed : int
        Of weights, order, points and heads.
    progress : callable, optional
        Called after every turn with the number of turns done.

    Returns
    -------
    Trunk

    Raises
    ------
    ShapeError
        When images and points do not fit.
    ConfigError
        When there is nothing to do.
    """
    if images.ndim != 3 or images[0].numel() != len(points):
        raise ShapeError(f"{len(points)} points were given for images of shape {tuple(images.shape)} (n, y, x).")
    if min(turns, steps) < 1:
        raise ConfigError(f"turns and steps must be 1 or more; got {turns} and {steps}.")
    generator = torch.Generator().manual_seed(seed)
    trunk = Trunk(architecture, generator)
    targets = images.reshape(len(images), -1)
    for turn in range(turns):
        if turn % len(images) == 0:
            order = torch.randperm(len(images), generator=generator)
        picked = torch.randperm(len(points), generator=generator)[:POINTS]
        values = targets[order[turn % len(images)]][picked]
        task = PublishedRecipe(trunk, points[picked], values.unsqueeze(1), seed=seed + 1 + turn)
        for _ in range(steps):
            task.step()
        share = OUTER_STEP * (1 - turn / turns)
        with torch.no_grad():
            for weight, learned in zip(trunk.parameters(), task.trunk.parameters(), strict=True):
                weight.lerp_(learned, share)
        if progress is not None:
            progress(turn + 1)
    return trunk
