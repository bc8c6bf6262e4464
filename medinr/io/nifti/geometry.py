"""Affine of a NIfTI header: which of its descriptions is used, in mm, and what is odd about it."""

from __future__ import annotations

from typing import Any

import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from medinr.errors import GeometryError
from medinr.io.nifti.header import NiftiFile
from medinr.volume import Affine

#: Units of length by their code in the header, and what they are in mm.
_LENGTH_UNITS = {1: "metres", 2: "mm", 3: "micrometres"}
_MM_PER_UNIT = {"metres": 1000.0, "mm": 1.0, "micrometres": 0.001, "unknown": 1.0}

#: sform and qform that place a corner voxel further apart than this (mm) give a note.
_FORM_TOLERANCE_MM = 0.1

#: No scan lies this far from its origin, in any unit of length.
_FARTHEST_MM = 1e9

#: Cosine between voxel axes from which a grid counts as sheared (0.1 degrees off a right angle).
_SHEAR_COSINE = 0.002

#: Sine of the angle of two axes, or spacing relative to the largest, below which a matrix counts as singular.
_SINGULAR = 1e-6

#: Spaces that codes of sform and qform name; from 3 on the scan was resampled or aligned to it.
_SPACES = {3: "Talairach's atlas", 4: "the MNI template", 5: "another template"}


# A damaged header's numbers overflow in several places; the result is checked.
@np.errstate(all="ignore")
def find_affine(scan: NiftiFile, shape: tuple[int, ...], name: str, notes: list[str]) -> Affine:
    """Affine from (x, y, z, 1) to RAS mm: the sform where it is set and usable, else the qform, else the spacings.

    Parameters
    ----------
    scan : NiftiFile
    shape : tuple of int
        Voxels along (x, y, z).
    name : str
        Of the file, for messages.
    notes : list of str
        Gets every irregularity in words.

    Returns
    -------
    ndarray, shape (4, 4)

    Raises
    ------
    GeometryError
        When no description gives a position, or the one in use is no place in mm.
    """
    if scan.is_analyze:
        _require_spacings(scan, shape, name, notes)
        notes.append(
            "ANALYZE 7.5 keeps no orientation: which side is left is unknown; spacing is known, position is not"
        )
        return _in_mm(np.asarray(scan.header.get_base_affine(), dtype=np.float64).copy(), name, 0, notes)
    header = scan.header
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    sform = np.asarray(header.get_sform(), dtype=np.float64) if sform_code else None
    qform, reason = _qform(header) if qform_code else (None, "")
    if sform is not None and _is_singular(sform):
        if qform is None:
            raise GeometryError(
                f"{name}: the sform of the header is singular (two axes point the same way, or a spacing is zero)"
                f"{', and its qform is impossible' if qform_code else ' and it has no qform'}. Export the scan again."
            )
        notes.append("the sform of the header is singular; the qform was used")
        sform = None
    if sform is not None:
        affine, code = sform, sform_code
        if qform is not None:
            _compare(sform, qform, shape, notes)
        elif reason:
            notes.append("the qform of the header is impossible; the sform was used")
    elif qform_code:
        _require_spacings(scan, shape, name, notes)
        if qform is None:
            raise GeometryError(f"{name}: the header's rotation is impossible ({reason}). Is it damaged?")
        affine, code = qform, qform_code
    else:
        _require_spacings(scan, shape, name, notes)
        affine, code = np.asarray(header.get_base_affine(), dtype=np.float64), 0
        notes.append("the header has neither sform nor qform: spacing is known, position and orientation are not")
    if code in _SPACES:
        notes.append(f"aligned to {_SPACES[code]}: resampled, no longer on the scanner's grid")
    return _in_mm(affine.copy(), name, int(header["xyzt_units"]), notes)


def is_sheared(affine: Affine) -> bool:
    """Whether the voxel axes are not at right angles (beyond 0.1 degrees)."""
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not lengths.all():
        return False
    cosines = (axes.T @ axes) / np.outer(lengths, lengths)
    return bool(np.abs(cosines - np.eye(3)).max() > _SHEAR_COSINE)


def _in_mm(affine: Affine, name: str, units: int, notes: list[str]) -> Affine:
    if not np.abs(affine).max() < _FARTHEST_MM:
        raise GeometryError(f"{name}: the header's affine is not a place in mm: {affine.tolist()}. Is it damaged?")
    # The low three bits are the unit of length; in a damaged header their value may be undefined.
    unit = _LENGTH_UNITS.get(units & 7, "unknown")
    affine[:3] *= _MM_PER_UNIT[unit]
    if unit == "unknown":
        notes.append("the header has no unit of length; mm was assumed")
    elif unit != "mm":
        notes.append(f"lengths were given in {unit} and converted to mm")
    if is_sheared(affine):
        notes.append("the voxel axes are not at right angles (sheared affine)")
    return affine


def _qform(header: Any) -> tuple[NDArray[np.float64] | None, str]:
    try:
        qform = np.asarray(header.get_qform(), dtype=np.float64)
    except (ValueError, HeaderDataError) as error:
        return None, str(error)
    return (qform, "") if np.isfinite(qform).all() else (None, "it is no number")


def _is_singular(affine: NDArray[np.float64]) -> bool:
    axes = affine[:3, :3]
    if not np.isfinite(axes).all():
        return True
    lengths = np.linalg.norm(axes, axis=0)
    if not lengths.min() > _SINGULAR * lengths.max():
        return True
    return bool(abs(np.linalg.det(axes / lengths)) < _SINGULAR)


def _compare(sform: NDArray[np.float64], qform: NDArray[np.float64], shape: tuple[int, ...], notes: list[str]) -> None:
    corners = (np.array([0, 0, 0, 1.0]), np.array([*(size - 1 for size in shape), 1.0]))
    apart = max(float(np.linalg.norm((sform - qform) @ corner)) for corner in corners)
    if not apart <= _FORM_TOLERANCE_MM:
        notes.append(f"sform and qform differ by up to {apart:.1f} mm; the sform was used")


def _require_spacings(scan: NiftiFile, shape: tuple[int, ...], name: str, notes: list[str]) -> None:
    """Refuse spacings that are zero or no number, along axes of more than one voxel; note others."""
    for axis, (spacing, size) in enumerate(zip(scan.spacings, shape, strict=True)):
        letter = "xyz"[axis]
        if not np.isfinite(spacing) or spacing == 0:
            if size > 1:
                raise GeometryError(
                    f"{name}: the header gives a voxel spacing of {spacing:g} along {letter} and no sform to replace "
                    "it, so that no length in it is known. Export the scan again."
                )
            notes.append(f"the header gives no thickness of its single slice along {letter}; 1 mm was assumed")
        elif spacing < 0:
            notes.append(f"the header gives a negative voxel spacing along {letter} ({spacing:g}); its size was used")
