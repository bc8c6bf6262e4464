"""What a reconstruction is compared with; no solver ever sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medinr.volume import Volume


@dataclass(frozen=True, eq=False)
class Reference:
    """The scan a measurement was simulated from, or the image of all its raw data; for figures and scores only.

    Attributes
    ----------
    scan : Volume
        The chosen slices, as they lie in the file.
    images : ndarray, shape (slices, y, x)
        The same in standard orientation, magnitude or HU.
    peak : float
        Data range for PSNR and SSIM, from the whole scan.
    """

    scan: Volume
    images: NDArray[np.float32]
    peak: float
