"""Checks of raw data; their errors name the file and the dataset."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medinr.errors import FileError, IntensityError
from medinr.io.limits import MAX_VOXELS

#: Bytes that one dataset may take, the same as for a volume in float32.
MAX_BYTES = 4 * MAX_VOXELS

#: Share of samples that may be zero by chance (whole numbers, single coil) and still count as measured.
_STRAY_ZEROS = 0.005


def require_room(shape: Sequence[int], itemsize: int, name: str, limit: int = MAX_BYTES) -> None:
    """Refuse a dataset that declares no sample or more bytes than `limit`, before memory is allocated.

    Raises
    ------
    FileError
        Naming the size; a damaged header often declares an absurd one.
    """
    declared = " x ".join(map(str, shape)) or "a single value"
    if not shape or min(shape) < 1:
        raise FileError(f"{name}: declares {declared}; raw data have at least one sample. Is the file damaged?")
    size = math.prod(map(int, shape)) * itemsize
    if size > limit:
        raise FileError(
            f"{name}: declares {declared} samples ({size / 2**30:.1f} GiB), above the limit of "
            f"{limit / 2**30:.0f} GiB. Is the header damaged? If not, read some slices at a time."
        )


def choose(count: int, chosen: Sequence[int] | None, name: str) -> list[int]:
    """Return the slice numbers to read: those asked for, or all.

    Raises
    ------
    FileError
        When one is outside the file.
    """
    numbers = list(range(count)) if chosen is None else [int(number) for number in chosen]
    if not numbers or min(numbers) < 0 or max(numbers) >= count:
        raise FileError(f"{name}: slices {numbers} were asked for; the file has 0 to {count - 1}.")
    return numbers


def kspace_tensor(values: np.ndarray[Any, Any], name: str, coils: Sequence[int] | None = None) -> Tensor:
    """Check k-space ``(slice, coil, ..., ...)`` and convert it to complex64.

    Parameters
    ----------
    values : ndarray
    name : str
        File and dataset, for messages.
    coils : sequence of int, optional
        Coils to keep; all by default.

    Raises
    ------
    FileError
        When the values are not complex, or a coil is asked for that is not there.
    IntensityError
        When a sample is NaN or infinite, or a slice or coil is zero throughout.
    """
    if not np.iscomplexobj(values):
        raise FileError(f"{name}: holds {values.dtype}; k-space is complex. Is this a magnitude image?")
    if coils is not None:
        if not coils or min(coils) < 0 or max(coils) >= values.shape[1]:
            raise FileError(f"{name}: coils {list(coils)} were asked for; there are 0 to {values.shape[1] - 1}.")
        values = values[:, list(coils)]
    bad = np.argwhere(~np.isfinite(values).all(axis=-1))
    if len(bad):
        number, coil, line = (int(i) for i in bad[0])
        raise IntensityError(
            f"{name}: {len(bad)} line(s) hold NaN or infinity, first slice {number}, coil {coil}, line {line}. "
            "Export the file again, or set these lines to zero so that they count as not measured."
        )
    dead = np.argwhere(~values.any(axis=(-2, -1)))
    if len(dead):
        number, coil = (int(i) for i in dead[0])
        raise IntensityError(
            f"{name}: coil {coil} of slice {number} is zero throughout ({len(dead)} of {values.shape[0]} x "
            f"{values.shape[1]}). Leave dead coils out in the sidecar (coils: [numbers to keep]), or choose slices."
        )
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.complex64))


def sinogram_tensor(values: np.ndarray[Any, Any], name: str) -> Tensor:
    """Check line integrals ``(slice, angle, detector)`` and convert them to float32.

    Raises
    ------
    FileError
        When the values are complex.
    IntensityError
        When one is NaN or infinite, or a slice is zero throughout.
    """
    if np.iscomplexobj(values):
        raise FileError(f"{name}: holds complex values; a sinogram is real. Is this k-space?")
    bad = np.argwhere(~np.isfinite(values).all(axis=-1))
    if len(bad):
        number, view = (int(i) for i in bad[0])
        raise IntensityError(
            f"{name}: {len(bad)} view(s) hold NaN or infinity, first slice {number}, angle {view}. "
            "Export the file again without them."
        )
    if not values.any(axis=(-2, -1)).all():
        raise IntensityError(f"{name}: slice {int(np.argmin(values.any(axis=(-2, -1))))} is zero throughout.")
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def sampled(values: Tensor, name: str) -> Tensor | None:
    """Find the measured samples of k-space that is zero elsewhere.

    Parameters
    ----------
    values : Tensor, complex (slice, coil, ky, kx)
    name : str
        File and dataset, for messages.

    Returns
    -------
    Tensor or None
        Mask, bool ``(ky, kx)``; None when all was measured. A few scattered zeros in otherwise full data
        count as measured.

    Raises
    ------
    FileError
        When the slices were sampled differently.
    """
    each = values.ne(0).any(dim=1)
    mask = each.any(dim=0)
    if len(each) > 1 and float((each != mask).float().mean()) > _STRAY_ZEROS:
        raise FileError(f"{name}: the slices were sampled differently. Read one slice at a time.")
    lines = mask.any(1, keepdim=True) & mask.any(0, keepdim=True)
    if float((lines & ~mask).float().mean()) <= _STRAY_ZEROS:
        mask = lines
    return None if bool(mask.all()) else mask
