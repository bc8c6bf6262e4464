"""Noise that the user tells: a number, or a map of the standard deviation."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from medinr.errors import IntensityError, ShapeError
from medinr.noise.estimate import known_kind
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

#: Largest ratio of the entries of a map that counts as the same everywhere.
_EVEN = 1.001


def told_noise(
    volume: Volume,
    sigma: float | NDArray[np.generic] | Volume,
    *,
    kind: str | None = None,
    coils: int | None = None,
) -> ScanNoise:
    """Take the noise of a scan from the user.

    Parameters
    ----------
    volume : Volume
    sigma : float, ndarray of shape (z, y, x), or Volume
        Standard deviation in the unit of the scan; of complex values in the real and in the imaginary part each.
        A `Volume` must lie on the grid of the scan.
    kind, coils
        As for `estimate_noise`; magnitudes count as Rician unless told otherwise.

    Raises
    ------
    IntensityError
        If sigma is not finite, not positive, or larger than the signal.
    ShapeError
        If a map has another grid than the scan.
    """
    volume.require_finite()
    known = known_kind(volume, kind, coils) or "rician"
    count = (coils or 1) if known == "chi" else 1
    values = np.asarray(sigma.array if isinstance(sigma, Volume) else sigma)
    if np.iscomplexobj(values) or values.dtype.kind not in "fiu":
        raise ShapeError(f"Sigma is a real number or a map of real numbers; got {values.dtype}.")
    if (
        isinstance(sigma, Volume)
        and sigma.shape == volume.shape
        and not np.allclose(sigma.affine, volume.affine, atol=1e-2)
    ):
        raise ShapeError(
            "The map of sigma lies elsewhere than the scan (another affine). Resample it to the scan's grid."
        )
    if values.ndim and values.shape != volume.shape:
        raise ShapeError(
            f"The map of sigma has shape {values.shape}, the scan {volume.shape} along (z, y, x). "
            "Give a map on the scan's grid, or a number."
        )
    if not np.isfinite(values).all() or (values < 0).any() or not (values > 0).any():
        bad = f"{float(values):g}" if values.ndim == 0 else "a map with NaN, infinite, negative or only zero entries"
        raise IntensityError(f"Sigma is a positive, finite number in the unit of the scan ({volume.unit}); got {bad}.")
    magnitudes = np.abs(volume.array)
    present = magnitudes > 0
    if not present.any():
        raise IntensityError("The scan is zero everywhere, so there is nothing to denoise. Choose another scan.")
    if values.ndim == 0:
        middle, sigma_map = float(values), None
    else:
        inside = present & (values > 0)
        if not inside.any():
            raise IntensityError("The map of sigma is zero wherever the scan has values. Give sigma inside the object.")
        low, middle, high = np.quantile(values[inside], (0.01, 0.5, 0.99)).tolist()
        sigma_map = None if high <= _EVEN * low else np.where(values > 0, values, middle).astype(np.float32)
    signal = np.abs(volume.array + 1000.0) if volume.unit == "HU" else magnitudes[present]
    largest = float(np.quantile(signal, 0.99))
    if not math.isfinite(middle) or middle >= largest:
        raise IntensityError(
            f"Sigma {middle:.4g} is larger than the signal: 99 % of the scan's values are below {largest:.4g} "
            f"({volume.unit}). Give sigma in the unit of the scan, not in per cent."
        )
    how = "told" if values.ndim == 0 else "told, as a map"
    return ScanNoise(known, middle, count, sigma_map, None, (1.0, 1.0), True, how)
