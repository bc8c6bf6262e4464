"""How noisy a scan is, estimated from the scan itself.

=======================  =====================================================  ===========================
`estimate_sigma`         finest wavelet coefficients of an image                 Gaussian noise
`sigma_from_background`  magnitude image with air around the object              Rician, root sum of squares
`sigma_from_kspace`      corners of k-space, per coil                            complex Gaussian noise
`coil_covariance`        noise samples of all coils                              correlated coils
=======================  =====================================================  ===========================
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medinr.errors import IntensityError, ShapeError

#: Blocks per axis among which `sigma_from_background` searches for air.
BLOCKS = 8

#: Fewest samples that an estimate may rest on: a relative standard error of about 5 %.
FEWEST = 100

#: Air counts up to its root mean square times one plus this many coefficients of variation; above, there may be
#: signal.
_MARGIN = 0.5

#: Iterations of the fixed point of `sigma_from_background`.
_ITERATIONS = 200

#: Largest ratio of the measured to the theoretical coefficient of variation in air, and its inverse.
_LIKENESS = 1.5

#: Largest ratio of the mean squares in the quarters of a block of air; the rim of an object varies more.
_EVENNESS = 2.5


def estimate_sigma(image: Tensor) -> Tensor:
    """Noise of an image from its finest diagonal Haar wavelet coefficients.

    ``sigma = median(|d|) / 0.6745``, ``d = (a - b - c + e) / 2`` over 2 x 2 blocks (Donoho & Johnstone 1994).
    Coefficients that are exactly zero are left out: they come from padding, not from the scanner. In
    magnitude images a background without signal yields about 0.66 sigma (Rayleigh).

    Parameters
    ----------
    image : Tensor, shape (..., y, x)
        Real, or complex with independent noise in both parts.

    Returns
    -------
    Tensor, shape (...)
        Standard deviation of the noise (per part for complex images) in the unit of the image; 0 if there is
        none.

    Raises
    ------
    ShapeError
        If the image is smaller than 2 x 2.
    """
    if image.ndim < 2 or min(image.shape[-2:]) < 2:
        raise ShapeError(f"estimate_sigma wants an image (..., y, x) of at least 2 x 2; got {tuple(image.shape)}.")
    parts = torch.view_as_real(image).movedim(-1, -3) if image.is_complex() else image.unsqueeze(-3)
    rows, columns = parts.shape[-2] // 2 * 2, parts.shape[-1] // 2 * 2
    even, odd = parts[..., 0:rows:2, :columns], parts[..., 1:rows:2, :columns]
    vertical = even - odd
    diagonal = 0.5 * (vertical[..., 0::2] - vertical[..., 1::2]).abs().flatten(-3)
    measured = torch.where(diagonal == 0, torch.nan, diagonal)
    return measured.nanmedian(dim=-1).values.nan_to_num(0.0) / 0.6745


def sigma_from_background(magnitude: Tensor, coils: int = 1) -> Tensor:
    """Noise of a magnitude image from the air around the object.

    The second moment in air is ``E[m^2] = 2 n sigma^2`` (Henkelman 1985; Constantinides et al. 1997). The
    quietest of `BLOCKS` x `BLOCKS` blocks gives a first value. Then all pixels below a threshold count,
    corrected for the part of the distribution above it, until the value converges.

    Exact zeros are left out: scanners blank the air, or pad the image. Where the scanner smoothed or interpolated the
    image, its distribution is unchanged but neighbouring pixels are correlated; with parallel imaging the noise of the
    air is not that of the object.

    Parameters
    ----------
    magnitude : Tensor, shape (..., y, x)
        Real, at least 0, not clipped or windowed.
    coils : int
        Coils in a root sum of squares; 1 for one coil and for combinations with coil maps.

    Returns
    -------
    Tensor, shape (...)
        Standard deviation of the real and of the imaginary part in one coil, the unit of the image.

    Raises
    ------
    ShapeError
        If the image is complex, or smaller than `BLOCKS` x `BLOCKS`.
    IntensityError
        If there is no air: blanked by the scanner, or filled by the object.
    """
    if magnitude.is_complex() or magnitude.ndim < 2 or min(magnitude.shape[-2:]) < BLOCKS:
        raise ShapeError(
            f"sigma_from_background wants magnitudes (..., y, x) of at least {BLOCKS} x {BLOCKS}; "
            f"got {magnitude.dtype} {tuple(magnitude.shape)}."
        )
    flat = magnitude.double().reshape(-1, *magnitude.shape[-2:])
    found = [_air_sigma(image, coils) for image in flat]
    return torch.tensor(found, dtype=torch.float64, device=magnitude.device).reshape(magnitude.shape[:-2]).to(magnitude)


def _air_sigma(image: Tensor, coils: int) -> float:
    rows, columns = (n // BLOCKS * BLOCKS for n in image.shape)
    blocks = image[:rows, :columns].unflatten(-1, (BLOCKS, -1)).unflatten(0, (BLOCKS, -1)).movedim(2, 1).flatten(0, 1)
    counts = (blocks > 0).sum((-2, -1))
    # A block that is mostly blanked holds the rim of the object, not air.
    usable = counts > blocks[0].numel() // 2
    squares = torch.where(usable, blocks.square().sum((-2, -1)) / counts.clamp(min=1), torch.inf)
    quietest = int(squares.argmin())
    if not _is_air(blocks[quietest], coils):
        raise IntensityError(
            "No air with noise was found around the object: the scanner blanked it (exact zeros), or the object fills "
            "the image. Use estimate_sigma, or sigma_from_kspace on the raw data."
        )
    present = image[image > 0].square()
    second = float(squares[quietest])
    # In units of 2 sigma^2, m^2 follows a gamma distribution of shape n; the fraction is its mean below the cut,
    # relative to the whole mean.
    cut = (1.0 + _MARGIN * _variation(coils)) ** 2
    shape = torch.tensor(float(coils), dtype=torch.float64)
    reach = cut * shape
    fraction = float(torch.special.gammainc(shape + 1, reach) / torch.special.gammainc(shape, reach))
    for _ in range(_ITERATIONS):
        kept = present[present < cut * second]
        if len(kept) < FEWEST:
            raise IntensityError(f"Only {len(kept)} pixels of air were found; sigma_from_background wants {FEWEST}.")
        updated = float(kept.mean()) / fraction
        if abs(updated - second) < 1e-9 * second:
            break
        second = updated
    return math.sqrt(second / (2.0 * coils))


def _is_air(block: Tensor, coils: int) -> bool:
    """Whether the values scatter as the chi distribution without signal, and evenly so."""
    values = block[block > 0]
    spread = _variation(coils)
    if len(values) < 2 or not 1 / _LIKENESS < float(values.std() / values.mean()) / spread < _LIKENESS:
        return False
    quarters = [q for half in block.tensor_split(2, dim=0) for q in half.tensor_split(2, dim=1) if (q > 0).any()]
    squares = [float(q[q > 0].square().mean()) for q in quarters]
    return max(squares) < _EVENNESS * min(squares)


def _variation(coils: int) -> float:
    """Coefficient of variation of the chi distribution with ``2 coils`` degrees of freedom; 0.523 for one coil."""
    return math.sqrt(coils * math.exp(2 * (math.lgamma(coils) - math.lgamma(coils + 0.5))) - 1.0)


def sigma_from_kspace(kspace: Tensor, radius: float = 1.0) -> Tensor:
    """Noise per coil from the corners or the rim of k-space, where there is hardly any signal.

    ``|n|^2`` is exponential with median ``2 sigma^2 log 2``; the median is robust to the remaining signal.
    Exact zeros are left out: lines that were not measured, partial echoes, zero filling.

    Parameters
    ----------
    kspace : Tensor, shape (..., ky, kx)
        Complex, zero frequency at ``n // 2``; only the two axes given are averaged over, coils stay apart.
    radius : float
        Samples count where ``(ky / ky_max)^2 + (kx / kx_max)^2 >= radius^2``: 1 for the corners outside the
        inscribed ellipse; 0.8 adds a rim, for scans that left the corners out.

    Returns
    -------
    Tensor, shape (...)
        Standard deviation of the real and of the imaginary part, the unit of k-space; that of the image too,
        the transform being orthonormal.

    Raises
    ------
    ShapeError
        If k-space is not complex.
    IntensityError
        If fewer than `FEWEST` samples were measured there in some coil.
    """
    if not kspace.is_complex() or kspace.ndim < 2:
        raise ShapeError(f"sigma_from_kspace wants complex k-space (..., ky, kx); got {kspace.dtype}.")
    squares = [
        ((torch.arange(n, device=kspace.device) - n // 2) / max(n / 2, 1)).square().double() for n in kspace.shape[-2:]
    ]
    outside = squares[0][:, None] + squares[1] >= radius**2
    power = kspace[..., outside].abs().square()
    measured = torch.where(power > 0, power, torch.nan)
    fewest = int((power > 0).sum(-1).min()) if power.shape[-1] else 0
    if fewest < FEWEST:
        raise IntensityError(
            f"Only {fewest} samples were measured beyond radius {radius:g} of k-space; an estimate wants {FEWEST}. "
            "Choose a smaller radius."
        )
    return (measured.nanmedian(dim=-1).values / (2.0 * math.log(2.0))).sqrt()


def coil_covariance(noise: Tensor) -> Tensor:
    """Covariance between coils from samples that hold noise alone: a scan without excitation, or the rim of k-space.

    ``E[n n^H] / 2``, the convention of `CorrelatedGaussian` and `Prewhitening`.

    Parameters
    ----------
    noise : Tensor, shape (coil, ...)
        Complex; all other dimensions are samples.

    Returns
    -------
    Tensor, shape (coil, coil)
        Hermitian.

    Raises
    ------
    ShapeError
        If the noise is not complex, or there are fewer samples than coils.
    """
    if not noise.is_complex() or noise.ndim < 2 or noise[0].numel() < len(noise):
        raise ShapeError(
            f"coil_covariance wants complex noise (coil, samples) with more samples than coils; "
            f"got {noise.dtype} {tuple(noise.shape)}."
        )
    samples = noise.flatten(1)
    samples = samples - samples.mean(dim=1, keepdim=True)
    return samples @ samples.mH / (2.0 * (samples.shape[1] - 1))
