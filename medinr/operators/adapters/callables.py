"""A pair of functions as an operator: your own forward model, with or without its adjoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators.adapters.arrays import each
from medinr.operators.adapters.derive import derived_adjoint
from medinr.operators.base import LinearOperator, Space
from medinr.operators.linear_map import linear_map


class FromCallable(LinearOperator):
    """What `from_callable` makes."""

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        domain: Space,
        range: Space,
        adjoint: Callable[[Tensor], Tensor] | None,
        *,
        batched: bool,
        differentiable: bool,
        name: str,
        device: torch.device,
    ) -> None:
        self.forward, self.adjoint = forward, adjoint
        self.domain, self.range = domain, range
        self.batched, self.differentiable = batched, differentiable
        self._name, self._device = name, device

    @property
    def name(self) -> str:
        """The name it was given, or the function's."""
        return self._name

    @property
    def device(self) -> torch.device:
        """Where the functions want their tensors."""
        return self._device

    def to(self, device: torch.device | str) -> Self:
        """Return itself; refuse another device, which the functions' own tensors would not follow.

        Raises
        ------
        ConfigError
            If the device is another one.
        """
        if torch.device(device) != self._device:
            raise ConfigError(
                f"{self.name} was made of functions for {self._device}, whose own tensors medinr cannot move. "
                f"Make it again from functions for {device}, with from_callable(..., device={str(device)!r})."
            )
        return self

    def _apply(self, x: Tensor) -> Tensor:
        return self._forward(x) if self.differentiable else linear_map(x, self._forward, self._backward)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._backward(y) if self.differentiable else linear_map(y, self._backward, self._forward)

    def _forward(self, x: Tensor) -> Tensor:
        return self.forward(x) if self.batched else each(self.forward, x, self.domain.shape)

    def _backward(self, y: Tensor) -> Tensor:
        if self.adjoint is None:
            return derived_adjoint(self._forward, y, self.domain, self.range, self.name)
        return self.adjoint(y) if self.batched else each(self.adjoint, y, self.range.shape)


def from_callable(
    forward: Callable[[Tensor], Tensor],
    domain: Space | Sequence[int],
    range: Space | Sequence[int] | None = None,
    adjoint: Callable[[Tensor], Tensor] | None = None,
    *,
    batched: bool = True,
    differentiable: bool = True,
    name: str | None = None,
    device: torch.device | str = "cpu",
) -> FromCallable:
    """Make an operator of your own function of a tensor.

    Nothing is tested here: run `medinr.operators.operator_report` on the result before trusting it.

    Parameters
    ----------
    forward : callable
        Linear, from a tensor ``(..., *domain.shape)`` to one ``(..., *range.shape)``, in the precision of its input.
    domain : Space or sequence of int
        A bare shape means ``Space(shape)``: real images stay real, complex ones stay complex. For a Fourier
        transform use ``Space(shape, "complex")``.
    range : Space or sequence of int, optional
        Found by one application to zeros if not given.
    adjoint : callable, optional
        From ``(..., *range.shape)`` back to ``(..., *domain.shape)``: the conjugate transpose in the inner product
        ``sum(conj(a) b)``. Without it, it is derived from ``forward`` by automatic differentiation, which is exact
        and costs one forward and one backward pass.
    batched : bool
        Whether the functions take leading batch dimensions; otherwise they are called image by image.
    differentiable : bool
        Whether torch can differentiate the functions. False for those that go through NumPy or compiled code: the
        adjoint then also serves as the derivative, and parameters inside the functions get no gradient.
    name : str, optional
        For messages and reports; the function's own if not given.
    device : torch.device or str
        Where the functions want their tensors.

    Returns
    -------
    FromCallable

    Raises
    ------
    ConfigError
        If a function that is not differentiable comes without its adjoint.
    ShapeError
        If the range is not given, and real images become complex ones or complex ones real: which the domain is
        meant to hold cannot be guessed.

    Examples
    --------
    >>> import torch
    >>> A = from_callable(lambda x: x.diff(dim=-1), (4, 5), name="Difference")
    >>> A
    Difference: (4, 5) -> (4, 4)
    >>> A.H(torch.ones(4, 4)).shape
    torch.Size([4, 5])
    """
    if adjoint is None and not differentiable:
        raise ConfigError("from_callable wants the adjoint of a function that torch cannot differentiate; none came.")
    domain = domain if isinstance(domain, Space) else Space(tuple(domain))
    where = torch.device(device)
    known = name or str(getattr(forward, "__name__", type(forward).__name__))
    if range is None:
        range = _found_range(forward, domain, where, known)
    elif not isinstance(range, Space):
        range = Space(tuple(range), domain.kind)
    return FromCallable(
        forward,
        domain,
        range,
        adjoint,
        batched=batched,
        differentiable=differentiable,
        name=known,
        device=where,
    )


def _found_range(forward: Callable[[Tensor], Tensor], domain: Space, device: torch.device, name: str) -> Space:
    dtype = torch.complex64 if domain.kind == "complex" else torch.float32
    with torch.no_grad():
        result = forward(torch.zeros(domain.shape, dtype=dtype, device=device))
    kind = "complex" if result.is_complex() else "real"
    if domain.kind == "any":
        if kind == "complex":
            raise ShapeError(
                f"{name} makes real images complex. Say which images it takes: domain=Space({domain.shape}, 'complex') "
                "or Space(..., 'real')."
            )
        kind = "any"
    return Space(tuple(result.shape), kind)
