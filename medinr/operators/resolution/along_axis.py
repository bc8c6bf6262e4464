"""Real matrices applied along one axis of images: dense, banded, or by compiled loops over nonzero entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medinr.banded import multiply_along, multiply_banded
from medinr.operators.compiling import loops_take

if TYPE_CHECKING:
    from medinr.operators.resolution.banded_compiled import BandedRows

#: Voxels below which plain torch is as quick as a compiled loop.
_SMALL = 2**14


class AlongAxis:
    """The products of an operator that has one matrix per axis. It keeps the prepared data of compiled loops."""

    def __init__(self) -> None:
        self._ready: dict[tuple[int, bool, torch.dtype], BandedRows] = {}

    def __getstate__(self) -> dict[str, object]:
        # What is prepared is cheaper to make again than to send to another process.
        return {"_ready": {}}

    def __call__(self, matrix: Tensor, x: Tensor, axis: int, transposed: bool, reach: int | None = None) -> Tensor:
        """Apply a matrix without a graph.

        Parameters
        ----------
        matrix : Tensor, shape (n, m)
            Always the same for an axis.
        x : Tensor
        axis : int
            From the end, -1 or less.
        transposed : bool
        reach : int, optional
            Of a square matrix: beyond so many places from the diagonal all is zero.
        """
        matrix = matrix.T if transposed else matrix
        if x.numel() >= _SMALL and loops_take(x):
            return self._compiled(matrix, x, axis, transposed)
        return multiply_along(matrix, x, axis) if reach is None else multiply_banded(matrix, reach, x, axis)

    def _compiled(self, matrix: Tensor, x: Tensor, axis: int, transposed: bool) -> Tensor:
        if axis == -1:
            # Whole rows at a time are so much faster that transposing the images twice is worth it.
            turned = x.unsqueeze(-1) if x.ndim == 1 else x.mT
            return self._rows(matrix, turned, -2, (axis, transposed)).mT.reshape(*x.shape[:-1], len(matrix))
        return self._rows(matrix, x, axis, (axis, transposed))

    def _rows(self, matrix: Tensor, x: Tensor, axis: int, key: tuple[int, bool]) -> Tensor:
        behind = x.shape[axis + 1 :]
        columns = x.contiguous().flatten(axis + 1)
        if x.is_complex():
            # The matrix is real: a complex pixel is two columns.
            columns = torch.view_as_real(columns.resolve_conj()).flatten(-2)
        kind = *key, columns.dtype
        if kind not in self._ready:
            from medinr.operators.resolution.banded_compiled import BandedRows

            self._ready[kind] = BandedRows(matrix, columns.dtype)
        product = self._ready[kind](columns.reshape(-1, *columns.shape[-2:]))
        if x.is_complex():
            product = torch.view_as_complex(product.unflatten(-1, (-1, 2)))
        return product.reshape(*x.shape[:axis], len(matrix), *behind)
