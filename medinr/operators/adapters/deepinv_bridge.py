"""DeepInverse: operators as its `LinearPhysics`, for its solvers and networks; its physics as our operators.

Its images are ``(B, C, H, W)``. What is complex has two channels, real and imaginary part, as in its own MRI
operators; what is real has one, or any number that the operator treats alike.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain
from typing import Any, Self

import torch
from torch import Tensor, nn

from medinr.errors import ShapeError
from medinr.operators.adapters.derive import derived_adjoint
from medinr.operators.adapters.libraries import require
from medinr.operators.base import LinearOperator, Space


def to_deepinv(operator: LinearOperator, **physics: Any) -> Any:
    """Wrap an operator for DeepInverse.

    Parameters
    ----------
    operator : LinearOperator
        Its image need not be two-dimensional: ``(B, C, *domain.shape)`` becomes ``(B, C, *range.shape)``.
    **physics
        What else `deepinv.physics.LinearPhysics` takes, such as ``noise_model``.

    Returns
    -------
    deepinv.physics.LinearPhysics
        Its ``img_size`` is ``(2, *domain.shape)`` for complex images and ``(1, *domain.shape)`` for others.
        Neither the operator nor its norm is scaled. To move it, move the operator and wrap it again.

    Raises
    ------
    LibraryError
        Without DeepInverse.
    """
    deepinv = require("deepinv", "deepinv", "to_deepinv")
    forward, backward = _Channels(operator), _Channels(operator.H)
    return deepinv.physics.LinearPhysics(
        A=forward, A_adjoint=backward, img_size=forward.image_size, device=operator.device, **physics
    )


class _Channels:
    """An operator on images with a batch and a channel axis."""

    def __init__(self, operator: LinearOperator) -> None:
        self.operator = operator
        kinds = (operator.domain.kind, operator.range.kind)
        self.complex_in, self.complex_out = (kind == "complex" for kind in kinds)
        #: None: channels are images like any other, the operator takes them as batch.
        self.channels = 2 if self.complex_in else 1 if self.complex_out else None
        self.image_size = (self.channels or 1, *operator.domain.shape)

    def __call__(self, x: Tensor, **_: Any) -> Tensor:
        shape = self.operator.domain.shape
        if x.ndim != len(shape) + 2 or tuple(x.shape[2:]) != shape or self.channels not in (None, x.shape[1]):
            wanted = ", ".join(map(str, (self.channels or "channels", *shape)))
            raise ShapeError(f"{self.operator.name} in deepinv wants (batch, {wanted}); got {tuple(x.shape)}.")
        if self.complex_in:
            x = torch.view_as_complex(x.movedim(1, -1).contiguous())
        elif self.complex_out:
            x = x.squeeze(1)
        result = self.operator(x)
        if self.complex_out:
            return torch.view_as_real(result.resolve_conj()).movedim(-1, 1)
        return result.unsqueeze(1) if self.complex_in else result


def from_deepinv(
    physics: Any, shape: Sequence[int], complex_image: bool = False, derive_adjoint: bool = False
) -> LinearOperator:
    """Make an operator of a linear physics of DeepInverse, without its noise.

    Parameters
    ----------
    physics : deepinv.physics.LinearPhysics
        With its parameters set.
    shape : sequence of int
        Image shape without batch and channel, such as ``(y, x)``.
    complex_image : bool
        Whether the image's two channels, and the measurement's, are real and imaginary part.
    derive_adjoint : bool
        Whether to derive the adjoint from ``physics.A`` by automatic differentiation in place of
        ``physics.A_adjoint``, which in `deepinv.physics.Tomography`, for example, is float32 only.

    Returns
    -------
    LinearOperator
        Real images ``(y, x)`` go in as one channel; a measurement with several channels keeps them as first axis.
        float64 images are measured by a copy whose parameters are float64.

    Raises
    ------
    LibraryError
        Without DeepInverse.
    ShapeError
        If it is not a linear physics with one tensor of measurements.
    """
    deepinv = require("deepinv", "deepinv", "from_deepinv")
    if not isinstance(physics, deepinv.physics.LinearPhysics):
        raise ShapeError(f"from_deepinv wants a deepinv.physics.LinearPhysics; got {type(physics).__name__}.")
    return _FromDeepinv(physics, tuple(shape), complex_image, derive_adjoint)


class _FromDeepinv(LinearOperator):
    def __init__(self, physics: nn.Module, shape: tuple[int, ...], complex_image: bool, derive_adjoint: bool) -> None:
        self.physics, self.derive_adjoint = physics, derive_adjoint
        self.domain = Space(shape, "complex" if complex_image else "real")
        self._copies: dict[torch.dtype, Any] = {}
        images = torch.zeros((1, 2 if complex_image else 1, *shape), dtype=torch.float32, device=self.device)
        with torch.no_grad():
            data = self._in(torch.float32).A(images)
        if not isinstance(data, Tensor):
            raise ShapeError(f"{self.name} gives {type(data).__name__}, not one tensor. Take its parts one by one.")
        if complex_image and data.shape[1] != 2:
            raise ShapeError(f"{self.name} gives {tuple(data.shape)}: no two channels for real and imaginary part.")
        #: What (B, ...) measurements have after the batch axis, in DeepInverse's own layout.
        self.layout = tuple(data.shape[1:])
        alone = len(self.layout) > 1 and self.layout[0] == 1 and not data.is_complex()
        rows = self.layout[1:] if complex_image or alone else self.layout
        self.range = Space(rows, "complex" if complex_image or data.is_complex() else "real")

    @property
    def name(self) -> str:
        return type(self.physics).__name__

    @property
    def device(self) -> torch.device:
        return next((part.device for part in _tensors(self.physics)), torch.device("cpu"))

    def to(self, device: torch.device | str) -> Self:
        moved = copy.copy(self)
        moved.physics, moved._copies = copy.deepcopy(self.physics).to(device), {}
        return moved

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_copies": {}}

    def _in(self, precision: torch.dtype) -> Any:
        if precision not in self._copies:
            self._copies[precision] = _converted(self.physics, precision)
        return self._copies[precision]

    def _apply(self, x: Tensor) -> Tensor:
        leading = x.shape[: x.ndim - len(self.domain.shape)]
        images = x.reshape(-1, *self.domain.shape)
        channels = torch.view_as_real(images.resolve_conj()).movedim(-1, 1) if x.is_complex() else images.unsqueeze(1)
        data: Tensor = self._in(x.dtype.to_real()).A(channels)
        if self.domain.kind == "complex":
            data = torch.view_as_complex(data.movedim(1, -1).contiguous())
        return data.reshape(*leading, *self.range.shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        if self.derive_adjoint:
            return derived_adjoint(self._apply, y, self.domain, self.range, self.name)
        leading = y.shape[: y.ndim - len(self.range.shape)]
        if self.domain.kind == "complex":
            y = torch.view_as_real(y.resolve_conj().reshape(-1, *self.range.shape)).movedim(-1, 1)
        image: Tensor = self._in(y.dtype.to_real()).A_adjoint(y.reshape(-1, *self.layout))
        if self.domain.kind == "complex":
            image = torch.view_as_complex(image.movedim(1, -1).contiguous())
        return image.reshape(*leading, *self.domain.shape)


def _tensors(physics: nn.Module) -> chain[Tensor]:
    return chain(physics.parameters(), physics.buffers())


def _converted(physics: nn.Module, precision: torch.dtype) -> nn.Module:
    """Return a copy in another precision; `Module.to` would drop the imaginary parts of complex parameters."""
    physics = copy.deepcopy(physics)
    for part in _tensors(physics):
        if part.is_complex():
            part.data = part.data.to(precision.to_complex())
        elif part.is_floating_point():
            part.data = part.data.to(precision)
    return physics
