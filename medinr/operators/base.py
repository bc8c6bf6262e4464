"""Linear operators: declared spaces, exact adjoints and an algebra that reads like the equation.

``A = Mask @ Fourier @ coils`` is an operator; ``A(x)`` applies it, ``A.H(y)`` its adjoint, ``A.normal`` is
``A.H @ A``. Leading dimensions beyond the declared shape are batch dimensions and are handled in one call.
"""

from __future__ import annotations

import copy
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators.parts import in_parts
from medinr.operators.power_iteration import largest_eigenvalue

#: Largest size in bytes, at the widest intermediate result, of images that go through a product together.
_TOGETHER = 2**23


@dataclass(frozen=True)
class Space:
    """The trailing shape of the tensors an operator takes or gives, and whether they are complex.

    Attributes
    ----------
    shape : tuple of int
        Trailing shape, without batch dimensions.
    kind : {"real", "complex", "any"}
        ``"any"``: real stays real and complex stays complex (masks, resampling, projections act on either).
    """

    shape: tuple[int, ...]
    kind: str = "any"

    def check(self, value: Tensor, name: str) -> None:
        """Refuse a tensor that is not in this space (raises `ShapeError`)."""
        trailing = tuple(value.shape[value.ndim - len(self.shape) :]) if value.ndim >= len(self.shape) else None
        if trailing != self.shape:
            raise ShapeError(f"{name} wants (..., {', '.join(map(str, self.shape))}); got {tuple(value.shape)}.")
        if not (value.is_floating_point() or value.is_complex()):
            raise ShapeError(f"{name} wants floating-point values; got {value.dtype}. Convert with .float().")
        if self.kind == "real" and value.is_complex():
            raise ShapeError(f"{name} wants real values; got {value.dtype}.")
        if self.kind == "complex" and not value.is_complex():
            raise ShapeError(f"{name} wants complex values; got {value.dtype}. Convert with torch.complex.")

    def accepts(self, other: Space) -> bool:
        """Whether a tensor of ``other`` can be used where this space is asked for."""
        return self.shape == other.shape and (self.kind == other.kind or "any" in (self.kind, other.kind))

    def narrowed(self, kind: str) -> Space:
        """Return this space, with ``kind`` in place of ``"any"``."""
        return Space(self.shape, kind) if self.kind == "any" else self

    def __repr__(self) -> str:
        return f"({', '.join(map(str, self.shape))}){'' if self.kind == 'any' else ' ' + self.kind}"


class LinearOperator(ABC):
    """A linear map between two declared spaces, immutable and differentiable.

    Children set ``domain`` and ``range`` and implement `_apply` and `_adjoint` for inputs with any number of
    leading batch dimensions, in the precision of the input. An operator with domain ``"any"`` has range
    ``"any"`` too: it keeps real real and complex complex.
    """

    domain: Space
    range: Space

    #: Lets ``numpy.float64(2) * A`` reach `__rmul__`, where NumPy would make an array of objects.
    __array_ufunc__ = None

    @abstractmethod
    def _apply(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor: ...

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the operator to ``x`` of shape ``(..., *domain.shape)``."""
        self.domain.check(x, f"{self.name} input")
        return self._apply(x)

    @property
    def name(self) -> str:
        """The operator's name in error messages and reports."""
        return type(self).__name__

    @property
    def H(self) -> LinearOperator:  # noqa: N802 - the symbol of the field
        """The adjoint operator."""
        return Adjoint(self)

    @property
    def normal(self) -> LinearOperator:
        """``A.H @ A``."""
        return Composition(self.H, self)

    def norm(self, iterations: int = 50, seed: int = 0) -> float:
        """Estimate the largest singular value by power iteration on ``A.H A`` in float64.

        An operator on either kind of image is probed with real ones: its matrix is real.

        Parameters
        ----------
        iterations : int
        seed : int
            For the start vector.

        Returns
        -------
        float
            A lower bound that converges to the spectral norm.
        """
        generator = torch.Generator().manual_seed(seed)
        dtype = torch.complex128 if self.domain.kind == "complex" else torch.float64
        x = torch.randn(self.domain.shape, generator=generator, dtype=dtype).to(self.device)
        return math.sqrt(largest_eigenvalue(lambda image: self._adjoint(self._apply(image)), x, iterations))

    def to(self, device: torch.device | str) -> Self:
        """Return the operator with its tensors on ``device``."""
        moved = copy.copy(self)
        for key, value in vars(self).items():
            if isinstance(value, Tensor | LinearOperator):
                object.__setattr__(moved, key, value.to(device))
            elif isinstance(value, tuple) and all(isinstance(v, Tensor | LinearOperator) for v in value):
                object.__setattr__(moved, key, tuple(v.to(device) for v in value))
        return moved

    @property
    def device(self) -> torch.device:
        """Device of the operator's tensors; ``cpu`` for an operator without any."""
        for value in vars(self).values():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Tensor | LinearOperator) and part.device.type != "cpu":
                    return part.device
        return torch.device("cpu")

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        return Composition(self, other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return Sum(self, other)

    def __rmul__(self, factor: complex) -> LinearOperator:
        return Scaled(factor, self)

    def __mul__(self, factor: complex) -> LinearOperator:
        return Scaled(factor, self)

    def __truediv__(self, divisor: complex) -> LinearOperator:
        number = _as_scalar(divisor)
        if not number:
            raise ConfigError(f"{self.name} can be divided by a finite number other than 0; got {_shown(divisor)}.")
        return Scaled(1.0 / number, self)

    def __neg__(self) -> LinearOperator:
        return Scaled(-1.0, self)

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return Sum(self, Scaled(-1.0, other))

    def __repr__(self) -> str:
        return f"{self.name}: {self.domain} -> {self.range}"


class Adjoint(LinearOperator):
    """The adjoint of an operator; its own adjoint is the operator itself."""

    def __init__(self, operator: LinearOperator) -> None:
        self.operator = operator
        self.domain, self.range = operator.range, operator.domain

    @property
    def name(self) -> str:
        """The operator's name with a superscript H."""
        return f"{self.operator.name}ᴴ"

    @property
    def H(self) -> LinearOperator:  # noqa: N802 - the symbol of the field
        """The operator this is the adjoint of."""
        return self.operator

    def _apply(self, x: Tensor) -> Tensor:
        return self.operator._adjoint(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.operator._apply(y)


class Composition(LinearOperator):
    """``outer @ inner``: first ``inner``, then ``outer``."""

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        if not outer.domain.accepts(inner.range):
            raise ShapeError(
                f"{outer.name} @ {inner.name}: {inner.name} gives {inner.range} but {outer.name} wants {outer.domain}."
            )
        self.outer, self.inner = outer, inner
        self.domain = inner.domain.narrowed(outer.domain.kind)
        self.range = outer.range.narrowed(inner.range.kind)

    @property
    def name(self) -> str:
        """Both names, joined as in the product."""
        return f"{self.outer.name} @ {self.inner.name}"

    @property
    def normal(self) -> LinearOperator:
        """``inner.H @ outer.normal @ inner``: the outer operator may have a faster normal operator."""
        return Composition(self.inner.H, Composition(self.outer.normal, self.inner))

    def _apply(self, x: Tensor) -> Tensor:
        return self._in_parts(lambda part: self.outer._apply(self.inner._apply(part)), x, self.domain)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._in_parts(lambda part: self.inner._adjoint(self.outer._adjoint(part)), y, self.range)

    def _in_parts(self, chain: Callable[[Tensor], Tensor], x: Tensor, space: Space) -> Tensor:
        widest = max(1, *(math.prod(s.shape) for s in (self.domain, self.inner.range, self.range)))
        together = _TOGETHER // (x.element_size() * widest) if x.device.type == "cpu" else x.numel()
        return in_parts(chain, x, len(space.shape), together)


class Sum(LinearOperator):
    """``first + second`` on the same spaces."""

    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        if not (first.domain.accepts(second.domain) and first.range.accepts(second.range)):
            raise ShapeError(f"{first!r} and {second!r} cannot be added: their spaces differ.")
        self.first, self.second = first, second
        self.domain = first.domain.narrowed(second.domain.kind)
        self.range = first.range.narrowed(second.range.kind)

    @property
    def name(self) -> str:
        """Both names, joined by a plus."""
        return f"({self.first.name} + {self.second.name})"

    def _apply(self, x: Tensor) -> Tensor:
        return self.first._apply(x) + self.second._apply(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.first._adjoint(y) + self.second._adjoint(y)


class Scaled(LinearOperator):
    """``factor * operator``; a complex factor wants complex images.

    Parameters
    ----------
    factor : number
        Finite. A tensor is refused, even one with a single value: it would be a `Weighting`.
    operator : LinearOperator

    Raises
    ------
    ConfigError
        If the factor is not a finite number.
    ShapeError
        If it is complex and the operator real.
    """

    def __init__(self, factor: complex, operator: LinearOperator) -> None:
        number = _as_scalar(factor)
        if number is None:
            raise ConfigError(
                f"{operator.name} can be scaled by a finite number; got {_shown(factor)}. "
                "Use A @ B for the product of operators and Weighting(tensor) @ A for a factor per sample."
            )
        self.factor, self.operator = number, operator
        self.domain, self.range = operator.domain, operator.range
        if isinstance(number, complex):
            if "real" in (operator.domain.kind, operator.range.kind):
                raise ShapeError(f"{operator!r} is real; it cannot be scaled by the complex number {factor}.")
            self.domain, self.range = self.domain.narrowed("complex"), self.range.narrowed("complex")

    @property
    def name(self) -> str:
        """The factor times the operator's name."""
        return f"{self.factor:g} * {self.operator.name}"

    def _apply(self, x: Tensor) -> Tensor:
        return self.factor * self.operator._apply(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.factor.conjugate() * self.operator._adjoint(y)


class Identity(LinearOperator):
    """The identity on images of one shape."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.domain = self.range = Space(tuple(shape))

    def _apply(self, x: Tensor) -> Tensor:
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        return y


def _as_scalar(value: object) -> float | complex | None:
    """Python number, complex only if ``value`` is of a complex type; None for anything but a finite number."""
    if not (isinstance(value, numbers.Complex) and math.isfinite(abs(value))):
        return None
    return float(value) if isinstance(value, numbers.Real) else complex(value)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, numbers.Number | LinearOperator) else type(value).__name__
