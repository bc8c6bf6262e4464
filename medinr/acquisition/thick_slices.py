"""Scans of thick slices, made of finer scans: which axis is made thick, and the scan as its file would hold it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from medinr.data.orient import across_slices, standard_orientation
from medinr.errors import GeometryError
from medinr.operators import SliceProfile
from medinr.volume import THICKEST, Volume

#: Pixels per slice thickness that a scan needs to be the reference of its thick slices.
_LEAST_PIXELS = 2.0

#: Rounding of lengths in mm, as a share.
_ROUNDING = 1e-6


def fine_planes(scan: Volume, thickness: float, distance: float, name: str = "the scan") -> Volume:
    """Return a scan as planes across the thick slices that are to be made of it; their rows are joined to slices.

    The slices of a scan with about cubic voxels are joined, so its planes run across them; those of a scan with thick
    (or sagittal) slices are its own, in which pixels are fine. Rows that no thick slice would cover are left out.

    Parameters
    ----------
    scan : Volume
    thickness, distance : float
        Of the thick slices, and between their centres, in mm.
    name : str
        For errors.

    Returns
    -------
    Volume
        Shape (planes, rows, x) in standard orientation.

    Raises
    ------
    GeometryError
        When its rows are not much thinner than the slices, or too few.
    """
    x, y, z = scan.spacing
    own = scan.plane == "sagittal" or z > THICKEST * min(x, y)
    fine = standard_orientation(scan if own else across_slices(scan, name))
    spacing, rows = fine.spacing[1], fine.shape[1]
    if thickness < _LEAST_PIXELS * spacing * (1 - _ROUNDING):
        raise GeometryError(
            f"{name}: slices of {thickness:g} mm cannot be made of rows {spacing:.2f} mm apart, which should be at "
            f"most {thickness / _LEAST_PIXELS:g} mm. Choose a finer scan or thicker slices."
        )
    slices = math.floor((rows * spacing - thickness) / distance + 1 + _ROUNDING)
    if slices < 2:
        raise GeometryError(
            f"{name}: {rows} rows of {spacing:.2f} mm hold fewer than two slices of {thickness:g} mm, {distance:g} mm "
            "apart. Choose a larger scan or thinner slices."
        )
    kept = min(rows, math.floor(slices * distance / spacing + _ROUNDING))
    first, affine = (rows - kept) // 2, fine.affine.copy()
    affine[:3, 3] += first * affine[:3, 1]
    array: Any = np.ascontiguousarray(fine.array[:, first : first + kept])
    return replace(fine, array=array, affine=affine, provenance=fine.provenance.cut_anew())


def rows_first(planes: Volume) -> Volume:
    """Return the same voxels with rows as slices: shape (rows, planes, x)."""
    array: Any = np.ascontiguousarray(planes.array.transpose(1, 0, 2))
    return replace(planes, array=array, affine=planes.affine[:, [0, 2, 1, 3]], provenance=planes.provenance.cut_anew())


def thick_scan(planes: Volume, thickness: float, distance: float, profile: str = "gaussian") -> Volume:
    """Join the rows of planes to thick slices, and return the scan as its file would hold it.

    Parameters
    ----------
    planes : Volume
        Of `fine_planes`, real; some of them or all.
    thickness, distance : float
        In mm.
    profile : {"gaussian", "rect"}
        See `medinr.operators.SliceProfile`.

    Returns
    -------
    Volume
        Shape (thick slices, planes, x). Its header says nothing of their thickness.
    """
    fine = rows_first(planes)
    spacing = fine.spacing[2]
    slices = max(1, round(fine.shape[0] * spacing / distance))
    operator = SliceProfile(fine.shape, spacing, thickness, distance, profile, slices)
    array = operator(torch.from_numpy(fine.array)).numpy()
    facts = replace(fine.provenance.facts, thickness=None, acquired_matrix=None, slice_times=())
    provenance = replace(fine.provenance, facts=facts)
    return replace(fine, array=array, affine=operator.affine(fine.affine).numpy(), provenance=provenance)
