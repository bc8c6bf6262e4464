"""SciPy: operators as matrices that are never formed, for `scipy.sparse.linalg`; matrices as operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators.adapters.arrays import Array, apply_to_array, to_array, to_tensor
from medinr.operators.adapters.libraries import require
from medinr.operators.base import LinearOperator, Space
from medinr.operators.linear_map import linear_map

if TYPE_CHECKING:
    from scipy.sparse import linalg


def to_scipy(operator: LinearOperator, dtype: DTypeLike | None = None) -> linalg.LinearOperator:
    """Wrap an operator for SciPy's solvers, such as `lsmr`.

    Images become vectors in row-major order; several columns are one batch.

    Parameters
    ----------
    operator : LinearOperator
    dtype : dtype, optional
        Of the vectors. complex128 if not given, or float64 where image or data are real. With a real dtype, a
        complex image or measurement is a vector twice as long, real and imaginary part of each value side by side
        (``vector.view(complex)``): the adjoint of the real matrix is the same one.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Of shape ``(range, domain)``, numbers of values.

    Raises
    ------
    LibraryError
        Without SciPy.
    ShapeError
        For a complex dtype and an operator on real images or to real data.
    """
    scipy = require("scipy.sparse.linalg", "scipy", "to_scipy")
    kinds = (operator.domain.kind, operator.range.kind)
    if dtype is None:
        dtype = np.complex128 if "complex" in kinds and "real" not in kinds else np.float64
    dtype = np.dtype(dtype)
    if dtype.kind not in "fc":
        raise ShapeError(f"to_scipy wants a real or complex floating-point dtype; got {dtype}.")
    if dtype.kind == "c" and "real" in kinds:
        raise ShapeError(f"{operator!r} is not complex; ask for to_scipy(operator, dtype='float64') or none.")
    forward, backward = _Columns(operator, dtype), _Columns(operator.H, dtype)
    wrapped: linalg.LinearOperator = scipy.LinearOperator(
        shape=(backward.size, forward.size),
        matvec=forward,
        rmatvec=backward,
        matmat=forward,
        rmatmat=backward,
        dtype=dtype,
    )
    return wrapped


class _Columns:
    """An operator on the columns of an array ``(values, columns)``, or on one vector."""

    def __init__(self, operator: LinearOperator, dtype: np.dtype[Any]) -> None:
        self.operator, self.dtype = operator, dtype
        self.pairs = operator.domain.kind == "complex" and dtype.kind == "f"
        self.size = math.prod(operator.domain.shape) * (2 if self.pairs else 1)

    def __call__(self, columns: Array) -> Array:
        rows = np.ascontiguousarray(columns.reshape(self.size, -1).T, dtype=self.dtype)
        if self.pairs:
            rows = rows.view(np.result_type(self.dtype, np.complex64))
        result = apply_to_array(self.operator, rows.reshape(-1, *self.operator.domain.shape))
        flat = np.ascontiguousarray(result.reshape(len(result), -1))
        vectors = flat.view(self.dtype) if self.dtype.kind == "f" and np.iscomplexobj(flat) else flat
        return vectors[0] if columns.ndim == 1 else vectors.T


def from_scipy(matrix: Any, domain: Sequence[int], range: Sequence[int] | None = None) -> LinearOperator:
    """Make an operator of a matrix or of a SciPy operator: a system matrix from a file, say.

    Parameters
    ----------
    matrix : scipy.sparse.linalg.LinearOperator, sparse matrix or array
        Of shape ``(range, domain)``, numbers of values. One with complex values takes complex images; a real one
        keeps real real and complex complex.
    domain : sequence of int
        Image shape, such as ``(y, x)``, in row-major order.
    range : sequence of int, optional
        Shape of the measurement, such as ``(angle, detector)``; a vector if not given.

    Returns
    -------
    LinearOperator
        On the CPU; results have the precision of the input.

    Raises
    ------
    LibraryError
        Without SciPy.
    ShapeError
        If the shapes do not hold as many values as the matrix has columns and rows.
    ConfigError
        If a SciPy operator comes without ``rmatvec``, its adjoint.
    """
    scipy = require("scipy.sparse.linalg", "scipy", "from_scipy")
    return _FromScipy(scipy.aslinearoperator(matrix), tuple(domain), None if range is None else tuple(range))


class _FromScipy(LinearOperator):
    def __init__(self, matrix: Any, domain: tuple[int, ...], range: tuple[int, ...] | None) -> None:
        rows, columns = matrix.shape
        range = (rows,) if range is None else range
        if (math.prod(range), math.prod(domain)) != (rows, columns):
            raise ShapeError(
                f"A matrix of {rows} x {columns} does not map {domain} to {range}: "
                f"that would be {math.prod(range)} x {math.prod(domain)}."
            )
        try:
            matrix.rmatmat(np.zeros((rows, 1), matrix.dtype))
        except (NotImplementedError, TypeError) as error:
            raise ConfigError(
                "This SciPy operator has no adjoint. Make it with rmatvec=..., the conjugate transpose."
            ) from error
        kind = "complex" if np.dtype(matrix.dtype).kind == "c" else "any"
        self.matrix, self.domain, self.range = matrix, Space(domain, kind), Space(range, kind)

    @property
    def name(self) -> str:
        return "FromScipy"

    def _apply(self, x: Tensor) -> Tensor:
        return linear_map(x, self._forward, self._backward)

    def _adjoint(self, y: Tensor) -> Tensor:
        return linear_map(y, self._backward, self._forward)

    def _forward(self, x: Tensor) -> Tensor:
        return self._multiply(self.matrix.matmat, x, self.domain.shape, self.range.shape)

    def _backward(self, y: Tensor) -> Tensor:
        return self._multiply(self.matrix.rmatmat, y, self.range.shape, self.domain.shape)

    def _multiply(self, multiply: Any, value: Tensor, source: tuple[int, ...], target: tuple[int, ...]) -> Tensor:
        if value.is_complex() and self.domain.kind == "any":
            # An operator with a real dtype need not accept complex vectors.
            parts = torch.view_as_real(value.resolve_conj()).movedim(-1, 0)
            return torch.complex(*self._multiply(multiply, parts, source, target).unbind(0))
        leading = value.shape[: value.ndim - len(source)]
        columns = to_array(value).reshape(math.prod(leading), math.prod(source)).T
        return to_tensor(multiply(columns).T).to(value).reshape(*leading, *target)
