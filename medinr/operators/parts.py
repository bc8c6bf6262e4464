"""Large batches in parts of a few images."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def in_parts(function: Callable[[Tensor], Tensor], x: Tensor, axes: int, together: int) -> Tensor:
    """Apply a function of a batch to parts of it: what lies between its steps then stays in the cache.

    Parameters
    ----------
    function : callable
        Takes and gives a batch with one leading dimension; given a small batch, that batch as it is.
    x : Tensor
        Any leading dimensions and ``axes`` trailing ones.
    axes : int
    together : int
        Images that stay together; at least one does.
    """
    batch, image = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
    if math.prod(batch) <= max(1, together):
        return function(x)
    joined = torch.cat([function(part) for part in x.reshape(-1, *image).split(max(1, together))])
    return joined.reshape(*batch, *joined.shape[1:])
