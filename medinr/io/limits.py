"""Limits on the size that a header may declare, checked before memory is allocated."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medinr.errors import FileError

#: Voxels of the largest scan that is read: 4 GiB as float32, twice a 512 x 512 x 2000 CT of the whole body.
MAX_VOXELS = 2**30

#: Deflate (RFC 1951), which gzip and zip use, makes at most this many bytes of one.
MOST_INFLATION = 1032

#: What is larger than this when decompressed and was compressed better than 200:1 is no scan: noise does not compress.
FREELY_INFLATED_BYTES = 64 * 2**20
PLAUSIBLE_INFLATION = 200


def require_readable_size(shape: Sequence[int], name: str, limit: int = MAX_VOXELS) -> None:
    """Refuse a header that declares no voxel at all or more than `limit`.

    Raises
    ------
    FileError
        Naming the size; a damaged header often declares an absurd one.
    """
    declared = " x ".join(str(size) for size in shape)
    if not shape or min(shape) < 1:
        raise FileError(f"{name}: the header declares {declared} voxels; a scan has at least one. Is it damaged?")
    if math.prod(shape) > limit:
        raise FileError(
            f"{name}: the header declares {declared} voxels ({4 * math.prod(shape) / 2**30:.1f} GiB as "
            f"float32), above the limit of {4 * limit / 2**30:.0f} GiB. Is the header damaged? "
            "If not, cut the scan into parts."
        )


def require_plausible_size(
    shape: Sequence[int], itemsize: float, stored_bytes: int, name: str, compressed: bool = False
) -> None:
    """Refuse a header that declares more than the stored bytes can hold, or more than any scan inflates to.

    Parameters
    ----------
    shape : sequence of int
        Of everything the file is to hold, all volumes or frames included.
    itemsize : float
        Bytes per voxel.
    stored_bytes : int
        Bytes that the file has for the voxels.
    name : str
        Of the file, for the message.
    compressed : bool
        Whether the stored bytes are compressed by Deflate (gzip, zip, deflated DICOM).

    Raises
    ------
    FileError
        Before any memory is taken.
    """
    declared = math.ceil(math.prod(shape) * itemsize)
    text = f"{' x '.join(str(size) for size in shape)} voxels ({_size(declared)})"
    most = stored_bytes * MOST_INFLATION if compressed else stored_bytes
    if declared > most:
        raise FileError(
            f"{name}: the header declares {text}; the file holds {_size(stored_bytes)}"
            f"{' of compressed voxels' if compressed else ''}. It ends early or its header is damaged. "
            "Copy or export it again."
        )
    if compressed and declared > max(FREELY_INFLATED_BYTES, stored_bytes * PLAUSIBLE_INFLATION):
        raise FileError(
            f"{name}: the header declares {text}, the file holds {_size(stored_bytes)} of compressed voxels: "
            f"1:{declared // max(1, stored_bytes)}, beyond the 1:{PLAUSIBLE_INFLATION} that a scan reaches. "
            "Is it damaged? If it is meant so (a mask), decompress it first."
        )


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
