"""A scan in, the same scan denoised or on a finer grid out, without files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from medinr.api.arrays import Array, as_numpy
from medinr.io.treated import DENOISED_NOTE
from medinr.jobs.scan.denoise import denoised
from medinr.jobs.scan.in_memory import as_volume, open_in_memory
from medinr.jobs.scan.methods import DEFAULT_METHOD, Progress
from medinr.jobs.scan.result import ScanResult
from medinr.jobs.scan.superres import refined
from medinr.jobs.scan.target import WantedGrid, plan_grid
from medinr.models.model import Model
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Volume


def denoise(
    volume: Volume | Array,
    *,
    sigma: float | Array | Volume | None = None,
    noise: ScanNoise | Volume | None = None,
    coils: int | None = None,
    blend: float | None = None,
    mask: Array | None = None,
    model: str | Model | None = None,
    method: str | None = None,
    spacing: Sequence[float] | None = None,
    modality: str = "MR",
    force: bool = False,
    progress: Progress | None = None,
) -> ScanResult:
    """Denoise a scan as it was acquired; its noise is found from the scan unless it is told.

    A prior that was learned from other people's scans can remove small structure, or invent it.

    Parameters
    ----------
    volume : Volume or array
        A scan as `medinr.load_scan` gives it; or (y, x) or (z, y, x): magnitudes, complex values, or Hounsfield units
        with ``modality="CT"``.
    sigma : float, array of shape (z, y, x) or Volume, optional
        Standard deviation of the noise, in the units of the scan.
    noise : ScanNoise or Volume, optional
        What another call found, or a scan that was acquired without signal.
    coils : int, optional
        Whose root sum of squares the scan is.
    blend : float, optional
        0 gives the input, 1 the full effect. By default 1, or 0.25 where the noise cannot be found reliably.
    mask : array of shape (z, y, x), optional
        Where it is not zero is treated; elsewhere values stay.
    model : str or Model, optional
        The shipped one for the modality by default; ``"auto"`` takes the general one for an unusual scan.
    method : str, optional
        Of `medinr.jobs.scan.methods.DENOISERS`; the learned denoiser by default.
    spacing : sequence of float, optional
        Of an array, (y, x) or (z, y, x) in mm; 1 mm by default.
    modality : {"MR", "CT"}
        Of an array.
    force : bool
        Treat labels, quantitative maps and phase all the same.
    progress : callable, optional
        Called with slices done and slices in all.

    Returns
    -------
    ScanResult
        ``array`` has the shape that came in; ``removed`` is what was taken away, ``noise`` what was found.

    Raises
    ------
    InputError
        In words, when the scan cannot be treated.

    Examples
    --------
    >>> import numpy as np
    >>> import medinr as mi
    >>> scan = np.random.default_rng(0).rayleigh(10.0, (2, 48, 48)) + 100 * np.eye(48)
    >>> result = mi.denoise(scan, sigma=10.0)  # doctest: +SKIP
    >>> result.array.shape, result.noise.sigma  # doctest: +SKIP
    ((2, 48, 48), 10.0)
    """
    started = time.perf_counter()
    scan, planar = as_volume(_numpy(volume), spacing, modality)
    opened = open_in_memory(
        scan,
        sigma=_told(sigma),
        noise=noise,
        coils=coils,
        blend=blend,
        mask=None if mask is None else as_numpy(mask),
        model=model,
        force=force,
        to_denoise=True,
    )
    values = denoised(
        scan,
        opened.noise,
        opened.model,
        method=method or DEFAULT_METHOD,
        blend=opened.blend.value,
        mask=opened.mask,
        progress=progress,
    )
    provenance = replace(scan.provenance, notes=(*scan.provenance.notes, DENOISED_NOTE))
    return ScanResult(
        replace(scan.with_array(values), provenance=provenance),
        scan.with_array(scan.array - values),
        opened.noise,
        opened.blend.value,
        opened.notes,
        opened.warnings,
        time.perf_counter() - started,
        planar=planar,
    )


def superres(
    volume: Volume | Array,
    *,
    spacing: float | Sequence[float] | None = None,
    factor: float | Sequence[float] | None = None,
    like: Volume | None = None,
    slice_thickness: float | None = None,
    sigma: float | Array | Volume | None = None,
    noise: ScanNoise | Volume | None = None,
    coils: int | None = None,
    blend: float | None = None,
    mask: Array | None = None,
    model: str | Model | None = None,
    method: str | None = None,
    array_spacing: Sequence[float] | None = None,
    modality: str = "MR",
    force: bool = False,
    progress: Progress | None = None,
) -> ScanResult:
    """Bring a scan as it was acquired to a finer grid, by its slice profile and its noise.

    A prior that was learned from other people's scans can remove small structure, or invent it.

    Parameters
    ----------
    volume : Volume or array
        As of `denoise`.
    spacing : float or three of them, optional
        Of the voxels wanted, in mm: cubic, or along (x, y, z).
    factor : float or three of them, optional
        Times finer along all axes, or along (x, y, z).
    like : Volume, optional
        A scan whose grid is wanted. Exactly one of the three is given.
    slice_thickness : float, optional
        In mm, as acquired; by default the header's, or the distance of the slices.
    sigma, noise, coils, blend, mask, model, method, modality, force : optional
        As of `denoise`; a blend of 0 gives cubic splines.
    array_spacing : sequence of float, optional
        Of an array, (y, x) or (z, y, x) in mm; 1 mm by default.
    progress : callable, optional
        Called with steps done and steps in all.

    Returns
    -------
    ScanResult
        ``volume`` on the finer grid; ``residual`` is what the result, measured again, leaves of the scan, over sigma.

    Raises
    ------
    InputError
        In words, when the scan cannot be treated.
    """
    started = time.perf_counter()
    scan, planar = as_volume(_numpy(volume), array_spacing, modality)
    wanted = WantedGrid(_numbers(spacing, planar, scan.spacing[2]), _numbers(factor, planar, 1.0), like)
    grid, notes = plan_grid(scan, wanted, slice_thickness)
    opened = open_in_memory(
        scan,
        sigma=_told(sigma),
        noise=noise,
        coils=coils,
        blend=blend,
        mask=None if mask is None else as_numpy(mask),
        model=model,
        force=force,
    )
    found, residual = refined(
        scan,
        grid,
        opened.noise,
        opened.model,
        method=method or DEFAULT_METHOD,
        blend=opened.blend.value,
        mask=opened.mask,
        progress=progress,
    )
    return ScanResult(
        found,
        None,
        opened.noise,
        opened.blend.value,
        (*opened.notes, *notes),
        opened.warnings,
        time.perf_counter() - started,
        residual,
        planar,
    )


def _numbers(given: float | Sequence[float] | None, planar: bool, through: float) -> tuple[float, ...] | None:
    """One number or three; of an image, along its own axes alone."""
    if given is None:
        return None
    numbers = (float(given),) if isinstance(given, int | float) else tuple(float(one) for one in given)
    return (*numbers[:1] * 2, through) if planar and len(numbers) == 1 else numbers


def _numpy(values: Volume | Array) -> Volume | NDArray[Any]:
    return values if isinstance(values, Volume) else as_numpy(values)


def _told(sigma: float | Array | Volume | None) -> float | NDArray[Any] | Volume | None:
    if sigma is None or isinstance(sigma, Volume):
        return sigma
    values = as_numpy(sigma)
    return values if values.ndim else float(values)
