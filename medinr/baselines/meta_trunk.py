"""Meta-learned weights for coordinate networks (Tancik et al. 2021): Reptile (Nichol, Achiam & Schulman 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medinr.baselines.strainer import PublishedRecipe
from medinr.errors import ConfigError, ShapeError
from medinr.network.trunk import Trunk, TrunkSettings

#: Outer step size: share of the difference to a task's weights that is added. It falls linearly to zero, as published.
OUTER_STEP = 1.0

#: Points on which a task is fitted.
POINTS = 4096


def meta_trunk(
    images: Tensor,
    points: Tensor,
    architecture: TrunkSettings,
    *,
    iterations: int = 300,
    steps: int = 16,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Trunk:
    """Find weights from which the published recipe fits any of the images in few steps.

    ``theta <- theta + epsilon (phi - theta)``, where ``phi`` are the weights after a few Adam steps from ``theta``
    on one image. Every image gets a random head, as in the recipe.

    Parameters
    ----------
    images : Tensor, shape (n, y, x)
        Scaled intensities, about 0 to 1.
    points : Tensor, shape (y * x, 2)
        Network coordinates of their common grid.
    architecture : TrunkSettings
    iterations : int
        Number of images fitted, one after another in random order.
    steps : int
        Adam steps on each.
    seed : int
        Of weights, order, points and heads.
    progress : callable, optional
        Called after every iteration with the number of iterations done.

    Returns
    -------
    Trunk

    Raises
    ------
    ShapeError
        When images and points do not fit.
    ConfigError
        When iterations or steps are below 1.
    """
    if images.ndim != 3 or images[0].numel() != len(points):
        raise ShapeError(f"{len(points)} points were given for images of shape {tuple(images.shape)} (n, y, x).")
    if min(iterations, steps) < 1:
        raise ConfigError(f"iterations and steps must be 1 or more; got {iterations} and {steps}.")
    generator = torch.Generator().manual_seed(seed)
    trunk = Trunk(architecture, generator)
    targets = images.reshape(len(images), -1)
    for iteration in range(iterations):
        if iteration % len(images) == 0:
            order = torch.randperm(len(images), generator=generator)
        picked = torch.randperm(len(points), generator=generator)[:POINTS]
        values = targets[order[iteration % len(images)]][picked]
        task = PublishedRecipe(trunk, points[picked], values.unsqueeze(1), seed=seed + 1 + iteration)
        for _ in range(steps):
            task.step()
        share = OUTER_STEP * (1 - iteration / iterations)
        with torch.no_grad():
            for weight, learned in zip(trunk.parameters(), task.trunk.parameters(), strict=True):
                weight.lerp_(learned, share)
        if progress is not None:
            progress(iteration + 1)
    return trunk
