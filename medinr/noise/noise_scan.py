"""Noise from a separate scan of noise alone: no excitation, everything else as in the scan itself."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from medinr.errors import IntensityError, ShapeError
from medinr.noise.correlation import measured_autocorrelation, unless_independent
from medinr.noise.estimate import known_kind
from medinr.noise.planes import Axes, Table, tables_of, turned
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

#: Largest and smallest number of coils that moments of a noise scan may give.
_COILS = (0.7, 64.0)

#: Width of the Gaussian over the squares, as a share of the slice, and spread of the logarithm of sigma from which it
#: counts as varying.
_SMOOTHING = 0.06
_SPREAD = 0.05

#: Correlations of squares below this over the root of the number of pixels are chance.
_CHANCE = 8.0

#: Effective coils from which noise counts as non-central chi.
_SEVERAL_COILS = 1.5


def noise_of_noise_scan(
    volume: Volume, noise: Volume, *, kind: str | None = None, coils: int | None = None
) -> ScanNoise:
    """Take the noise of a scan from a scan of noise alone.

    Magnitudes without signal have ``E[m^2] = 2 n sigma^2`` in ``n`` coils (Constantinides et al. 1997), and
    ``n = 1 / (E[m^4] / E[m^2]^2 - 1)``.

    Parameters
    ----------
    volume : Volume
        The scan.
    noise : Volume
        In the unit of the scan. On the same grid it gives a map where sigma varies; on another it gives one value.
    kind, coils
        As for `estimate_noise`.

    Raises
    ------
    IntensityError
        If the noise scan holds NaN, is zero or constant, holds an object, or is louder than the scan.
    ShapeError
        If one of the two is complex and the other is not.
    """
    noise.require_finite("the noise scan")
    if np.iscomplexobj(noise.array) != np.iscomplexobj(volume.array):
        raise ShapeError("The scan and the noise scan must both be complex, or both be magnitudes.")
    known = known_kind(volume, kind, coils)
    present = noise.array != 0
    if present.sum() < 100:
        raise IntensityError("The noise scan is zero (almost) everywhere: the scanner blanked it. Leave it out.")
    gaussian = known == "gaussian"
    centred = noise.array - noise.array[present].mean() if gaussian else noise.array
    squares = np.where(present, np.square(np.abs(centred)), 0.0)
    parts = 2 if np.iscomplexobj(noise.array) else 1
    widths = (0.0, *(_SMOOTHING * size for size in noise.shape[1:]))
    share = ndimage.gaussian_filter(present.astype(float), widths)
    local = ndimage.gaussian_filter(squares, widths) / np.maximum(share, 1e-6)
    local = np.where(share > 0.05, local, float(squares[present].mean()))
    count = 1
    if not gaussian:
        relative = squares[present] / local[present]
        effective = 1.0 / max(float(np.mean(relative**2) / np.mean(relative) ** 2) - 1.0, 1e-6)
        if not _COILS[0] <= effective <= _COILS[1]:
            raise IntensityError(
                "The values of the noise scan are not those of noise without signal: "
                f"{'an object shines through' if effective < 1 else 'they hardly scatter'}. "
                "Give a scan without excitation, or leave it out."
            )
        known = known or ("chi" if (coils or effective) >= _SEVERAL_COILS else "rician")
        count = (coils or max(1, round(effective))) if known == "chi" else 1
        parts = 2 * count
    middle = float(np.median(local[present]))
    sigma = float(np.sqrt(middle / parts))
    if sigma <= 0:
        raise IntensityError("The noise scan has one value everywhere, so it holds no noise. Leave it out.")
    largest = np.quantile(np.abs(volume.array + 1000.0 if volume.unit == "HU" else volume.array), 0.99)
    if sigma >= float(largest):
        raise IntensityError(
            f"The noise scan (sigma {sigma:.4g}) is stronger than the scan (99 % of it below {float(largest):.4g}): "
            "the two are scaled differently. Scale the noise scan like the scan."
        )
    varies = float(np.std(np.log(local[present]))) / 2 > _SPREAD
    remarks: tuple[str, ...] = ()
    sigma_map = None
    if varies and noise.shape == volume.shape:
        sigma_map = np.sqrt(local / parts).astype(np.float32)
    elif varies:
        remarks = ("Sigma varies over the noise scan, which lies on another grid than the scan: its median counts.",)
    even = centred / np.sqrt(local) if gaussian else np.where(present, squares / local - 1.0, 0.0)

    def table(axes: Axes) -> Table:
        found = measured_autocorrelation(turned(even, axes), turned(present, axes))
        if not gaussian:
            # Squared magnitudes of complex noise correlate by the square of its correlation.
            found = np.sqrt(np.maximum(found, 0.0))
            found[found < np.sqrt(_CHANCE / np.sqrt(present.sum()))] = 0.0
        return unless_independent(found)

    within, across = tables_of(volume, table)
    return ScanNoise(
        known or "rician",
        sigma,
        count,
        sigma_map,
        within,
        how="from a separate scan of noise",
        remarks=remarks,
        across=across,
    )
