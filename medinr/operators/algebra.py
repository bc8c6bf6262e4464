"""Operators made of operators: repeated measurements of one image, and one measurement for each of many.

=================  ==========================================  =================================
`stack`            one image, measurements of one shape        ``(...) -> (n, ...)``
`concatenate`      one image, measurements of any shape        ``(...) -> (samples,)``
`block_diagonal`   n images, each with its own measurement     ``(n, ...) -> (n, ...)``
=================  ==========================================  =================================
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import ShapeError
from medinr.operators.base import LinearOperator, Space

#: Largest number of names in the name of a combination.
_SPELT_OUT = 3


class _Combination(LinearOperator):
    """Several operators; children define how inputs and results are arranged."""

    _verb: str
    _same_range = True

    def __init__(self, operators: Sequence[LinearOperator]) -> None:
        self.operators = tuple(operators)
        if not self.operators:
            raise ShapeError(f"{type(self).__name__} wants at least one operator; got none.")
        first = self.operators[0]
        domain, rows = first.domain, first.range
        for other in self.operators[1:]:
            theirs = other.range if self._same_range else Space(rows.shape, other.range.kind)
            if not (domain.accepts(other.domain) and rows.accepts(theirs)):
                raise ShapeError(f"{first!r} and {other!r} cannot be {self._verb}: their spaces differ.")
            domain, rows = domain.narrowed(other.domain.kind), rows.narrowed(other.range.kind)
        self.domain, self.range = self._spaces(domain, rows)

    @abstractmethod
    def _spaces(self, domain: Space, rows: Space) -> tuple[Space, Space]: ...

    @property
    def name(self) -> str:
        """The type of the combination, and the names of its operators."""
        names = [operator.name for operator in self.operators[:_SPELT_OUT]]
        if len(self.operators) > _SPELT_OUT:
            names.append(f"and {len(self.operators) - _SPELT_OUT} more")
        return f"{type(self).__name__}({', '.join(names)})"


class Stack(_Combination):
    """Several operators on one image, their results stacked along a new first axis of the range.

    Parameters
    ----------
    operators : sequence of LinearOperator
        With the same spaces; one that keeps real real may join a complex one.

    Raises
    ------
    ShapeError
        If there are none, or their spaces differ.
    """

    _verb = "stacked"

    def _spaces(self, domain: Space, rows: Space) -> tuple[Space, Space]:
        return domain, Space((len(self.operators), *rows.shape), rows.kind)

    def _apply(self, x: Tensor) -> Tensor:
        return torch.stack([op._apply(x) for op in self.operators], dim=-len(self.range.shape))

    def _adjoint(self, y: Tensor) -> Tensor:
        return _summed(self.operators, y.unbind(dim=-len(self.range.shape)))


class Concatenation(_Combination):
    """Several operators on one image, their results flattened and joined into one row of samples.

    For repeated scans whose measurements have different shapes, such as other lines each time, and for terms
    of different kind, such as k-space and a regulariser: ``[A; B] x = [A x; B x]``.

    Parameters
    ----------
    operators : sequence of LinearOperator
        With the same domain.

    Raises
    ------
    ShapeError
        If there are none, or their domains differ.

    Examples
    --------
    >>> from medinr.operators import LineSampling
    >>> twice = concatenate([LineSampling((4, 3), (0, 2)), LineSampling((4, 3), (1,))])
    >>> twice
    Concatenation(LineSampling, LineSampling): (4, 3) -> (9)
    >>> [tuple(part.shape) for part in twice.split(torch.zeros(9))]
    [(2, 3), (1, 3)]
    """

    _verb = "concatenated"
    _same_range = False

    def _spaces(self, domain: Space, rows: Space) -> tuple[Space, Space]:
        self._sizes = tuple(math.prod(op.range.shape) for op in self.operators)
        return domain, Space((sum(self._sizes),), rows.kind)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Flatten and join one measurement per operator into the data of this operator.

        Parameters
        ----------
        parts : sequence of Tensor
            One per operator, of shape ``(..., *operator.range.shape)`` with the same leading dimensions.

        Returns
        -------
        Tensor, shape (..., samples)

        Raises
        ------
        ShapeError
            If their number or a shape is not that of the operators.
        """
        if len(parts) != len(self.operators):
            raise ShapeError(f"{self.name} joins {len(self.operators)} measurements; got {len(parts)}.")
        for op, part in zip(self.operators, parts, strict=True):
            op.range.check(part, f"{op.name} measurement")
        flat = [p.flatten(p.ndim - len(op.range.shape)) for op, p in zip(self.operators, parts, strict=True)]
        return torch.cat(flat, dim=-1)

    def split(self, samples: Tensor) -> tuple[Tensor, ...]:
        """Take joined samples apart again (inverse of `join`).

        Parameters
        ----------
        samples : Tensor, shape (..., samples)

        Returns
        -------
        tuple of Tensor
            One per operator, of shape ``(..., *operator.range.shape)``.

        Raises
        ------
        ShapeError
            If their number is not that of the operators' samples.
        """
        self.range.check(samples, f"{self.name} samples")
        return self._split(samples)

    def _split(self, samples: Tensor) -> tuple[Tensor, ...]:
        pieces = samples.split(self._sizes, dim=-1)
        return tuple(p.unflatten(-1, op.range.shape) for op, p in zip(self.operators, pieces, strict=True))

    def _apply(self, x: Tensor) -> Tensor:
        return self.join([op._apply(x) for op in self.operators])

    def _adjoint(self, y: Tensor) -> Tensor:
        return _summed(self.operators, self._split(y))


class BlockDiagonal(_Combination):
    """One operator for each image of a series: slices, contrasts, time frames.

    ``A [x1; x2] = [A1 x1; A2 x2]``. A single operator for all needs no blocks: leading dimensions are batch.

    Parameters
    ----------
    operators : sequence of LinearOperator
        With the same spaces. Line masks with other lines per frame share theirs if they are a `Weighting` of
        zeros and ones, or have the same number of lines.

    Raises
    ------
    ShapeError
        If there are none, or their spaces differ.
    """

    _verb = "put in one block diagonal"

    def _spaces(self, domain: Space, rows: Space) -> tuple[Space, Space]:
        count = len(self.operators)
        return Space((count, *domain.shape), domain.kind), Space((count, *rows.shape), rows.kind)

    def _apply(self, x: Tensor) -> Tensor:
        blocks = zip(self.operators, x.unbind(dim=-len(self.domain.shape)), strict=True)
        return torch.stack([op._apply(part) for op, part in blocks], dim=-len(self.range.shape))

    def _adjoint(self, y: Tensor) -> Tensor:
        blocks = zip(self.operators, y.unbind(dim=-len(self.range.shape)), strict=True)
        return torch.stack([op._adjoint(part) for op, part in blocks], dim=-len(self.domain.shape))


def stack(operators: Sequence[LinearOperator]) -> LinearOperator:
    """Stack operators that share their spaces (see `Stack`): repeated measurements, contrasts, views."""
    return Stack(operators)


def concatenate(operators: Sequence[LinearOperator]) -> Concatenation:
    """Join operators on one image whose measurements differ in shape (see `Concatenation`)."""
    return Concatenation(operators)


def block_diagonal(operators: Sequence[LinearOperator]) -> LinearOperator:
    """Give each image of a series its own operator (see `BlockDiagonal`)."""
    return BlockDiagonal(operators)


def _summed(operators: Sequence[LinearOperator], parts: Sequence[Tensor]) -> Tensor:
    total = operators[0]._adjoint(parts[0])
    for op, part in zip(operators[1:], parts[1:], strict=True):
        total = total + op._adjoint(part)
    return total
