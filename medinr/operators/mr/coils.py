"""Receive coils: sensitivities as an operator, and simulated ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators.base import LinearOperator, Space


class Coils(LinearOperator):
    """What each coil sees of an image (Pruessmann et al. 1999).

    ``(A x)_c = s_c x``, ``A^H y = sum_c conj(s_c) y_c``

    Parameters
    ----------
    maps : Tensor, shape (coil, y, x)
        Complex sensitivities; further image axes are allowed.

    Raises
    ------
    ShapeError
        If the maps are real or have no coil axis.
    """

    def __init__(self, maps: Tensor) -> None:
        if maps.ndim < 2 or not maps.is_complex():
            raise ShapeError(f"Coils wants complex maps (coil, y, x); got {maps.dtype} {tuple(maps.shape)}.")
        self.maps = maps
        self.domain = Space(tuple(maps.shape[1:]), "complex")
        self.range = Space(tuple(maps.shape), "complex")

    @property
    def _coil_axis(self) -> int:
        return -self.maps.ndim

    def _apply(self, x: Tensor) -> Tensor:
        return self.maps.to(x.dtype) * x.unsqueeze(self._coil_axis)

    def _adjoint(self, y: Tensor) -> Tensor:
        conjugate = self.maps.to(y.dtype).conj().resolve_conj()
        if y.ndim == conjugate.ndim:
            return _combined(conjugate, y)
        if y.numel() == 0:
            return (conjugate * y).sum(self._coil_axis)
        images = [_combined(conjugate, one) for one in y.reshape(-1, *conjugate.shape)]
        return torch.stack(images).reshape(*y.shape[: y.ndim - conjugate.ndim], *conjugate.shape[1:])


def _combined(conjugate: Tensor, y: Tensor) -> Tensor:
    """Coil by coil onto one image that stays in the cache; all products at once, as large as the data, do not fit."""
    image = conjugate[0] * y[0]
    for weight, one in zip(conjugate[1:], y[1:], strict=True):
        image = image.addcmul_(weight, one)
    return image


class SoftCoils(LinearOperator):
    """Coils with several sets of sensitivities, one image for each (soft SENSE, Uecker et al. 2014).

    ``(A x)_c = sum_m s_mc x_m``, ``(A^H y)_m = sum_c conj(s_mc) y_c``. A second set models what a single one
    cannot represent, such as an object larger than the field of view.

    Parameters
    ----------
    maps : Tensor, shape (set, coil, y, x)
        Complex sensitivities; further image axes are allowed.

    Raises
    ------
    ShapeError
        If the maps are real or have no axes of sets and coils.
    """

    def __init__(self, maps: Tensor) -> None:
        if maps.ndim < 3 or not maps.is_complex():
            raise ShapeError(f"SoftCoils wants complex maps (set, coil, y, x); got {maps.dtype} {tuple(maps.shape)}.")
        self.maps = maps
        self.domain = Space((maps.shape[0], *maps.shape[2:]), "complex")
        self.range = Space(tuple(maps.shape[1:]), "complex")

    @property
    def _coil_axis(self) -> int:
        return -(self.maps.ndim - 1)

    def _apply(self, x: Tensor) -> Tensor:
        return (self.maps.to(x.dtype) * x.unsqueeze(self._coil_axis)).sum(self._coil_axis - 1)

    def _adjoint(self, y: Tensor) -> Tensor:
        return (self.maps.to(y.dtype).conj() * y.unsqueeze(self._coil_axis - 1)).sum(self._coil_axis)


def birdcage_maps(
    shape: Sequence[int], coils: int, radius: float = 1.5, dtype: torch.dtype = torch.complex64
) -> Tensor:
    """Simulate sensitivities of coils on a ring around the image.

    Coil ``c`` at ``radius (cos a, sin a)``, ``a = 2 pi c / coils``, has a magnitude that falls as one over
    the distance and the phase of the field of a long wire (the birdcage of Fessler's MIRT; Hayes et al.
    1985), normalised so that ``sum_c |s_c|^2 = 1`` in every pixel.

    Parameters
    ----------
    shape : sequence of int
        Image shape ``(y, x)``.
    coils : int
        At least 1.
    radius : float
        Radius of the ring in units of half the image's side; above ``sqrt(2)`` no coil is inside the image.
    dtype : torch.dtype
        complex64 or complex128.

    Returns
    -------
    Tensor, shape (coils, y, x)

    Raises
    ------
    ConfigError
        If there is no coil, or the ring cuts through the image.
    """
    if coils < 1:
        raise ConfigError(f"birdcage_maps wants at least one coil; got {coils}.")
    if not radius > math.sqrt(2.0):
        raise ConfigError(f"A ring of radius {radius} cuts through the image; choose more than 1.42.")
    rows, columns = shape
    angle = (2.0 * math.pi / coils * torch.arange(coils, dtype=torch.float64))[:, None, None]
    y = ((torch.arange(rows, dtype=torch.float64) - rows / 2) / (rows / 2))[:, None] - radius * torch.sin(angle)
    x = ((torch.arange(columns, dtype=torch.float64) - columns / 2) / (columns / 2)) - radius * torch.cos(angle)
    maps = torch.polar(1.0 / torch.hypot(x, y), torch.atan2(x, -y) - angle)
    normalised: Tensor = maps / torch.linalg.vector_norm(maps, dim=0)
    return normalised.to(dtype)
