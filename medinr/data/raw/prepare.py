"""Preparation of raw data before the reconstruction, in recorded steps."""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.data.raw.coils import compress_coils, prewhiten
from medinr.data.raw.settings import LineSelection, RawSettings
from medinr.data.raw.steps import remove_oversampling, undersample
from medinr.data.raw.views import find_rotation_centre, remove_stripes
from medinr.errors import GeometryError
from medinr.operators import cartesian_mask, espirit_maps, walsh_maps
from medinr.raw import RawMeasurement

#: Largest and smallest edge of the fully sampled centre from which coil maps are estimated.
CALIBRATION, LEAST_CALIBRATION = 24, 8

#: Default selection of lines for undersampling.
LINES = LineSelection()


def prepare(raw: RawMeasurement, settings: RawSettings, lines: LineSelection = LINES) -> RawMeasurement:
    """Prepare raw data as the settings say, in recorded steps: `cleaned`, then `sampled`."""
    return sampled(cleaned(raw, settings), settings, lines)


def cleaned(raw: RawMeasurement, settings: RawSettings) -> RawMeasurement:
    """Apply the steps that need all of the data.

    k-space: removal of readout oversampling, whitening and compression of coils. Sinograms: rotation axis, stripes.
    """
    if raw.kind == "sinogram":
        return _cleaned_views(raw, settings)
    if raw.is_cartesian and "recon_shape" in raw.facts and raw.sampling != "points":
        raw = remove_oversampling(raw)
    if "noise_covariance" in raw.arrays:
        raw = prewhiten(raw)
    if 0 < settings.coils < raw.data.shape[1]:
        raw = compress_coils(raw, settings.coils)
    return raw


def sampled(raw: RawMeasurement, settings: RawSettings, lines: LineSelection = LINES) -> RawMeasurement:
    """Undersample cleaned data as the settings say, and estimate coil maps from the remaining lines."""
    if raw.kind == "sinogram":
        return raw if settings.every == 1 else undersample(raw, every=settings.every)
    return with_coil_maps(raw if settings.acceleration == 1 else _accelerated(raw, settings, lines), settings.maps)


def _cleaned_views(raw: RawMeasurement, settings: RawSettings) -> RawMeasurement:
    if settings.rotation_centre == "auto" and raw.facts["geometry"] == "parallel" and "centre_offset" not in raw.facts:
        try:
            raw = find_rotation_centre(raw)
        except GeometryError:
            raw = raw.after(
                "The rotation centre is taken to be the middle of the detector: the views do not cover half a rotation."
            )
    return remove_stripes(raw) if settings.stripes else raw


def _accelerated(raw: RawMeasurement, settings: RawSettings, lines: LineSelection) -> RawMeasurement:
    if not raw.is_cartesian:
        return undersample(raw, every=round(settings.acceleration))
    axis = -1 if raw.facts.get("readout_axis", "kx") == "ky" else -2
    count = raw.data.shape[axis]
    kept = cartesian_mask(count, settings.acceleration, lines.centre_fraction, lines.mask, lines.seed)
    return undersample(raw, kept.as_tensor())


def with_coil_maps(raw: RawMeasurement, method: str = "espirit") -> RawMeasurement:
    """Estimate coil sensitivities slice by slice, unless the file has them or a single coil.

    Parameters
    ----------
    raw : RawMeasurement
        Cartesian k-space with a fully sampled centre.
    method : {"espirit", "walsh"}

    Raises
    ------
    GeometryError
        When there is no fully sampled centre of at least 8 x 8 samples.
    """
    if raw.kind != "kspace" or raw.data.shape[1] == 1 or "coil_maps" in raw.arrays:
        return raw
    extent = calibration_extent(raw)
    if min(extent) < LEAST_CALIBRATION:
        raise GeometryError(
            f"Coil sensitivities are estimated from a fully sampled centre of k-space of at least "
            f"{LEAST_CALIBRATION} x {LEAST_CALIBRATION} samples; this scan has {extent[0]} x {extent[1]}. Give maps in "
            "the sidecar (coil_maps: FILE)."
        )
    estimate = espirit_maps if method == "espirit" else walsh_maps
    maps = torch.stack([estimate(kspace, extent) for kspace in raw.data])
    return raw.after(
        f"Coil sensitivities were estimated from the central {extent[0]} x {extent[1]} samples ({method}).",
        arrays={"coil_maps": maps},
    )


def calibration_extent(raw: RawMeasurement) -> tuple[int, int]:
    """Largest fully sampled block around the centre of k-space, (ky, kx), up to `CALIBRATION`; 0 off the grid."""
    if not raw.is_cartesian:
        return 0, 0
    grid = raw.data.shape[-2:]
    most = min(CALIBRATION, grid[0]), min(CALIBRATION, grid[1])
    mask = raw.arrays.get("mask")
    if mask is None:
        return most
    edges = range(max(most), 0, -1)
    return next(((min(e, most[0]), min(e, most[1])) for e in edges if bool(_middle(mask, e).all())), (0, 0))


def _middle(mask: Tensor, edge: int) -> Tensor:
    for axis in (0, 1):
        count = min(edge, mask.shape[axis])
        mask = mask.narrow(axis, mask.shape[axis] // 2 - count // 2, count)
    return mask
