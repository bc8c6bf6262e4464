"""What is known of the noise of a scan: its kind, its standard deviation, and how neighbouring pixels correlate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medinr.errors import ConfigError, ShapeError
from medinr.units import noise_floor

#: Distributions of the noise of scans.
KINDS = ("gaussian", "rician", "chi")


@dataclass(frozen=True, eq=False)
class ScanNoise:
    """Noise of a scan, in the units of the scan.

    Attributes
    ----------
    kind : {"gaussian", "rician", "chi"}
        Of real or complex values (CT, complex MR); of magnitudes of one coil or of a combination with coil maps
        (Rician); of root sums of squares of several coils (non-central chi).
    sigma : float
        Standard deviation: of real values; of real and imaginary part each of complex values, and of what magnitudes
        were taken of, in one coil. Median over the object where it varies. 0 where no noise was found.
    coils : int
        Of ``"chi"``: how many coils it acts like; 1 otherwise.
    sigma_map : ndarray, shape (z, y, x), float32, or None
        Standard deviation at every voxel; None where it is the same everywhere.
    autocorrelation : ndarray, shape (2 k + 1, 2 k + 1), float64, or None
        Of the noise of pixels of a slice at distances of up to k pixels along (y, x), 1 in the middle; None where
        pixels are independent.
    zero_filling : (float, float)
        Pixels per acquired sample along (y, x) where k-space was zero-filled, or the image interpolated; 1 otherwise.
    reliable : bool
        Whether the estimate can be trusted; where it cannot, denoising is to change little.
    how : str
        How it was found, in words.
    remarks : tuple of str
        What a user should know of it, in words.
    across : (ndarray or None, ndarray or None), or None
        The autocorrelation in planes across the slices, along (z, x) and along (z, y); None where it was not looked
        for.
    """

    kind: str
    sigma: float
    coils: int = 1
    sigma_map: NDArray[np.float32] | None = None
    autocorrelation: NDArray[np.float64] | None = None
    zero_filling: tuple[float, float] = (1.0, 1.0)
    reliable: bool = True
    how: str = ""
    remarks: tuple[str, ...] = ()
    across: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"The noise of a scan is one of {', '.join(KINDS)}; got {self.kind!r}.")
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise ConfigError(f"The sigma of a scan's noise is a finite number of 0 or more; got {self.sigma}.")
        if self.coils < 1 or (self.kind != "chi" and self.coils != 1):
            raise ConfigError(
                f"Noise of kind {self.kind} and {self.coils} coils: only chi has more than one, none less."
            )
        if self.sigma_map is not None and self.sigma_map.ndim != 3:
            raise ShapeError(f"A map of sigma is (z, y, x); got shape {self.sigma_map.shape}.")
        for table in (self.autocorrelation, *(self.across or ())):
            if table is not None and (table.ndim != 2 or min(table.shape) % 2 == 0 or min(table.shape) < 3):
                raise ShapeError(f"An autocorrelation has an odd number of rows and columns; got shape {table.shape}.")

    @property
    def floor(self) -> float:
        """Expected magnitude without signal over sigma: 0 for Gaussian noise, 1.25 for Rician, more for more coils."""
        return noise_floor(0 if self.kind == "gaussian" else self.coils)

    def left_by_mean(self, width: int) -> float:
        """Standard deviation that the mean over ``width`` x ``width`` pixels leaves, relative to sigma.

        ``1 / width`` for independent pixels.

        Parameters
        ----------
        width : int
        """
        if self.autocorrelation is None:
            return 1.0 / width
        rows, columns = (size // 2 for size in self.autocorrelation.shape)
        along_y, along_x = (
            np.clip(width - np.abs(np.arange(-reach, reach + 1)), 0, None) / width**2 for reach in (rows, columns)
        )
        return math.sqrt(max(0.0, float(along_y @ self.autocorrelation @ along_x)))

    @property
    def facts(self) -> dict[str, Any]:
        """Plain values for records: everything but the map."""
        return {
            "kind": self.kind,
            "sigma": self.sigma,
            "coils": self.coils,
            "varies_in_space": self.sigma_map is not None,
            "neighbours_correlate_by": _neighbour(self.autocorrelation, 0, 1),
            "slices_correlate_by": None if self.across is None else _neighbour(self.across[0], 1, 0),
            "zero_filling": list(self.zero_filling),
            "reliable": self.reliable,
            "how": self.how,
            "remarks": list(self.remarks),
        }


def _neighbour(table: NDArray[np.float64] | None, row: int, column: int) -> float:
    """Correlation at a small distance."""
    return 0.0 if table is None else float(table[table.shape[0] // 2 + row, table.shape[1] // 2 + column])
