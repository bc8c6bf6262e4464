"""Geometry of a DICOM series: the order of its slices, one affine for all, and checks that there is one.

DICOM places the centre of each slice's first pixel and the directions of its rows and columns in LPS mm
(PS3.3, C.7.6.2). This is the only place where LPS becomes RAS.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medinr.errors import GeometryError
from medinr.io.dicom.frames import Frame
from medinr.volume import Affine

#: Gaps between slices may differ from their median by 1 % and 0.02 mm: scanners round positions.
SPACING_RELATIVE = 0.01
SPACING_MM = 0.02

#: Slices closer than this (mm) along the normal are at one place.
SAME_PLACE_MM = 0.01

#: Tangent of the angle (0.1 deg) between stacking direction and slice normal that counts as tilt.
TILT_TANGENT = 0.002

#: Direction cosines are unit and perpendicular to within this.
COSINE_TOLERANCE = 1e-3

#: Slices further apart than this many thicknesses give a note; MR protocols leave gaps of 10 to 30 %.
_WIDE_GAP = 1.5

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

_POSITION_TAG = "ImagePositionPatient (0020,0032)"
_ORIENTATION_TAG = "ImageOrientationPatient (0020,0037)"
_SPACING_TAG = "PixelSpacing (0028,0030)"


def normal(frame: Frame) -> NDArray[np.float64]:
    """Return the slice normal in LPS: row direction x column direction, shape (3,).

    Raises
    ------
    GeometryError
        When the orientation is missing or its directions are not unit and perpendicular.
    """
    orientation = frame.need(frame.orientation, _ORIENTATION_TAG)
    along = _cross(orientation)
    if along is None:
        cosines = np.round(np.reshape(orientation, (2, 3)), 4).tolist()
        raise GeometryError(
            f"{frame.name}: {_ORIENTATION_TAG} is {cosines}; two perpendicular unit directions are wanted. The file is "
            "damaged: export it again."
        )
    return along


@lru_cache(maxsize=1024)
def _cross(orientation: tuple[float, ...]) -> NDArray[np.float64] | None:
    cosines = np.reshape(orientation, (2, 3))
    if np.abs(cosines @ cosines.T - np.eye(2)).max() > COSINE_TOLERANCE:
        return None
    along = np.cross(cosines[0], cosines[1])
    along.flags.writeable = False
    return along


def distance(frame: Frame) -> float:
    """Return the slice's position along its normal in mm."""
    return float(np.array(frame.need(frame.position, _POSITION_TAG)) @ normal(frame))


def in_order(frames: Sequence[Frame]) -> list[Frame]:
    """Sort slices by their position along the normal, never by name or instance number."""
    return sorted(frames, key=distance)


def repeated(ordered: Sequence[Frame]) -> tuple[Frame, Frame] | None:
    """Return the first two slices that stand at one place, or None."""
    places = [distance(frame) for frame in ordered]
    near = np.flatnonzero(np.diff(places) < SAME_PLACE_MM)
    return (ordered[near[0]], ordered[near[0] + 1]) if len(near) else None


def affine_of(ordered: Sequence[Frame], notes: list[str], *, tilted: bool = False) -> Affine:
    """Return the RAS affine, shape (4, 4), of slices already in order; it maps ``(x, y, z, 1)`` to mm.

    Parameters
    ----------
    ordered : sequence of Frame
    notes : list of str
        Irregularities are added.
    tilted : bool
        Accept slices that are sheared against each other (gantry tilt); the affine is then sheared too.

    Raises
    ------
    GeometryError
        When a tag is missing, slices repeat, are missing, unevenly spaced or sheared against each other.
        Only the spacing of a single slice is taken from its thickness, with a note.
    """
    first, last = ordered[0], ordered[-1]
    row_spacing, column_spacing = first.need(first.pixel_spacing, _SPACING_TAG)
    if min(row_spacing, column_spacing) <= 0:
        raise GeometryError(
            f"{first.name}: {_SPACING_TAG} is {row_spacing:g} x {column_spacing:g}; mm above 0 are wanted."
        )
    normal(first)
    cosines = np.array(first.need(first.orientation, _ORIENTATION_TAG)).reshape(2, 3)
    origin = np.array(first.need(first.position, _POSITION_TAG))
    if len(ordered) == 1:
        step = normal(first) * _single_spacing(first, notes)
    else:
        _check_spacing(ordered)
        step = (np.array(last.need(last.position, _POSITION_TAG)) - origin) / (len(ordered) - 1)
        _check_line(ordered, step)
        if not tilted:
            _check_tilt(ordered, step)
        apart = float(np.linalg.norm(step))
        if first.thickness and apart > _WIDE_GAP * first.thickness:
            notes.append(f"slices are {apart:g} mm apart but {first.thickness:g} mm thick: some may be left out")
    affine = np.eye(4)
    affine[:3, 0] = cosines[0] * column_spacing
    affine[:3, 1] = cosines[1] * row_spacing
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return LPS_TO_RAS @ affine


def _check_spacing(ordered: Sequence[Frame]) -> None:
    pair = repeated(ordered)
    if pair:
        raise GeometryError(
            f"{pair[0].name} and {pair[1].name} are at the same place ({distance(pair[0]):.2f} mm along the "
            "normal), and no tag tells them apart. Keep one of them."
        )
    gaps = np.diff([distance(frame) for frame in ordered])
    usual = float(np.median(gaps))
    if len(gaps) == 2:
        # Of two gaps the smaller one is the spacing: the larger one has lost a slice.
        usual = float(gaps.min())
    odd = np.flatnonzero(np.abs(gaps - usual) > SPACING_RELATIVE * usual + SPACING_MM)
    if not len(odd):
        return
    at = int(odd[0])
    lost = gaps[at] / usual - 1
    between = f"between {ordered[at].name} and {ordered[at + 1].name}"
    if lost > 0.5 and abs(lost - round(lost)) < 0.1:
        raise GeometryError(
            f"{round(lost)} slice(s) missing {between}: {gaps[at]:.2f} mm apart, elsewhere {usual:.2f} mm "
            f"({_POSITION_TAG}). Copy the missing file, or keep the slices of one side only."
        )
    raise GeometryError(
        f"Slices are unevenly spaced: {gaps[at]:.2f} mm {between}, elsewhere {usual:.2f} mm "
        f"({_POSITION_TAG}). Keep an evenly spaced part, or resample the series first."
    )


def tilt_degrees(affine: Affine) -> float:
    """Return by how many degrees a stack leans off the normal of its slices; 0 within tolerance."""
    along = np.cross(affine[:3, 0], affine[:3, 1])
    along /= np.linalg.norm(along)
    step = affine[:3, 2]
    sideways = float(np.linalg.norm(step - (step @ along) * along))
    tangent = sideways / abs(float(step @ along))
    return float(np.degrees(np.arctan(tangent))) if tangent > TILT_TANGENT else 0.0


def _check_tilt(ordered: Sequence[Frame], step: NDArray[np.float64]) -> None:
    along = normal(ordered[0])
    tangent = float(np.linalg.norm(step - (step @ along) * along) / (step @ along))
    if tangent > TILT_TANGENT:
        raise GeometryError(
            f"{ordered[0].name} to {ordered[-1].name}: the stack leans {np.degrees(np.arctan(tangent)):.1f} degrees "
            f"off the slice normal (gantry tilt, {_POSITION_TAG}). Add --straighten to have it resampled to a straight "
            "grid (straighten=True in Python)."
        )


def _check_line(ordered: Sequence[Frame], step: NDArray[np.float64]) -> None:
    positions = np.array([frame.position for frame in ordered], dtype=np.float64)
    line = positions[0] + np.arange(len(ordered))[:, None] * step
    off = np.linalg.norm(positions - line, axis=1)
    # Rounding of positions adds up to one tolerance at most, as every position is rounded on its own.
    wrong = np.flatnonzero(off > SPACING_MM + 2 * SPACING_RELATIVE * float(np.linalg.norm(step)))
    if len(wrong):
        raise GeometryError(
            f"{ordered[wrong[0]].name}: {_POSITION_TAG} is {off[wrong[0]]:.2f} mm off the line through the other "
            "slices. Remove the slice, or export the series again."
        )


def _single_spacing(frame: Frame, notes: list[str]) -> float:
    for value, tag in (
        (frame.slice_gap, "SpacingBetweenSlices (0018,0088)"),
        (frame.thickness, "SliceThickness (0018,0050)"),
    ):
        # Some scanners write a negative gap: the order of slices, not a distance.
        if value:
            notes.append(f"one slice: its spacing of {abs(value):g} mm is {tag}")
            return abs(value)
    raise GeometryError(
        f"{frame.name}: a single slice needs SliceThickness (0018,0050), which is missing. Add the neighbouring slices."
    )
