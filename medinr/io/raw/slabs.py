"""Three-dimensional Cartesian scans as slices that can be reconstructed one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from medinr.errors import FileError


def slab_to_slices(grid: np.ndarray[Any, Any], name: str) -> tuple[np.ndarray[Any, Any], bool, str]:
    """Take one encoding out of a slab by a centred, orthonormal inverse FFT along it.

    Along the partitions, if they were sampled alike: slices as the scanner shows them. Otherwise along the
    readout, which is always sampled fully: slices across it, with phase encoding in both of their directions. Either
    is exact.

    Parameters
    ----------
    grid : ndarray, complex (1, coil, kz, ky, kx)
        Zero where nothing was measured.
    name : str
        File and dataset, for messages.

    Returns
    -------
    slices : ndarray
        ``(z, coil, ky, kx)``, or ``(x, coil, kz, ky)``.
    across : bool
        Whether they lie across the readout.
    step : str
        What was done.

    Raises
    ------
    FileError
        When there are several slabs, or neither encoding was sampled evenly.
    """
    measured: np.ndarray[Any, Any] = np.any(grid, axis=(0, 1))
    if len(grid) != 1:
        raise FileError(f"{name}: {len(grid)} slabs with partitions. Read one slab at a time.")
    if (measured == np.any(measured, axis=0)).all():
        step = f"{grid.shape[2]} partitions were turned into slices by an inverse FFT."
        return _transformed(grid[0], 1).transpose(1, 0, 2, 3), False, step
    if (measured == np.any(measured, axis=2, keepdims=True)).all():
        step = f"{grid.shape[4]} samples of each readout were turned into slices across it by an inverse FFT."
        return _transformed(grid[0], 3).transpose(3, 0, 1, 2), True, step
    raise FileError(
        f"{name}: neither all partitions nor all samples of the readouts were measured alike, so this slab cannot be "
        "cut into slices. Reconstruct it with a three-dimensional method."
    )


def _transformed(grid: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any]:
    shifted = np.fft.ifftshift(grid, axes=axis)
    return np.fft.fftshift(np.fft.ifft(shifted, axis=axis, norm="ortho"), axes=axis)
