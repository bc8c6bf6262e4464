"""Voxels of a file in Fortran order to float32, a few slices at a time, so that nothing is held twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from numpy.typing import NDArray

from medinr.errors import FileError
from medinr.io.limits import require_plausible_size, require_readable_size
from medinr.volume import Array

#: Bytes that are read and scaled at once.
_SLAB_BYTES = 16 * 2**20

#: Bytes after the voxels that are read to reach the checksum of a gzip file, at most.
_MOST_TRAILING = 2**20

#: Whole numbers from here on are not all exact in float32.
_EXACT_BELOW = 2**24
ROUNDED = f"whole numbers above {_EXACT_BELOW} were rounded to float32"


@dataclass(frozen=True)
class Layout:
    """Where and how voxels are stored.

    Attributes
    ----------
    shape : tuple of int
        (x, y, z) and, where there are several volumes, their dimensions.
    dtype : dtype
    offset : int
        Bytes before the first voxel.
    slope, intercept : float
        Stored values times slope plus intercept are the image's.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    slope: float = 1.0
    intercept: float = 0.0


def choose_volume(shape: tuple[int, ...], index: int | None, name: str) -> int:
    """Return which volume of a file is read, from 0; refuse an index that is missing, or beyond its end.

    Raises
    ------
    FileError
        Also for fewer than 2 dimensions, and for more than 4.
    """
    count = math.prod(shape[3:])
    if len(shape) < 2 or (len(shape) > 4 and count > 1):
        raise FileError(f"{name}: {len(shape)} dimension(s) {shape}; a scan has 2, 3 or 4.")
    if count > 1 and index is None:
        raise FileError(f"{name}: holds {count} volumes. Choose one with --index 0 to {count - 1}.")
    if index is not None and not 0 <= index < count:
        raise FileError(f"{name}: volume {index} was asked for; the file holds {count}, numbered 0 to {count - 1}.")
    return index or 0


def require_voxels(layout: Layout, stored_bytes: int, compressed: bool, name: str) -> None:
    """Refuse sizes and kinds of values that cannot be a scan of that many bytes, before memory is taken.

    Parameters
    ----------
    layout : Layout
    stored_bytes : int
        Size of the file of the voxels.
    compressed : bool
    name : str

    Raises
    ------
    FileError
    """
    if layout.dtype.names or layout.dtype.kind not in "iufc":
        kind = "colours (RGB), not intensities" if layout.dtype.names else f"voxels of kind {layout.dtype}"
        raise FileError(f"{name}: holds {kind}. Export the scan, not a picture of it.")
    require_readable_size(layout.shape[:3], name)
    if not 0 <= layout.offset < max(stored_bytes, 1) or compressed:
        available = stored_bytes
    else:
        available = stored_bytes - layout.offset
    require_plausible_size(layout.shape, layout.dtype.itemsize, available, name, compressed)


def read_voxels(file: IO[bytes], layout: Layout, volume: int, notes: list[str], *, to_end: bool = True) -> Array:
    """Read one volume, scaled, as float32 (complex64 where it is complex), shape (z, y, x).

    Parameters
    ----------
    file : file
        Opened for reading; through gzip where it is compressed. Volumes before the chosen one are skipped, those
        behind it are not read.
    layout : Layout
        Checked by `require_voxels`.
    volume : int
        Which volume of a four-dimensional file, from 0.
    notes : list of str
        Gets a note when whole numbers were rounded.
    to_end : bool
        After the last volume, read on to the end, where gzip compares its checksum.

    Raises
    ------
    EOFError, OSError, ValueError, zlib.error
        When the file ends early or is damaged.
    """
    shape = (*layout.shape[:3], *(1 for _ in range(3 - len(layout.shape))))
    complex_values = layout.dtype.kind == "c"
    array: Any = np.empty(shape[::-1], dtype=np.complex64 if complex_values else np.float32)
    volumes = math.prod(layout.shape[3:])
    proxy = ArrayProxy(
        file, ((*shape, volumes), layout.dtype, layout.offset, layout.slope, layout.intercept), mmap=False
    )
    per_slab = max(1, _SLAB_BYTES // (shape[0] * shape[1] * layout.dtype.itemsize))
    rounded = False
    for start in range(0, shape[2], per_slab):
        slab = np.asarray(proxy[:, :, start : start + per_slab, volume]).T
        rounded |= store(array[start : start + per_slab], slab)
    if rounded:
        notes.append(ROUNDED)
    if to_end and volume == volumes - 1:
        reach_checksum(file)
    values: Array = array
    return values


def store(target: Array, values: NDArray[Any]) -> bool:
    """Convert values to a target's precision, and return whether whole numbers were rounded."""
    with np.errstate(over="ignore", invalid="ignore"):
        target[...] = values
    if values.dtype.kind not in "iu" or values.dtype.itemsize <= 2 or not values.size:
        return False
    large = max(abs(float(values.min())), abs(float(values.max()))) > _EXACT_BELOW
    return large and not np.array_equal(target.astype(np.float64), values)


def reach_checksum(file: IO[bytes]) -> None:
    """Read what is left of a file, up to 1 MiB: gzip compares its checksum only at the end."""
    left = _MOST_TRAILING
    while left > 0 and (piece := file.read(min(left, 2**16))):
        left -= len(piece)
