"""DenoiseImage of ANTs: adaptive non-local means that finds a noise level of its own at every voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medinr.operators.adapters.libraries import require

Array = NDArray[np.float32]


def denoise_image(volume: Array, sigma: float, patch: int = 1, search: int = 2, rician: bool = True) -> Array:
    """Denoise a volume (Manjon et al. 2010).

    Parameters
    ----------
    volume : ndarray, shape (z, y, x)
    sigma : float
        Not used.
    patch, search : int
        Radius of compared patches and of the search, in voxels.
    rician : bool
        Noise of magnitudes.

    Raises
    ------
    LibraryError
        When ``antspyx`` is not installed.
    """
    ants = require("ants", "antspyx", "Comparison with ANTs")
    image = ants.from_numpy(np.ascontiguousarray(volume, np.float32))
    model = "Rician" if rician else "Gaussian"
    return np.asarray(ants.denoise_image(image, p=patch, r=search, noise_model=model).numpy(), np.float32)
