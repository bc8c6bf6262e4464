"""The noise of a scan as a run takes it: told, from a noise scan, from repeats, or found from the scan itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medinr.errors import ConfigError, FileError, GeometryError, IntensityError
from medinr.io.padding import HU_FLOOR
from medinr.io.scan import read_scan
from medinr.io.treated import DENOISED_NOTE
from medinr.jobs.scan.source import ScanSource
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume

#: Percentile of the values that counts as the signal's size.
_BRIGHT = 98

#: Grids are one where their affines differ by less (mm, and mm per voxel).
_SAME_MM = 1e-2


@dataclass(frozen=True, eq=False)
class ToldNoise:
    """What a user says of the noise; None where it is to be found.

    Attributes
    ----------
    sigma : float, ndarray of shape (z, y, x), Volume, or None
        Standard deviation in the units of the scan, everywhere or at every voxel.
    scan : Volume or None
        Acquired without signal.
    coils : int or None
        Whose root sum of squares the scan is.
    """

    sigma: float | NDArray[np.float32] | Volume | None = None
    scan: Volume | None = None
    coils: int | None = None

    def __post_init__(self) -> None:
        if self.sigma is not None and self.scan is not None:
            raise ConfigError("The noise is told by sigma or by a noise scan (--noise-scan), not by both.")
        if self.coils is not None and self.coils < 1:
            raise ConfigError(f"Coils are 1 or more; got {self.coils}.")


def read_told(sigma: str | None, noise_scan: Path | None, coils: int | None, like: Volume) -> ToldNoise:
    """Read what is told of the noise.

    Parameters
    ----------
    sigma : str, optional
        A number, or the path of a map on the scan's grid.
    noise_scan : Path, optional
    coils : int, optional
    like : Volume
        The scan.

    Raises
    ------
    ConfigError, FileError, GeometryError
        When a number is not above 0, a file cannot be read, or a map lies on another grid.
    """
    scan = None if noise_scan is None else read_scan(noise_scan, modality=like.modality)
    if sigma is None:
        return ToldNoise(None, scan, coils)
    try:
        number = float(sigma)
    except ValueError:
        path = Path(sigma)
        if not path.exists():
            raise FileError(f"--sigma {sigma}: neither a number nor a file. Give a number or a map.") from None
        return ToldNoise(on_grid_of(read_scan(path, modality=like.modality), like, "--sigma"), scan, coils)
    if not (np.isfinite(number) and number > 0):
        raise ConfigError(f"--sigma {sigma}: a standard deviation is a finite number above 0.")
    return ToldNoise(number, scan, coils)


def read_mask(path: Path | None, like: Volume) -> NDArray[np.bool_] | None:
    """Read a mask on the grid of a scan, shape (z, y, x); None without one.

    Raises
    ------
    FileError, GeometryError, IntensityError
        When it cannot be read, lies on another grid, or is empty.
    """
    if path is None:
        return None
    mask = on_grid_of(read_scan(path, modality="OT"), like, "--mask").array != 0
    if not mask.any():
        raise IntensityError("--mask: no voxel is above zero. Give a mask of what is to be treated.")
    return np.asarray(mask)


def on_grid_of(volume: Volume, like: Volume, name: str) -> Volume:
    """Return a volume that lies on the grid of another (raises `GeometryError` when it does not)."""
    if volume.shape != like.shape or float(np.abs(volume.affine - like.affine).max()) > _SAME_MM:
        raise GeometryError(
            f"{name}: it has {volume.shape[::-1]} voxels (x, y, z) of {_mm(volume)}; the scan has {like.shape[::-1]} "
            f"of {_mm(like)}, or they lie elsewhere. Bring it there: medinr convert FILE --grid SCAN --out ON_GRID"
        )
    return volume


def find_noise(source: ScanSource, told: ToldNoise, mask: NDArray[np.bool_] | None = None) -> ScanNoise:
    """Find the noise of a scan, and refuse noise that is larger than the signal.

    Parameters
    ----------
    source : ScanSource
    told : ToldNoise
    mask : ndarray of bool, shape (z, y, x), optional
        Where noise is looked for.

    Raises
    ------
    IntensityError
        When sigma is larger than the signal.
    """
    noise = _found(source, told, mask)
    values = np.abs(source.first.array) if np.iscomplexobj(source.first.array) else source.first.array
    if source.first.unit == "HU":
        values = values - HU_FLOOR
    signal = float(np.percentile(values if mask is None else values[mask], _BRIGHT))
    if noise.sigma >= signal:
        raise IntensityError(
            f"sigma {noise.sigma:.4g} is larger than the signal ({_BRIGHT}th percentile {signal:.4g}, in "
            f"{source.first.unit}): there is nothing that could be kept. Is it told in the scan's own units?"
        )
    return noise


def _found(source: ScanSource, told: ToldNoise, mask: NDArray[np.bool_] | None) -> ScanNoise:
    volume = source.first
    if told.sigma is not None:
        from medinr.noise.told import told_noise

        return told_noise(volume, told.sigma, coils=told.coils)
    if told.scan is not None:
        from medinr.noise.noise_scan import noise_of_noise_scan

        return noise_of_noise_scan(volume, told.scan, coils=told.coils)
    if source.repeats:
        from medinr.noise.repeats import noise_of_repeats

        return noise_of_repeats(source.repeats, coils=told.coils)
    from medinr.noise.estimate import estimate_noise

    return estimate_noise(volume, coils=told.coils, mask=mask)


def doubted_where_denoised(noise: ScanNoise, volume: Volume, told: ToldNoise) -> ScanNoise:
    """Trust no noise that was found in what `medinr denoise` gave: what is left there is mostly tissue."""
    if DENOISED_NOTE not in volume.provenance.notes or told.sigma is not None or told.scan is not None:
        return noise
    return replace(noise, reliable=False, remarks=(*noise.remarks, DENOISED_NOTE))


def noise_words(noise: ScanNoise, unit: str) -> str:
    """Say what was found, in a line."""
    kinds = {"gaussian": "Gaussian", "rician": "Rician", "chi": f"non-central chi of {noise.coils} coils"}
    words = f"noise: sigma {noise.sigma:.4g} {unit}, {kinds[noise.kind]}"
    words += ", varies in space" if noise.sigma_map is not None else ""
    if noise.autocorrelation is not None:
        words += f", neighbours correlate by {noise.facts['neighbours_correlate_by']:.2f}"
    if noise.across is not None and any(table is not None for table in noise.across):
        words += f", neighbouring slices by {noise.facts['slices_correlate_by']:.2f}"
    if max(noise.zero_filling) > 1:
        y, x = noise.zero_filling
        words += f", zero-filled x {y:.2f} (y) and {x:.2f} (x)"
    return f"{words}; {noise.how or 'as told'}"


def _mm(volume: Volume) -> str:
    return " x ".join(f"{spacing:.2f}" for spacing in volume.spacing) + " mm"
