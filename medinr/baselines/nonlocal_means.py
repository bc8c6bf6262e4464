"""Non-local means (Buades, Coll & Morel 2005) for magnitude images, by scikit-image."""

from __future__ import annotations

import numpy as np
import torch
from skimage.restoration import denoise_nl_means
from torch import Tensor

from medinr.operators import Rician

#: Side of the compared patches, and their largest distance, in pixels.
PATCH, DISTANCE = 5, 6


def nonlocal_means(magnitude: Tensor, noise: Rician, strength: float) -> Tensor:
    """Average pixels with similar surroundings, then remove the Rician bias.

    Parameters
    ----------
    magnitude : Tensor, shape (y, x)
        Real, in the unit of ``noise.sigma``.
    noise : Rician
    strength : float
        Filter strength ``h`` in units of sigma.

    Returns
    -------
    Tensor, shape (y, x)
        At or above zero.
    """
    smooth = denoise_nl_means(
        magnitude.detach().numpy(),
        patch_size=PATCH,
        patch_distance=DISTANCE,
        h=strength * noise.sigma,
        sigma=noise.sigma,
        fast_mode=True,
    )
    return noise.debias(torch.from_numpy(np.asarray(smooth)).to(magnitude.dtype))
