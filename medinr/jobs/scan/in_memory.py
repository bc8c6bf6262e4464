"""A scan that is in memory already, made ready as `medinr.jobs.scan.prepare` makes one that is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.errors import ConfigError, GeometryError, IntensityError, ShapeError
from medinr.jobs.audit.audit import audit_volume
from medinr.jobs.scan.effect import Blend
from medinr.jobs.scan.judge import judge
from medinr.jobs.scan.noise import ToldNoise, doubted_where_denoised, find_noise
from medinr.jobs.scan.source import ScanSource
from medinr.jobs.scan.suitable import require_suitable
from medinr.jobs.scan.suited_model import ScanModel, open_scan_model
from medinr.models.model import Model
from medinr.models.suited import SPECIAL
from medinr.noise.scan_noise import ScanNoise
from medinr.volume import Provenance, ScanFacts, Volume


@dataclass(frozen=True, eq=False)
class OpenScan:
    """What a scan is treated with.

    Attributes
    ----------
    noise : ScanNoise
    blend : Blend
    mask : ndarray of bool, shape (z, y, x), or None
    model : Model
    notes, warnings : tuple of str
    """

    noise: ScanNoise
    blend: Blend
    mask: NDArray[np.bool_] | None
    model: Model
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def as_volume(values: Volume | NDArray[Any], spacing: Sequence[float] | None, modality: str) -> tuple[Volume, bool]:
    """Make a volume of an array.

    Parameters
    ----------
    values : Volume or ndarray, shape (y, x) or (z, y, x)
    spacing : sequence of float, optional
        Along the axes of the array, in mm; 1 mm by default.
    modality : {"MR", "CT"}
        CT in HU.

    Returns
    -------
    Volume
    planar : bool
        Whether it came as one image.

    Raises
    ------
    ShapeError, GeometryError, ConfigError
    """
    if isinstance(values, Volume):
        if spacing is not None:
            raise ConfigError("A Volume knows its own spacing; leave the spacing out, or give an array.")
        return values, False
    if values.ndim not in (2, 3):
        raise ShapeError(f"A scan is (y, x) or (z, y, x); got shape {values.shape}. Treat volumes one by one.")
    if modality not in SPECIAL:
        raise ConfigError(f"modality is one of {', '.join(SPECIAL)}; got {modality!r}.")
    mm = [1.0] * values.ndim if spacing is None else [float(one) for one in spacing]
    if len(mm) != values.ndim or not all(np.isfinite(one) and one > 0 for one in mm):
        raise GeometryError(f"spacing is {values.ndim} lengths above 0 mm, along the array's axes; got {spacing}.")
    kind = np.complex64 if np.iscomplexobj(values) else np.float32
    array: Any = np.ascontiguousarray(values, dtype=kind).reshape((1,) * (3 - values.ndim) + values.shape)
    x, y, z = [*mm[::-1], 1.0][:3]
    facts = ScanFacts(component="complex") if np.iscomplexobj(values) else ScanFacts()
    affine = np.diag([-x, -y, z, 1.0])
    unit = "HU" if modality == "CT" else "a.u."
    return Volume(array, affine, modality, unit, Provenance(facts=facts)), values.ndim == 2


def open_in_memory(
    scan: Volume,
    *,
    sigma: float | NDArray[Any] | Volume | None = None,
    noise: ScanNoise | Volume | None = None,
    coils: int | None = None,
    blend: float | None = None,
    mask: NDArray[Any] | None = None,
    model: str | Model | None = None,
    force: bool = False,
    to_denoise: bool = False,
) -> OpenScan:
    """Refuse a scan or take it, and find its noise (parameters as of `medinr.api.scan.denoise`).

    A scan that is `to_denoise` and was denoised by medinr already is trusted less, unless forced.

    Raises
    ------
    InputError
    """
    if blend is not None and not 0 <= blend <= 1:
        raise ConfigError(f"blend is from 0 (the input) to 1 (the full effect); got {blend}.")
    if noise is not None and (sigma is not None or (coils is not None and isinstance(noise, ScanNoise))):
        raise ConfigError("noise says all there is to say of it: leave sigma and coils out.")
    scan.require_finite()
    if not scan.array.any():
        raise IntensityError("the scan: every voxel is zero; there is nothing to treat.")
    forced = require_suitable(scan, force)
    where = None if mask is None else np.asarray(mask) != 0
    if where is not None:
        where = where.reshape(scan.shape) if where.size == scan.array.size else where
        if where.shape != scan.shape or not where.any():
            raise ShapeError(f"mask has shape {where.shape}, or is empty; the scan is {scan.shape} (z, y, x).")
    opened = ScanModel("", model) if isinstance(model, Model) else open_scan_model(scan, model)
    if isinstance(noise, ScanNoise):
        found = noise
    else:
        if isinstance(sigma, np.ndarray) and sigma.size == scan.array.size:
            sigma = sigma.reshape(scan.shape).astype(np.float32)
        told = ToldNoise(sigma, noise, coils)
        found = find_noise(ScanSource(scan), told, where)
        if to_denoise and not force:
            found = doubted_where_denoised(found, scan, told)
    if found.sigma_map is not None and found.sigma_map.shape != scan.shape:
        raise ShapeError(f"the map of sigma has shape {found.sigma_map.shape}; the scan is {scan.shape} (z, y, x).")
    opened = opened.suited_to(scan, found)
    judged = judge(scan, found, opened.model, blend, audit_volume(scan), forced, (opened.note,) if opened.note else ())
    return OpenScan(found, judged.blend, where, opened.model, judged.notes, judged.warnings)
