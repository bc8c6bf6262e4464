"""Small patches of slices as discrete cosine coefficients: what the noise of the object is measured on.

Structure lies in the few lowest coefficients of a patch and in few patches, noise in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import dctn

from medinr.errors import IntensityError

#: Pixels along each side of a patch. Longer ones hold structure in more coefficients (tried: 16).
SIDE = 8

#: Slices and patches that are looked at, at most: enough for 1 % of the standard deviation.
MOST_SLICES = 24
MOST_PATCHES = 196608

#: Fewest patches that an estimate may rest on.
FEWEST_PATCHES = 64

#: Distances of patches that are tried, closest first: overlapping patches use small images better.
_STRIDES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32)


@dataclass(frozen=True, eq=False)
class Patches:
    """Patches of some slices.

    Attributes
    ----------
    coefficients : ndarray, shape (n, 8, 8), float32
        Orthonormal discrete cosine transform (type II) along (y, x).
    centres : ndarray, shape (n, 3), float32
        Where each lies: (z, y, x) in voxels of the scan.
    shape : (int, int, int)
        Voxels of the scan along (z, y, x).
    places : int
        How many patches there would be if all pixels were usable.
    """

    coefficients: NDArray[np.float32]
    centres: NDArray[np.float32]
    shape: tuple[int, int, int]
    places: int

    @property
    def means(self) -> NDArray[np.float32]:
        """Mean value of each patch, shape (n,)."""
        means: NDArray[np.float32] = self.coefficients[:, 0, 0] / np.float32(SIDE)
        return means

    def blocks(self, count: int) -> NDArray[np.int64]:
        """Number of each patch's block, of ``count`` by ``count`` in a slice, row by row; shape (n,)."""
        row, column = (
            np.minimum((self.centres[:, axis] * count / self.shape[axis]).astype(np.int64), count - 1)
            for axis in (1, 2)
        )
        return np.asarray(row * count + column)

    def only(self, which: NDArray[np.bool_]) -> Patches:
        """Return some of the patches."""
        return Patches(self.coefficients[which], self.centres[which], self.shape, self.places)


def chosen_slices(count: int, most: int = MOST_SLICES) -> list[int]:
    """Numbers of the slices that are looked at, evenly over the stack without its ends; symmetric."""
    ends = 0.08 * (count - 1) if count > most else 0.0
    return sorted({round(place) for place in np.linspace(ends, count - 1 - ends, min(count, most)).tolist()})


def cut_patches(planes: NDArray[np.float32], usable: NDArray[np.bool_], numbers: list[int], depth: int) -> Patches:
    """Cut the patches that consist of usable pixels only.

    Parameters
    ----------
    planes : ndarray, shape (s, y, x)
    usable : ndarray of bool, shape (s, y, x)
    numbers : list of int
        Of each plane: which slice of the scan it is.
    depth : int
        Slices of the scan.

    Raises
    ------
    IntensityError
        If there are fewer than `FEWEST_PATCHES`.
    """
    _, height, width = planes.shape
    if min(height, width) < SIDE:
        raise IntensityError(
            f"The noise of a scan is found in patches of {SIDE} x {SIDE} pixels; slices have {width} x {height}. "
            "Say the noise yourself (--sigma)."
        )
    for stride in _STRIDES:
        places = len(planes) * len(range(0, height - SIDE + 1, stride)) * len(range(0, width - SIDE + 1, stride))
        if places <= MOST_PATCHES:
            break
    # The patches lie symmetrically in the slice, so that a flipped scan gives the same ones.
    top, left = ((size - SIDE) % stride // 2 for size in (height, width))
    step = (slice(None), slice(top, None, stride), slice(left, None, stride))
    whole = sliding_window_view(usable, (SIDE, SIDE), axis=(1, 2))[step].all(axis=(-1, -2))
    windows = sliding_window_view(planes, (SIDE, SIDE), axis=(1, 2))[step]
    place, row, column = np.nonzero(whole)
    if len(place) < FEWEST_PATCHES:
        raise IntensityError(
            f"Only {len(place)} patches of {SIDE} x {SIDE} pixels hold values other than padding; "
            f"{FEWEST_PATCHES} are needed to find the noise. Choose other slices, or say the noise yourself (--sigma)."
        )
    coefficients = dctn(windows[place, row, column], axes=(1, 2), norm="ortho").astype(np.float32, copy=False)
    middle = 0.5 * (SIDE - 1)
    centres = np.stack(
        [np.asarray(numbers, np.float32)[place], row * stride + top + middle, column * stride + left + middle], axis=1
    ).astype(np.float32)
    return Patches(coefficients, centres, (depth, height, width), whole.size)
