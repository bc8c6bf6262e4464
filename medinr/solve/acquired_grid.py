"""Zero filling undone and done again: images on the grid of what was acquired, where noise is independent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.noise.correlation import unless_independent
from medinr.noise.scan_noise import ScanNoise


def acquired_shape(shape: tuple[int, int], zero_filling: tuple[float, float]) -> tuple[int, int]:
    """Acquired samples along (y, x) of slices of a shape, see `medinr.noise.scan_noise.ScanNoise.zero_filling`."""
    y, x = (max(1, round(size / ratio)) for size, ratio in zip(shape, zero_filling, strict=True))
    return y, x


def on_frequencies(image: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Crop, or fill with zeros, the centred k-space of an image; its values keep their size.

    Parameters
    ----------
    image : ndarray, shape (y, x)
        Real or complex.
    shape : (int, int)
        Wanted (y, x): fewer keep the central frequencies, more interpolate between pixels.

    Returns
    -------
    ndarray, shape ``shape``
        Of the same type. Where an axis of even length is cropped or filled, its highest frequency is left out, which
        has no partner of the other sign.
    """
    found = image
    for axis, wanted in enumerate(shape):
        size = found.shape[axis]
        if size == wanted:
            continue
        spectrum = np.moveaxis(np.fft.fft(found, axis=axis), axis, -1)
        half = (min(size, wanted) - 1) // 2
        filled = np.zeros((*spectrum.shape[:-1], wanted), spectrum.dtype)
        filled[..., : half + 1] = spectrum[..., : half + 1]
        if half:
            filled[..., -half:] = spectrum[..., -half:]
        found = np.moveaxis(np.fft.ifft(filled, axis=-1), -1, axis) * (wanted / size)
    return (found if np.iscomplexobj(image) else found.real).astype(image.dtype)


def on_acquired_grid(noise: ScanNoise) -> ScanNoise:
    """Noise of a scan whose zero filling is undone: its standard deviation is the same, its correlation is not.

    The autocorrelation on the acquired grid is that of the scan at multiples of the pixels per acquired sample.

    Parameters
    ----------
    noise : ScanNoise
        Of the scan as it is.

    Returns
    -------
    ScanNoise
        Without zero filling; the map of sigma stays on the grid of the scan.
    """
    table = noise.autocorrelation
    if table is None or noise.zero_filling == (1.0, 1.0):
        return replace(noise, zero_filling=(1.0, 1.0))
    along_y, along_x = (
        _band_limited(size // 2, ratio) for size, ratio in zip(table.shape, noise.zero_filling, strict=True)
    )
    found = along_y @ table @ along_x.T
    return replace(noise, autocorrelation=unless_independent(found), zero_filling=(1.0, 1.0))


def _band_limited(reach: int, ratio: float) -> NDArray[np.float64]:
    """Interpolation from distances of up to ``reach`` pixels to multiples of ``ratio`` pixels within them."""
    most = int(reach / ratio)
    distances = np.subtract.outer(ratio * np.arange(-most, most + 1), np.arange(-reach, reach + 1))
    return np.asarray(np.sinc(distances), dtype=np.float64)
