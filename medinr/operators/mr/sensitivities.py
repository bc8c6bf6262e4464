"""Coil sensitivities estimated from the fully sampled centre of k-space: ratios of images, or their covariance.

ESPIRiT, which also models the noise and masks regions without signal, is in `medinr.operators.mr.espirit`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import ConfigError, IntensityError, ShapeError
from medinr.operators.mr.fourier import Fourier


def low_resolution_maps(kspace: Tensor, calibration: int | tuple[int, int] = 24) -> Tensor:
    """Low-resolution coil images over their root sum of squares (McKenzie et al. 2002).

    Parameters
    ----------
    kspace : Tensor, shape (coil, ky, kx)
        Complex; only its centre is used.
    calibration : int or tuple of int
        Extent of the fully sampled centre, along ``ky`` and ``kx``. It is apodised by a Hann window.

    Returns
    -------
    Tensor, shape (coil, y, x)
        ``sum_c |s_c|^2 = 1`` in every pixel, noise where there is no signal; the phase is that of `aligned_maps`.

    Raises
    ------
    ShapeError
        If k-space is not complex or not of that shape.
    ConfigError
        If the calibration region is larger than k-space.
    IntensityError
        If the calibration region has samples that were not measured, or are not finite.
    """
    calib = calibration_region(kspace, calibration)
    return aligned_maps(_low_resolution(calib, kspace.shape), calib)


def walsh_maps(kspace: Tensor, calibration: int | tuple[int, int] = 24, block: int = 5, iterations: int = 15) -> Tensor:
    """Dominant eigenvector of the local covariance of the low-resolution coil images (Walsh et al. 2000).

    ``R_cd(r) = sum x_c conj(x_d)`` over a block around ``r``; ``s(r)`` is its dominant eigenvector, found by power
    iteration from the coil images themselves. Averages noise that `low_resolution_maps` keeps.

    Parameters
    ----------
    kspace, calibration
        As for `low_resolution_maps`.
    block : int
        Odd edge of the block in pixels of the image.
    iterations : int
        Of the power method; the coil images are within 1e-3 of the eigenvector already.

    Returns
    -------
    Tensor, shape (coil, y, x)
        As `low_resolution_maps`.

    Raises
    ------
    ConfigError
        If the block is not odd and positive; otherwise as `low_resolution_maps`.
    """
    if block < 1 or block % 2 == 0:
        raise ConfigError(f"The block of Walsh's maps has an odd number of pixels; got {block}.")
    calib = calibration_region(kspace, calibration)
    images = _low_resolution(calib, kspace.shape)
    images = images / images.abs().amax()
    coils = len(images)
    products = images[:, None] * images.conj()
    parts = torch.view_as_real(products).movedim(-1, 0).reshape(1, -1, *images.shape[1:])
    mean = torch.nn.functional.avg_pool2d(parts, block, 1, block // 2, count_include_pad=False)
    real, imaginary = mean.reshape(2, coils, coils, *images.shape[1:])
    covariance = torch.complex(real, imaginary).movedim((2, 3), (0, 1))
    vector = images.movedim(0, -1)[..., None]
    for _ in range(iterations):
        vector = covariance @ vector
        vector = vector / torch.linalg.vector_norm(vector, dim=-2, keepdim=True).clamp_min(_tiny(vector))
    return aligned_maps(vector[..., 0].movedim(-1, 0), calib)


def aligned_maps(maps: Tensor, calibration: Tensor) -> Tensor:
    """Normalise maps and fix their phase, which no calibration can determine.

    The reference is the virtual coil that receives most of the calibration signal (the dominant left singular
    vector ``u`` of its matrix coil x samples): ``sum_c conj(u_c) s_c`` is real and positive. Unlike a physical coil, it
    is nowhere without signal in the object, so the maps stay smooth.

    Parameters
    ----------
    maps : Tensor, shape (..., coil, y, x)
    calibration : Tensor, shape (coil, ky, kx)

    Returns
    -------
    Tensor, shape (..., coil, y, x)
        ``sum_c |s_c|^2 = 1``, or 0 where the maps are 0.
    """
    flat = calibration.flatten(1)
    _, vectors = torch.linalg.eigh(flat @ flat.mH)
    reference = (vectors[:, -1].conj()[:, None, None] * maps).sum(-3, keepdim=True)
    # The eigenvector's own phase is arbitrary: its largest entry is made real and positive.
    largest = vectors[vectors[:, -1].abs().argmax(), -1]
    rotation = torch.sgn(reference).conj() * torch.sgn(largest).conj()
    rotation = torch.where(reference == 0, 1.0, rotation)
    length = torch.linalg.vector_norm(maps, dim=-3, keepdim=True)
    aligned: Tensor = maps * rotation / length.clamp_min(_tiny(maps))
    return aligned


def calibration_region(kspace: Tensor, extent: int | tuple[int, int]) -> Tensor:
    r"""Cut the centre out of k-space.

    Parameters
    ----------
    kspace : Tensor, shape (coil, ky, kx)
    extent : int or tuple of int

    Returns
    -------
    Tensor, shape (coil, \*extent)

    Raises
    ------
    ShapeError
        If k-space is not complex or not of that shape.
    ConfigError
        If the region is empty or larger than k-space.
    IntensityError
        If it has samples that were not measured (zero in all coils), or are not finite.
    """
    if kspace.ndim != 3 or not kspace.is_complex():
        raise ShapeError(
            f"Sensitivities want complex k-space (coil, ky, kx); got {kspace.dtype} {tuple(kspace.shape)}."
        )
    size = (extent, extent) if isinstance(extent, int) else (int(extent[0]), int(extent[1]))
    if not all(1 <= c <= n for c, n in zip(size, kspace.shape[1:], strict=True)):
        raise ConfigError(f"A calibration region of {size} does not lie in k-space {tuple(kspace.shape[1:])}.")
    region = _middle(kspace, size)
    if not bool(region.isfinite().all()):
        raise IntensityError("The calibration region has samples that are not finite.")
    missing = int((region == 0).all(0).sum())
    if missing:
        raise IntensityError(
            f"{missing} of the {math.prod(size)} samples of the calibration region are zero in all coils; it has to be "
            "fully sampled. Choose a smaller one."
        )
    return region.detach()


def zero_filled(region: Tensor, shape: Sequence[int]) -> Tensor:
    """Put the centre of k-space back into the middle of zeros of trailing shape ``shape``."""
    full = region.new_zeros((*region.shape[:-2], *shape))
    _middle(full, region.shape[-2:]).copy_(region)
    return full


def _middle(value: Tensor, size: Sequence[int]) -> Tensor:
    """View of the centre of the last two axes."""
    for axis, extent in zip((-2, -1), size, strict=True):
        value = value.narrow(axis, value.shape[axis] // 2 - extent // 2, extent)
    return value


def _low_resolution(calibration: Tensor, shape: Sequence[int]) -> Tensor:
    """Coil images of the apodised calibration region, (coil, y, x)."""
    y, x = (_hann(n).to(calibration.real) for n in calibration.shape[1:])
    return Fourier(shape).H(zero_filled(calibration * y[:, None] * x, shape[1:]))


def _hann(size: int) -> Tensor:
    """Window that is 1 at the zero frequency and falls to 0 just outside the region."""
    return torch.cos(math.pi / 2 * (torch.arange(size) - size // 2) / (size // 2 + 1)).square()


def _tiny(value: Tensor) -> float:
    return torch.finfo(value.dtype).tiny
