"""Data Exchange HDF5 of synchrotron beamlines: counts, flats and darks to line integrals (De Carlo et al. 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medinr.errors import FileError, IntensityError, ShapeError
from medinr.io.hashes import hash_file
from medinr.io.raw.checks import choose, sinogram_tensor
from medinr.io.raw.hdf5 import dataset, open_hdf5, read, text
from medinr.io.raw.sidecar import Sidecar, refuse_keys
from medinr.raw import SINOGRAM, RawMeasurement
from medinr.volume import Provenance

#: Transmissions below this are raised to it before the logarithm: a ray through metal, or a dead pixel.
TRANSMISSION_FLOOR = 1e-4

#: Larger than any count of a detector.
_LARGEST_COUNT = 1e15

#: Datasets with the pixel size, the most specific first; metres unless an attribute names another unit.
_PIXEL_SIZE = tuple(
    f"measurement/instrument/{place}"
    for place in (
        "detector/actual_pixel_size_x",
        "detector/x_actual_pixel_size",
        "detector/pixel_size_x",
        "detector/x_pixel_size",
        "detector/pixel_size",
    )
)
_MM = {"m": 1e3, "mm": 1.0, "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "microns": 1e-3, "nm": 1e-6}


def read_data_exchange(path: Path, sidecar: Sidecar, slices: Sequence[int] | None = None) -> RawMeasurement:
    """Read ``exchange/data`` ``(angle, y, x)`` with ``data_white``, ``data_dark`` and ``theta``.

    ``-log((data - dark) / (white - dark))`` with the means of flats and darks; each row ``y`` is a slice of
    parallel rays. Angles are degrees unless their attribute is radians. Without flats and darks the data must
    be transmissions already.

    Raises
    ------
    FileError
        When a dataset is missing or truncated.
    ShapeError
        When angles, flats and darks do not fit the data.
    IntensityError
        When counts are negative, or the beam was off.
    """
    refuse_keys(sidecar, ("kind", "axes", "variable", "units"), path, "Data Exchange")
    with open_hdf5(path) as file:
        shape = dataset(file, "exchange/data", path).shape
        if len(shape) != 3:
            raise ShapeError(f"{path}, exchange/data: has shape {shape}; it is (angle, y, x).")
        rows = choose(shape[1], slices, f"{path}, exchange/data")
        counts = read(file, "exchange/data", path, rows, axis=1).astype(np.float64)
        flats, darks = (
            read(file, f"exchange/{kind}", path, rows, axis=1).astype(np.float64)
            if f"exchange/{kind}" in file
            else None
            for kind in ("data_white", "data_dark")
        )
        angles = _angles(file, path, sidecar, len(counts))
        spacing = _pixel_size(file, path)
    _require_counts(counts, f"{path}, exchange/data")
    facts: dict[str, Any] = {"geometry": "parallel", "angles": tuple(angles.tolist())}
    if flats is None:
        steps = ["The negative logarithm of the transmission was taken; the file has no flats."]
        transmission = counts
    else:
        transmission, more = _flattened(counts, flats, darks, path)
        facts |= more
        dark_count = 0 if darks is None else len(darks)
        steps = [
            f"Counts less the mean of {dark_count} darks were divided by the mean of {len(flats)} flats less the same, "
            "and the negative logarithm was taken."
        ]
    low = transmission < TRANSMISSION_FLOOR
    if low.any():
        steps.append(f"{int(low.sum())} transmissions below {TRANSMISSION_FLOOR:g} were raised to it.")
    lines = -np.log(np.maximum(transmission, TRANSMISSION_FLOOR)).transpose(1, 0, 2)
    data = sinogram_tensor(lines, f"{path}, exchange/data")
    spacing = sidecar.detector_spacing_mm or spacing
    if spacing is not None:
        facts |= {"detector_spacing_mm": spacing, "slice_spacing_mm": sidecar.slice_spacing_mm or spacing}
    if sidecar.rotation_centre is not None:
        facts["centre_offset"] = sidecar.rotation_centre - (data.shape[-1] - 1) / 2
    if sidecar.photons is not None:
        facts["photons"] = sidecar.photons
    provenance = Provenance("data exchange", (path,), hash_file(path))
    return RawMeasurement("sinogram", data, SINOGRAM, facts, {}, tuple(steps), provenance)


def _flattened(
    counts: np.ndarray[Any, Any], flats: np.ndarray[Any, Any], darks: np.ndarray[Any, Any] | None, path: Path
) -> tuple[np.ndarray[Any, Any], dict[str, float]]:
    for kind, images in (("data_white", flats), ("data_dark", darks)):
        if images is None:
            continue
        if images.ndim != 3 or images.shape[1:] != counts.shape[1:]:
            raise ShapeError(f"{path}, exchange/{kind}: has shape {images.shape}; the data have {counts.shape}.")
        _require_counts(images, f"{path}, exchange/{kind}")
    dark = 0.0 if darks is None else darks.mean(axis=0)
    beam = flats.mean(axis=0) - dark
    if not (beam > 0).all():
        raise IntensityError(
            f"{path}, exchange/data_white: {int((beam <= 0).sum())} of {beam.size} pixels are no brighter than the "
            "darks. Was the shutter closed? Crop the detector or export the flats again."
        )
    facts = {"flat_counts": float(beam.mean())}
    photons = _photons(flats, darks, beam)
    if photons is not None:
        facts["photons"] = photons
    return (counts - dark) / beam, facts


def _photons(
    flats: np.ndarray[Any, Any], darks: np.ndarray[Any, Any] | None, beam: np.ndarray[Any, Any]
) -> float | None:
    """Photons per pixel whose Poisson noise is that of the flats: mean squared over variance.

    The drift of the beam is common to all pixels and not photon noise, so each flat is scaled to the same mean first.
    """
    if len(flats) < 3:
        return None
    dark = 0.0 if darks is None else darks.mean(axis=0)
    images = flats - dark
    images *= images.mean() / images.mean(axis=(1, 2), keepdims=True)
    variance = images.var(axis=0, ddof=1)
    if darks is not None and len(darks) >= 3:
        variance = variance - darks.var(axis=0, ddof=1)
    # The mean over pixels, because the variance of a few flats differs widely from pixel to pixel.
    mean_variance = float((variance / beam**2).mean())
    return 1.0 / mean_variance if mean_variance > 0 else None


def _angles(file: Any, path: Path, sidecar: Sidecar, count: int) -> np.ndarray[Any, Any]:
    if isinstance(sidecar.angles, tuple):
        angles: np.ndarray[Any, Any] = np.asarray(sidecar.angles, dtype=np.float64)
        unit = str(sidecar.angle_unit)
    elif sidecar.angle_step is not None:
        angles, unit = np.arange(count) * float(sidecar.angle_step), str(sidecar.angle_unit)
    elif "exchange/theta" not in file:
        raise FileError(
            f"{path}: there is no dataset 'exchange/theta'. Give the angles in a sidecar (angle_step and angle_unit)."
        )
    else:
        angles = read(file, "exchange/theta", path).ravel().astype(np.float64)
        unit = sidecar.angle_unit or (text(file, "exchange/theta@units") or "degrees").strip().lower()
    if angles.shape != (count,):
        raise ShapeError(f"{path}, exchange/theta: has {angles.size} angles for {count} views.")
    if not unit.startswith(("deg", "rad")):
        raise FileError(f"{path}, exchange/theta: unit {unit!r} is no angle; add angle_unit to the sidecar.")
    angles = np.radians(angles) if unit.startswith("deg") else angles
    return -angles if sidecar.angle_direction == "clockwise" else angles


def _pixel_size(file: Any, path: Path) -> float | None:
    for name in _PIXEL_SIZE:
        if name in file:
            unit = (text(file, f"{name}@units") or "m").strip()
            size = float(np.asarray(file[name][()]).reshape(-1)[0])
            if unit not in _MM or not (np.isfinite(size) and size > 0):
                raise FileError(
                    f"{path}, {name}: {size:g} {unit} is no length; add detector_spacing_mm to the sidecar."
                )
            return size * _MM[unit]
    return None


def _require_counts(counts: np.ndarray[Any, Any], name: str) -> None:
    unusable = int((~(np.abs(counts) < _LARGEST_COUNT)).sum())
    if unusable:
        raise IntensityError(
            f"{name}: {unusable} of {counts.size} counts are NaN, infinite or absurd. Is the file damaged?"
        )
    bad = int((counts < 0).sum())
    if bad:
        raise IntensityError(
            f"{name}: {bad} of {counts.size} counts are negative. Are darks subtracted or logarithms taken already? "
            "Then give the sinogram as an array with a sidecar."
        )
