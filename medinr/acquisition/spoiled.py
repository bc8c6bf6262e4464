"""Scans spoiled as scanners spoil them, for tests of what finds and removes noise: only the image file is left.

Every function takes the clean scan and a generator, and returns the noisy scan beside what it would be without noise,
which differs from the clean scan where resolution is lost too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medinr.errors import ConfigError

Array = NDArray[np.float32]

#: Width of `ct_noise`'s filter in cycles per pixel, at which neighbouring pixels correlate by about 0.35.
CT_WIDTH = 0.26


@dataclass(frozen=True, eq=False)
class Spoiled:
    """A noisy scan and its reference.

    Attributes
    ----------
    array : ndarray, shape (z, y, x), float32
    reference : ndarray, shape (z, y, x), float32
        The same without noise.
    kind : {"gaussian", "rician", "chi"}
        As in `medinr.noise.scan_noise.ScanNoise`.
    coils : int
    sigma : float
        Added standard deviation: of real values, or of real and imaginary part each in one coil; mean where it varies.
    sigma_map : ndarray, shape (z, y, x), or None
        Where it varies.
    """

    array: Array
    reference: Array
    kind: str
    sigma: float
    coils: int = 1
    sigma_map: Array | None = None


def rician(clean: Array, sigma: float, generator: np.random.Generator) -> Spoiled:
    """Magnitude of the scan with complex white noise.

    Parameters
    ----------
    clean : ndarray, shape (z, y, x)
        Magnitude.
    sigma : float
        Of real and imaginary part each, in the units of the scan.
    generator : numpy.random.Generator
    """
    _require(sigma)
    return Spoiled(_magnitude(clean, sigma, generator), _single(clean), "rician", sigma)


def chi(clean: Array, sigma: float, generator: np.random.Generator, coils: int = 8) -> Spoiled:
    """Root sum of squares of several coils with independent noise of one sigma (Constantinides et al. 1997).

    How the signal is shared among the coils does not matter to the distribution.

    Parameters
    ----------
    clean, sigma, generator
        As for `rician`; sigma in one coil.
    coils : int

    Raises
    ------
    ConfigError
        For less than one coil.
    """
    _require(sigma)
    if coils < 1:
        raise ConfigError(f"A scan is combined of 1 coil or more; got {coils}.")
    squares = (clean + _white(clean.shape, sigma, generator)) ** 2 + _white(clean.shape, sigma, generator) ** 2
    for _ in range(coils - 1):
        squares += _white(clean.shape, sigma, generator) ** 2 + _white(clean.shape, sigma, generator) ** 2
    kind = "rician" if coils == 1 else "chi"
    return Spoiled(_single(np.sqrt(squares)), _single(clean), kind, sigma, coils)


def doubling(clean: Array, sigma: float, generator: np.random.Generator) -> Spoiled:
    """Rician noise whose sigma grows linearly from the first column to twice that at the last, as beside one coil.

    Parameters
    ----------
    clean, generator
        As for `rician`.
    sigma : float
        Mean over the columns.
    """
    _require(sigma)
    columns = sigma * np.linspace(2 / 3, 4 / 3, clean.shape[2])
    noisy = _magnitude(clean, columns, generator)
    return Spoiled(
        noisy, _single(clean), "rician", sigma, sigma_map=np.broadcast_to(columns, clean.shape).astype(np.float32)
    )


def zero_filled(clean: Array, sigma: float, generator: np.random.Generator, factor: float = 1.5) -> Spoiled:
    """Rician noise of a scanner that measures fewer k-space samples along y and x and fills the others with zeros.

    The matrix keeps its size: only the central ``1 / factor`` of the samples along either axis is kept, and noise is
    added to those. The reference has lost the same samples.

    Parameters
    ----------
    clean, generator
        As for `rician`.
    sigma : float
        Of real and imaginary part each in a pixel of the image.
    factor : float
        Pixels per sample, 1 or more.

    Raises
    ------
    ConfigError
        For a factor below 1.
    """
    _require(sigma)
    if factor < 1:
        raise ConfigError(f"Zero-filling has 1 pixel or more per acquired sample; got {factor}.")
    kept = _central(clean.shape[1], factor)[:, None] & _central(clean.shape[2], factor)[None]
    smooth = np.fft.ifft2(np.fft.fft2(clean) * kept)
    noise = _white(clean.shape, 1.0, generator) + 1j * _white(clean.shape, 1.0, generator)
    # White noise of which only some coefficients are kept has a variance of their share.
    coloured = np.fft.ifft2(np.fft.fft2(noise) * kept) * sigma / np.sqrt(kept.mean())
    return Spoiled(_single(np.abs(smooth + coloured)), _single(np.abs(smooth)), "rician", sigma)


def ct_noise(clean: Array, sigma: float, generator: np.random.Generator) -> Spoiled:
    """Gaussian noise with the power spectrum of filtered backprojection, ``|f| exp(-(f / w)^2)``, in every slice.

    The ramp of the reconstruction makes the noise grow with frequency (Riederer, Pelc & Chesler 1978), the smooth end
    of the filter (``w``: `CT_WIDTH`) makes neighbouring pixels alike.

    Parameters
    ----------
    clean : ndarray, shape (z, y, x)
        In HU.
    sigma : float
        In HU.
    generator : numpy.random.Generator
    """
    _require(sigma)
    radius = np.hypot(*np.meshgrid(*(np.fft.fftfreq(size) for size in clean.shape[1:]), indexing="ij"))
    power = radius * np.exp(-np.square(radius / CT_WIDTH))
    noise = np.fft.ifft2(np.fft.fft2(_white(clean.shape, sigma, generator)) * np.sqrt(power / power.mean())).real
    return Spoiled(_single(clean + noise), _single(clean), "gaussian", sigma)


#: Ways to spoil magnitude scans by name: clean scan, sigma and generator to `Spoiled`.
WAYS: dict[str, Callable[[Array, float, np.random.Generator], Spoiled]] = {
    "rician": rician,
    "chi": chi,
    "doubling": doubling,
    "zero-filled": zero_filled,
}


def _require(sigma: float) -> None:
    if not (np.isfinite(sigma) and sigma > 0):
        raise ConfigError(f"Noise has a finite sigma above 0; got {sigma}.")


def _white(shape: tuple[int, ...], sigma: float, generator: np.random.Generator) -> NDArray[np.float64]:
    return sigma * generator.standard_normal(shape)


def _magnitude(clean: Array, sigma: float | NDArray[np.float64], generator: np.random.Generator) -> Array:
    first, second = (_white(clean.shape, 1.0, generator) for _ in range(2))
    return _single(np.hypot(clean + sigma * first, sigma * second))


def _central(size: int, factor: float) -> NDArray[np.bool_]:
    """Samples kept along an axis, in the order of ``numpy.fft``: as many positive as negative ones."""
    frequency = np.abs(np.fft.fftfreq(size) * size)
    kept: NDArray[np.bool_] = frequency <= (size / factor - 1) / 2
    return kept


def _single(array: NDArray[np.floating]) -> Array:
    return np.ascontiguousarray(array, np.float32)
