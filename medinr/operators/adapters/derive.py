"""Adjoints derived by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medinr.errors import MedinrError
from medinr.operators.base import Space


def derived_adjoint(forward: Callable[[Tensor], Tensor], y: Tensor, domain: Space, range: Space, name: str) -> Tensor:
    """``A^H y`` as the gradient of ``Re <y, A x>``, which for a linear map is the same at every ``x``.

    Parameters
    ----------
    forward : callable
        Linear, on batches.
    y : Tensor, shape (..., *range.shape)
    domain, range : Space
    name : str
        Of the operator, for messages.

    Returns
    -------
    Tensor, shape (..., *domain.shape)
        In the precision of ``y``, and differentiable where ``y`` is.

    Raises
    ------
    MedinrError
        If torch cannot differentiate the function.
    """
    shape = (*y.shape[: y.ndim - len(range.shape)], *domain.shape)
    kinds = {"real": y.dtype.to_real(), "complex": y.dtype.to_complex(), "any": y.dtype}
    again = torch.is_grad_enabled() and y.requires_grad
    with torch.enable_grad():
        x = torch.zeros(shape, dtype=kinds[domain.kind], device=y.device, requires_grad=True)
        result = forward(x)
        if not result.requires_grad:
            raise MedinrError(
                f"torch cannot differentiate {name}, so its adjoint cannot be derived "
                "(does it go through NumPy?). Give from_callable the adjoint, and differentiable=False."
            )
        (gradient,) = torch.autograd.grad(result, x, y, create_graph=again)
    return gradient
