"""SigPy: operators for its apps, and its linear operators as ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from medinr.errors import ShapeError
from medinr.operators.adapters.arrays import each, to_array, to_tensor
from medinr.operators.adapters.libraries import require
from medinr.operators.base import LinearOperator, Space
from medinr.operators.linear_map import linear_map

if TYPE_CHECKING:
    from medinr.operators.adapters.sigpy_linop import Bridge


def to_sigpy(operator: LinearOperator) -> Bridge:
    """Wrap an operator for SigPy's solvers.

    Parameters
    ----------
    operator : LinearOperator
        SigPy's NumPy arrays share their memory with the tensors of an operator on the CPU, and are copied to and
        from another device. They have no batch dimension.

    Returns
    -------
    sigpy.linop.Linop
        From ``operator.domain.shape`` to ``operator.range.shape``, in the precision of its input.

    Raises
    ------
    LibraryError
        Without SigPy.
    """
    require("sigpy", "sigpy", "to_sigpy")
    from medinr.operators.adapters.sigpy_linop import Bridge

    return Bridge(operator)


def from_sigpy(linop: Any, kind: str = "complex") -> LinearOperator:
    """Make an operator of a SigPy linear operator.

    Parameters
    ----------
    linop : sigpy.linop.Linop
        On NumPy arrays; applied image by image.
    kind : {"complex", "real", "any"}
        What it takes and gives, which SigPy does not declare; most of its operators return complex arrays.

    Returns
    -------
    LinearOperator
        On the CPU; results have the precision of the input.

    Raises
    ------
    LibraryError
        Without SigPy.
    ShapeError
        If it is not a SigPy operator.
    """
    sigpy = require("sigpy", "sigpy", "from_sigpy")
    if not isinstance(linop, sigpy.linop.Linop):
        raise ShapeError(f"from_sigpy wants a sigpy.linop.Linop; got {type(linop).__name__}.")
    return _FromSigpy(linop, kind)


class _FromSigpy(LinearOperator):
    def __init__(self, linop: Any, kind: str) -> None:
        self.linop = linop
        self.domain, self.range = Space(tuple(linop.ishape), kind), Space(tuple(linop.oshape), kind)

    @property
    def name(self) -> str:
        return f"FromSigpy({self.linop.repr_str})"

    def _apply(self, x: Tensor) -> Tensor:
        return linear_map(x, self._forward, self._backward)

    def _adjoint(self, y: Tensor) -> Tensor:
        return linear_map(y, self._backward, self._forward)

    def _forward(self, x: Tensor) -> Tensor:
        return each(_on_tensors(self.linop), x, self.domain.shape)

    def _backward(self, y: Tensor) -> Tensor:
        return each(_on_tensors(self.linop.H), y, self.range.shape)


def _on_tensors(linop: Any) -> Callable[[Tensor], Tensor]:
    def apply(value: Tensor) -> Tensor:
        result = to_tensor(linop(to_array(value)), value.device)
        precision = value.dtype.to_real()
        return result.to(precision.to_complex() if result.is_complex() else precision)

    return apply
