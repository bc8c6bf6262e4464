"""The centred discrete Fourier transform of many images, without the copies of shifts."""

from __future__ import annotations

import functools
from functools import partial
from typing import Any

import torch
from torch import Tensor

from medinr.operators.linear_map import linear_map

#: Images transformed together have at most this many bytes: they and their spectra stay in the second-level cache.
_CHUNK_BYTES = 2**20

# For even n, (-1)^(j + k) exp(-2 pi i j k / n) is the entry of the centred transform, up to the sign (-1)^(n / 2): the
# shifts by n / 2 before and after are alternating signs.


def centred_transform(x: Tensor, axes: tuple[int, ...], inverse: bool = False) -> Tensor:
    """``fftshift(fft(ifftshift(x)))``, orthonormal; differentiable to any order.

    Parameters
    ----------
    x : Tensor, complex
    axes : tuple of int
        Negative.
    inverse : bool
        For the adjoint.
    """
    if x.numel() == 0:
        # The FFT library of torch refuses an empty batch.
        return x
    even = all(x.shape[axis] % 2 == 0 for axis in axes)
    if not even or x.device.type != "cpu" or not set(axes) <= {-2, -1} or x.ndim < 2:
        return _shifted(x, axes, inverse)
    return linear_map(x, *(partial(_alternating, axes=axes, inverse=way) for way in (inverse, not inverse)))


def _shifted(x: Tensor, axes: tuple[int, ...], inverse: bool) -> Tensor:
    transform = torch.fft.ifftn if inverse else torch.fft.fftn
    result: Tensor = torch.fft.fftshift(transform(torch.fft.ifftshift(x, dim=axes), dim=axes, norm="ortho"), dim=axes)
    return result


def _alternating(x: Tensor, axes: tuple[int, ...], inverse: bool) -> Tensor:
    """Transform by signs, along even axes among the last two."""
    transform: Any = torch.fft.ifftn if inverse else torch.fft.fftn
    rows, columns = x.shape[-2:]
    images = x.resolve_conj().resolve_neg().reshape(-1, rows, columns).contiguous()
    before, after = _signs(rows, columns, axes, x.real.dtype)
    spectra = torch.empty_like(images)
    together = max(1, _CHUNK_BYTES // (images[0].numel() * images.element_size()))
    scratch = torch.empty_like(images[:together])
    for part, out in zip(images.split(together), spectra.split(together), strict=True):
        alternating = scratch[: len(part)]
        torch.mul(_pairs(part), before, out=_pairs(alternating))
        # With an output tensor the transform would allocate another one first, and copy.
        torch.mul(_pairs(transform(alternating, dim=axes, norm="ortho")), after, out=_pairs(out))
    return spectra.reshape(x.shape)


def _pairs(x: Tensor) -> Tensor:
    """Real and imaginary parts side by side, in the same memory."""
    return torch.view_as_real(x).flatten(-2)


@functools.lru_cache(maxsize=8)
def _signs(rows: int, columns: int, axes: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Signs before and after the transform, for real and imaginary parts side by side."""
    sign = torch.ones(rows, columns, dtype=dtype)
    if -2 in axes:
        sign[1::2] *= -1
    if -1 in axes:
        sign[:, 1::2] *= -1
    sign = sign.repeat_interleave(2, dim=1)
    half = sum((rows, columns)[axis] // 2 for axis in axes)
    return sign, -sign if half % 2 else sign
