"""Linear maps computed outside of torch, or without its graph, as differentiable functions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]

#: Bytes from which NumPy requests huge pages.
_LARGE = 2**22


def linear_map(value: Tensor, forward: Map, adjoint: Map) -> Tensor:
    """``forward(value)``, whose derivative is ``adjoint``, in reverse, forward and higher-order mode.

    Parameters
    ----------
    value : Tensor
        Of any shape that ``forward`` takes; under `torch.func.vmap` with one more leading dimension.
    forward, adjoint : callable
        Each other's adjoints, without a graph; they may use ``data`` and work in place.
    """
    result: Tensor = _LinearMap.apply(value, forward, adjoint)  # type: ignore[no-untyped-call]
    return result


def spacious(shape: Sequence[int], like: Tensor) -> Tensor:
    """Uninitialised memory for values of the type and device of ``like``.

    On the processor a large block is allocated in huge pages, which NumPy requests and torch does not: allocating small
    pages takes longer than a product that fills them.
    """
    if like.device.type != "cpu" or math.prod(shape) * like.element_size() < _LARGE:
        return torch.empty(shape, dtype=like.dtype, device=like.device)
    return torch.from_numpy(np.empty(shape, torch.empty(0, dtype=like.dtype).numpy().dtype))


class _LinearMap(torch.autograd.Function):
    @staticmethod
    def forward(value: Tensor, forward: Map, adjoint: Map) -> Tensor:
        return forward(value.detach())

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[object, ...], output: Tensor) -> None:
        _, ctx.map, ctx.adjoint_map = inputs  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return linear_map(gradients[0], ctx.adjoint_map, ctx.map), None, None  # type: ignore[attr-defined]

    @staticmethod
    def jvp(ctx: torch.autograd.function.FunctionCtx, *tangents: Tensor) -> Tensor:
        return linear_map(tangents[0], ctx.map, ctx.adjoint_map)  # type: ignore[attr-defined]

    @staticmethod
    def vmap(info: Any, where: Any, value: Tensor, forward: Map, adjoint: Map) -> tuple[Tensor, int]:
        return linear_map(value.movedim(where[0], 0), forward, adjoint), 0


# Looking it up at every call takes torch as long as a small product.
_LinearMap.forward.__signature__ = inspect.signature(_LinearMap.forward)  # type: ignore[attr-defined]
