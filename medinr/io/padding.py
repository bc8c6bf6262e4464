"""Padding around the round field of view of a CT."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: CT values below this are padding, not tissue (-2000, -2048, -3024 by scanner); they become this.
HU_FLOOR = -1024.0


def fill_padding(values: NDArray[np.float32], known: NDArray[np.bool_] | None = None) -> int:
    """Set padding of a CT in HU to `HU_FLOOR`, in place, and return how many pixels that changed.

    Parameters
    ----------
    values : ndarray, float32
        Hounsfield units; whatever lies below `HU_FLOOR` is padding.
    known : ndarray of bool, optional
        Pixels that the header declares as padding, whatever their value.
    """
    padding: Any = values < HU_FLOOR
    if known is not None:
        padding |= known
    values[padding] = HU_FLOOR
    return int(padding.sum())


def padding_note(count: int, value: float = HU_FLOOR, unit: str = " HU") -> str:
    """Note for a volume whose padding was changed."""
    return f"{count} pixels of padding outside the field of view were set to {value:.0f}{unit}"
