"""The class behind `to_sigpy`, in a file of its own because it inherits from SigPy's."""

from __future__ import annotations

import sigpy

from medinr.operators.adapters.arrays import Array, apply_to_array
from medinr.operators.base import LinearOperator


class Bridge(sigpy.linop.Linop):  # type: ignore[misc]
    """A medinr operator as a SigPy linear operator."""

    def __init__(self, operator: LinearOperator) -> None:
        self.operator = operator
        super().__init__(operator.range.shape, operator.domain.shape, repr_str=operator.name)

    def _apply(self, x: Array) -> Array:
        return apply_to_array(self.operator, x)

    def _adjoint_linop(self) -> Bridge:
        return Bridge(self.operator.H)
