"""A weight for each sample or pixel."""

from __future__ import annotations

from torch import Tensor

from medinr.operators.base import LinearOperator, Space


class Weighting(LinearOperator):
    """Point-wise multiplication by real or complex weights: masks, statistical weights, density compensation.

    Parameters
    ----------
    weights : Tensor
        Its shape is the shape of both spaces; complex weights make both spaces complex.
    """

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        kind = "complex" if weights.is_complex() else "any"
        self.domain = self.range = Space(tuple(weights.shape), kind)

    def _cast(self, like: Tensor) -> Tensor:
        if self.weights.is_complex():
            return self.weights.to(like.dtype)
        return self.weights.to(like.real.dtype if like.is_complex() else like.dtype)

    def _apply(self, x: Tensor) -> Tensor:
        return self._cast(x) * x

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._cast(y).conj() * y
