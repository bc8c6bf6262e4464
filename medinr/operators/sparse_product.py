"""One sparse matrix on many images, exact in both directions and differentiable."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor


class SparseProduct:
    """A real sparse matrix given by its entries, and its transpose, as compressed rows on the processor.

    The images are multiplied one by one: a product with several columns would first have to turn them about, and
    takes twice as long.

    Parameters
    ----------
    rows, columns : Tensor, int64, shape (entries,)
        Entries at the same place are added.
    values : Tensor, float64, shape (entries,)
    shape : tuple of int
    """

    def __init__(self, rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> None:
        self.shape = shape
        kept = values != 0
        self._entries = rows[kept], columns[kept], values[kept]
        self._ready: dict[torch.dtype, tuple[Tensor, Tensor]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_ready": {}}

    def __call__(self, value: Tensor, transposed: bool = False) -> Tensor:
        """Map real ``(..., columns)`` to ``(..., rows)``, or back by the transpose."""
        result: Tensor = _Product.apply(value, self, transposed)  # type: ignore[no-untyped-call]
        return result

    def multiply(self, value: Tensor, transposed: bool) -> Tensor:
        """Evaluate without autograd."""
        matrix = self._matrices(value.dtype)[int(transposed)]
        images = value.detach().reshape(-1, value.shape[-1])
        if len(images) == 1:
            return torch.mv(matrix, images[0]).reshape(*value.shape[:-1], matrix.shape[0])
        result = images.new_empty(len(images), matrix.shape[0])
        for image, out in zip(images, result, strict=True):
            torch.mv(matrix, image, out=out)
        return result.reshape(*value.shape[:-1], matrix.shape[0])

    def _matrices(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if dtype not in self._ready:
            rows, columns, values = self._entries
            straight = _compressed(rows, columns, values.to(dtype), self.shape)
            self._ready[dtype] = straight, _compressed(columns, rows, values.to(dtype), self.shape[::-1])
        return self._ready[dtype]


def _compressed(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    order = (rows * shape[1] + columns).argsort()
    starts = torch.zeros(shape[0] + 1, dtype=torch.int32)
    starts[1:] = torch.bincount(rows, minlength=shape[0]).cumsum(0)
    with warnings.catch_warnings():
        # torch announces CSR as beta; the tests check the products used here against dense ones.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        index = columns[order].to(torch.int32)
        return torch.sparse_csr_tensor(starts, index, values[order], shape, check_invariants=False)


class _Product(torch.autograd.Function):
    """The product with its transpose as derivative, in reverse, forward and higher-order mode."""

    @staticmethod
    def forward(value: Tensor, product: SparseProduct, transposed: bool) -> Tensor:
        return product.multiply(value, transposed)

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[object, ...], output: Tensor) -> None:
        _, ctx.product, ctx.transposed = inputs  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.product(gradients[0], not ctx.transposed), None, None  # type: ignore[attr-defined]

    @staticmethod
    def jvp(ctx: torch.autograd.function.FunctionCtx, *tangents: Tensor) -> Tensor:
        result: Tensor = ctx.product(tangents[0], ctx.transposed)  # type: ignore[attr-defined]
        return result

    @staticmethod
    def vmap(info: Any, where: Any, value: Tensor, product: SparseProduct, transposed: bool) -> tuple[Tensor, int]:
        return product(value.movedim(where[0], 0), transposed), 0
