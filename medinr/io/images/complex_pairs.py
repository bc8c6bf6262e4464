"""Two scans of one acquisition, magnitude and phase or real and imaginary part, to one complex scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medinr.errors import GeometryError, IntensityError, UnitError
from medinr.io.hashes import combine_hashes
from medinr.io.images.intensities import are_whole, sample_values
from medinr.volume import Array, Volume

#: Grids that place a corner further apart than this (mm) are different ones.
GRID_TOLERANCE_MM = 0.01

#: Largest phase in stored values by range: radians, radians x 1000, 12 bits with sign.
_SIGNED_SCALES = ((np.pi, "radians"), (1000 * np.pi, "radians x 1000"), (4096.0, "12 bits, -4096 to 4095"))

#: The same for phase stored without sign: zero to a full circle.
_UNSIGNED_SCALES = ((2 * np.pi, "radians from 0 to 2 pi"), (4096.0, "12 bits, 0 to 4095"))

#: Rounding beyond a range that still belongs to it.
_MARGIN = 1.001

#: A phase image fills its range at least to this share.
_LEAST_FILLED = 0.5


def combine_magnitude_and_phase(magnitude: Volume, phase: Volume) -> Volume:
    """Join magnitude and phase to complex values: magnitude * exp(i * phase).

    The scale of the phase is found from its range: radians (-pi to pi, 0 to 2 pi), radians x 1000 (-3142 to 3142), 12
    bits (-4096 to 4095, 0 to 4095, a full circle being 8192 or 4096).

    Parameters
    ----------
    magnitude, phase : Volume
        MR on one grid.

    Returns
    -------
    Volume
        complex64, component ``"complex"``, with a note on the scale. Magnitudes below zero (interpolation) are kept.

    Raises
    ------
    GeometryError
        When the grids differ.
    IntensityError
        When the range of the phase is none of those.
    UnitError
        When a scan is CT, or complex already.
    """
    _require_same_grid(magnitude, phase, "magnitude and phase")
    factor, offset, words = _phase_scale(phase.array)
    joined = np.empty(magnitude.array.shape, dtype=np.complex64)
    for number, (size, angle) in enumerate(zip(magnitude.array, phase.array, strict=True)):
        radians = (angle.astype(np.float64) - offset) * factor
        joined[number] = size * np.exp(1j * radians)
    return _joined(magnitude, phase, joined, f"magnitude and phase were joined; phase was stored in {words}")


def combine_real_and_imaginary(real: Volume, imaginary: Volume) -> Volume:
    """Join real and imaginary part of one grid to complex64 values (errors as `combine_magnitude_and_phase`)."""
    _require_same_grid(real, imaginary, "real and imaginary part")
    joined = np.empty(real.array.shape, dtype=np.complex64)
    joined.real, joined.imag = real.array, imaginary.array
    return _joined(real, imaginary, joined, "real and imaginary part were joined")


def _require_same_grid(one: Volume, other: Volume, what: str) -> None:
    for volume in (one, other):
        if volume.modality == "CT" or np.iscomplexobj(volume.array):
            kind = "complex already" if np.iscomplexobj(volume.array) else "CT"
            raise UnitError(f"{what}: one of the two is {kind}; two real MR scans were expected. Say --modality MR?")
    if one.shape != other.shape:
        raise GeometryError(f"{what}: the grids have shapes {one.shape} and {other.shape} (z, y, x); they must agree.")
    z, y, x = one.shape
    corners = np.array([[0, 0, 0, 1], [x - 1, 0, 0, 1], [0, y - 1, 0, 1], [0, 0, z - 1, 1]], dtype=np.float64)
    apart = float(np.linalg.norm((one.affine - other.affine) @ corners.T, axis=0).max())
    if apart > GRID_TOLERANCE_MM:
        raise GeometryError(f"{what}: the grids lie up to {apart:.2f} mm apart; they must be of one acquisition.")


def _phase_scale(phase: Array) -> tuple[float, float, str]:
    """Factor to radians, the stored value of zero, and words."""
    values = sample_values(np.asarray(phase))
    if not values.size:
        raise IntensityError("the phase holds no finite value.")
    # The extremes of all values, not of the sample: one beyond the range would tell another scale.
    low, high = float(np.nanmin(phase)), float(np.nanmax(phase))
    if low < 0:
        largest = max(-low, high)
        for scale, words in _SIGNED_SCALES:
            if _LEAST_FILLED * scale <= largest <= _MARGIN * scale and (scale > np.pi or not are_whole(values)):
                return np.pi / scale, 0.0, words
    else:
        for scale, words in _UNSIGNED_SCALES:
            if _LEAST_FILLED * scale <= high <= _MARGIN * scale and (scale > 2 * np.pi or not are_whole(values)):
                middle = scale / 2 if scale > 2 * np.pi else 0.0
                return 2 * np.pi / scale, middle, words
    raise IntensityError(
        f"phase from {low:g} to {high:g}: neither radians, radians x 1000 nor 12 bits (0 to 4095, -4096 to 4095). "
        "Scale it to radians."
    )


def _joined(one: Volume, other: Volume, array: NDArray[np.complex64], note: str) -> Volume:
    hashes = (one.provenance.sha256, other.provenance.sha256)
    provenance = replace(
        one.provenance,
        files=(*one.provenance.files, *other.provenance.files),
        sha256=combine_hashes(hashes) if all(hashes) else "",
        notes=(*one.provenance.notes, *(n for n in other.provenance.notes if n not in one.provenance.notes), note),
        facts=replace(one.provenance.facts, component="complex"),
    )
    return replace(one, array=array, modality="MR", unit="a.u.", provenance=provenance)
