"""Limits on the size that a header may declare, checked before memory is allocated."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medinr.errors import FileError

#: Voxels of the largest scan that is read: 4 GiB as float32, twice a 512 x 512 x 2000 CT of the whole body.
MAX_VOXELS = 2**30


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
