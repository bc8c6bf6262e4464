"""Find the noise of a scan from the scan alone.

=====================  ==========================================================================
`patches`              small patches of some slices, padding and blanked background left out
`air`                  how many coils the noise of magnitudes acts like, where there is air
`local_spectrum`       variance of cosine coefficients in the smoothest patches of the object
`signal_bias`          correction for the smaller scatter of magnitudes at low signal
`variation`            map of sigma over a slice, where it varies
`air_levels`           the map continued into the air, where that agrees with the object
`correlation`          autocorrelation of the noise from its spectrum
`zero_filling`         pixels per acquired sample
`planes`               the same across the slices, where voxels are nearly cubic
`reliability`          whether to believe it
=====================  ==========================================================================
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medinr.errors import ConfigError, IntensityError, ShapeError, UnitError
from medinr.io.padding import HU_FLOOR
from medinr.noise.air import Air, find_air
from medinr.noise.air_levels import continued_into_air
from medinr.noise.correlation import INDEPENDENT, autocorrelation, neighbours
from medinr.noise.object_noise import ObjectNoise, object_noise
from medinr.noise.patches import FEWEST_PATCHES, Patches, chosen_slices, cut_patches
from medinr.noise.planes import ACROSS, has_planes_across, turned, turned_volume
from medinr.noise.reliability import reasons_against
from medinr.noise.scan_noise import KINDS, ScanNoise
from medinr.noise.variation import on_grid
from medinr.noise.zero_filling import header_pixels_per_sample, pixels_per_sample
from medinr.volume import Volume

#: Effective coils of the air from which noise counts as non-central chi.
_SEVERAL_COILS = 1.5

#: Soft tissue, in HU, in which the noise of CT is measured where there are so many patches of it.
_SOFT_TISSUE = (-250.0, 250.0)
_ENOUGH = 400

#: Ratios of the sigma of air and object that may be chance.
_ALIKE = (0.75, 1.33)


def estimate_noise(
    volume: Volume, *, kind: str | None = None, coils: int | None = None, mask: NDArray[np.bool_] | None = None
) -> ScanNoise:
    """Find how noisy a scan is.

    Parameters
    ----------
    volume : Volume
        In any orientation; noise of different slices counts as independent.
    kind : {"gaussian", "rician", "chi"}, optional
        By default: Gaussian for CT, complex values and real parts; for magnitudes Rician, or non-central chi where the
        air acts like several coils.
    coils : int, optional
        In a root sum of squares; more than one means non-central chi.
    mask : ndarray of bool, shape (z, y, x), optional
        The object. By default whatever stands out of the noise.

    Returns
    -------
    ScanNoise
        Not `reliable` where there is too little noise to be told from structure; remarks say why.

    Raises
    ------
    IntensityError
        If the scan holds NaN, is constant, too small, or nothing stands out of the noise.
    UnitError
        If the scan is a phase.
    ConfigError, ShapeError
        If kind, coils and mask do not fit the scan.
    """
    if mask is not None and mask.shape != volume.shape:
        raise ShapeError(f"The mask has shape {mask.shape}, the scan {volume.shape} along (z, y, x).")
    volume.require_finite()
    found = _within_slices(volume, kind, coils, mask)
    if not found.reliable or not has_planes_across(volume):
        return found
    return replace(found, across=_across_slices(volume, found, mask))


def _across_slices(
    volume: Volume, noise: ScanNoise, mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] | None:
    """Autocorrelation in planes across the slices, found there as within them; None where that fails."""
    tables = []
    for axes in ACROSS:
        inside = None if mask is None else turned(mask, axes)
        try:
            found = _within_slices(turned_volume(volume, axes), noise.kind, noise.coils, inside)
        except IntensityError:
            return None
        tables.append(found.autocorrelation)
    return tables[0], tables[1]


def _within_slices(volume: Volume, kind: str | None, coils: int | None, mask: NDArray[np.bool_] | None) -> ScanNoise:
    known = known_kind(volume, kind, coils)
    numbers = chosen_slices(volume.shape[0])
    planes = volume.array[numbers]
    usable = np.asarray(planes > HU_FLOOR) if volume.unit == "HU" else np.asarray(planes != 0)
    if not usable.any() or (planes[usable] == planes[usable][0]).all():
        raise IntensityError("The scan has one value everywhere, so it has no noise to be found. Choose another scan.")
    parts = [planes.real, planes.imag] if np.iscomplexobj(planes) else [planes]
    patches = cut_patches(
        np.concatenate(parts).astype(np.float32, copy=False),
        np.concatenate([usable] * len(parts)),
        numbers * len(parts),
        volume.shape[0],
    )
    bright = float(np.quantile(np.abs(planes[usable] + 1000.0 if volume.unit == "HU" else planes[usable]), 0.99))
    filling = (1.0, 1.0) if volume.modality == "CT" or volume.unit != "a.u." else pixels_per_sample(planes)
    of_object = _may_be_object(patches, volume, mask)
    for air in (None,) if known == "gaussian" else (find_air(patches, bright), None):
        of_air = max(1, round(air.coils)) if air is not None and (known or air.coils >= _SEVERAL_COILS) else 1
        several = known == "chi" or (known is None and of_air > 1)
        number = 0 if known == "gaussian" else (coils or of_air) if several else 1
        found = object_noise(of_object, bright, number)
        if air is None or air.sigma <= _ALIKE[1] * found.spectrum.sigma:
            break
    kind = known or ("chi" if several else "rician")
    if kind != "gaussian":
        found = replace(found, surface=continued_into_air(found, patches, number))
    return _described(volume, kind, max(1, number), found, air, bright, filling, planes)


def known_kind(volume: Volume, kind: str | None, coils: int | None) -> str | None:
    """Kind of the noise by what the scan is and what was said of it; None for magnitudes of which nothing was said.

    Raises
    ------
    ConfigError
        If kind and coils do not fit the scan, or each other.
    UnitError
        If the scan is a phase.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"The kind of the noise is one of {', '.join(KINDS)}; got {kind!r}.")
    if coils is not None and coils < 1:
        raise ConfigError(f"The number of coils is a whole number of at least 1; got {coils}.")
    if coils is not None and coils > 1 and kind not in (None, "chi"):
        raise ConfigError(f"Noise of kind {kind} has no coils to count; leave out either kind or coils ({coils}).")
    component = volume.provenance.facts.component
    if component == "phase":
        raise UnitError(
            "The scan is a phase, whose noise depends on the magnitude. Give magnitude and phase, or complex values."
        )
    if np.iscomplexobj(volume.array):
        if kind not in (None, "gaussian") or (coils or 1) > 1:
            raise ConfigError("Complex values have Gaussian noise; leave out kind and coils.")
        return "gaussian"
    if kind is not None:
        return kind
    if coils is not None:
        return "chi" if coils > 1 else "rician"
    real = volume.unit != "a.u." or volume.modality == "CT" or component in ("real", "imaginary")
    return "gaussian" if real else None


def _may_be_object(patches: Patches, volume: Volume, mask: NDArray[np.bool_] | None) -> Patches:
    if mask is not None:
        z, y, x = (np.round(patches.centres[:, axis]).astype(int) for axis in range(3))
        chosen = patches.only(mask[z, y, x])
        if len(chosen.means) < FEWEST_PATCHES:
            raise IntensityError(
                f"The mask holds {len(chosen.means)} of the patches in which noise is looked for; "
                f"{FEWEST_PATCHES} are needed. Give a larger mask, or none."
            )
        return chosen
    if volume.unit == "HU":
        soft = (patches.means > _SOFT_TISSUE[0]) & (patches.means < _SOFT_TISSUE[1])
        return patches.only(soft) if soft.sum() >= _ENOUGH else patches
    return patches


def _described(
    volume: Volume,
    kind: str,
    coils: int,
    found: ObjectNoise,
    air: Air | None,
    bright: float,
    filling: tuple[float, float],
    planes: NDArray[np.generic],
) -> ScanNoise:
    spectrum = found.spectrum
    table = autocorrelation(spectrum.variance, spectrum.patches) if spectrum.sigma > 0 else None
    if table is not None and neighbours(table) < INDEPENDENT:
        table, spectrum, filling = None, spectrum.flat, (1.0, 1.0)
    elif filling == (1.0, 1.0) and volume.modality != "CT":
        filling = header_pixels_per_sample(volume.shape, volume.provenance.facts.acquired_matrix)
    sigma = spectrum.sigma
    remarks = list(reasons_against(sigma, found, bright, planes))
    reliable = not remarks
    sigma_map = None
    if found.surface is not None and reliable:
        depth, height, width = volume.shape
        plane = (sigma * np.exp(on_grid(found.surface, height, width))).astype(np.float32)
        sigma_map = np.repeat(plane[None], depth, axis=0)
    how = f"from the smoothest of {found.patches} patches of the object (variance of their cosine coefficients)"
    if kind != "gaussian":
        how += ", corrected for the smaller scatter of magnitudes at low signal"
    if air is not None:
        how += f"; the air acts like {air.coils:.1f} coils with sigma {air.sigma:.4g}"
        if not _ALIKE[0] < air.sigma / max(sigma, 1e-12) < _ALIKE[1]:
            remarks.append(
                f"The noise of the air (sigma {air.sigma:.4g}) is not that of the object ({sigma:.4g}), "
                "as after parallel imaging or filtering; that of the object counts."
            )
    return ScanNoise(kind, sigma, coils, sigma_map, table, filling, reliable, how, tuple(remarks))
