"""Ordered subsets: a scan cut into interleaved views, for iterations that use one part each."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from medinr.errors import GeometryError
from medinr.operators.ct.projector import Projector

P = TypeVar("P", bound=Projector)


class Subset(NamedTuple, Generic[P]):
    """Some views of a scan.

    Attributes
    ----------
    operator : Projector
        Their projection.
    indices : Tensor of int64, shape (view,)
        Their positions along the angle axis of the whole sinogram: ``sinogram[..., indices, :]``.
    """

    operator: P
    indices: Tensor


def subsets(projector: P, count: int) -> tuple[Subset[P], ...]:
    """Cut a scan into subsets of interleaved views (Hudson & Larkin 1994).

    Subset ``m`` has the views ``m, m + count, m + 2 count, ...``; every view is in one of them. The subsets
    are projectors of their own that share nothing with the whole, so each can be used in a thread or process
    of its own.

    Parameters
    ----------
    projector : Projector
        With the views in the order of acquisition, or of angle.
    count : int
        Number of subsets.

    Returns
    -------
    tuple of Subset

    Raises
    ------
    GeometryError
        If there are not between 1 and as many subsets as views.

    Examples
    --------
    >>> from medinr.operators import ParallelBeam
    >>> for part, views in subsets(ParallelBeam((8, 8), (1, 1), [0.0, 0.5, 1.0, 1.5, 2.0]), 2):
    ...     print(part, views.tolist())
    ParallelBeam: (8, 8) -> (3, 12) [0, 2, 4]
    ParallelBeam: (8, 8) -> (2, 12) [1, 3]
    """
    views = projector.range.shape[0]
    if not 1 <= count <= views:
        raise GeometryError(f"subsets wants between 1 and {views} subsets of {views} views; got {count}.")
    indices = (torch.arange(start, views, count) for start in range(count))
    return tuple(Subset(projector.select(index), index) for index in indices)
