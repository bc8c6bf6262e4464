"""BM3D (Dabov et al. 2007; Makinen, Azzari & Foi 2020) for magnitude images, by its authors' package where installed.

The package is free for non-commercial use only, so nothing else depends on it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medinr.operators import Rician
from medinr.operators.adapters.libraries import require

#: What to install where the use is not commercial.
EXTRA = "'medinr[peers-noncommercial]'"


def block_matching(magnitude: Tensor, noise: Rician, strength: float) -> Tensor:
    """Shrink stacks of patches that look alike in a common transform, then take away the Rician bias.

    Parameters
    ----------
    magnitude : Tensor, shape (y, x)
        Real, in the unit of ``noise.sigma``.
    noise : Rician
    strength : float
        Standard deviation that BM3D is told, in units of sigma. In air the magnitude scatters less than sigma, near
        edges patches differ more than by noise: the best is near 1, not 1.

    Returns
    -------
    Tensor, shape (y, x)
        At or above zero.

    Raises
    ------
    LibraryError
        When the package ``bm3d`` is not installed.
    """
    library = require("bm3d", EXTRA, "BM3D (free for non-commercial use only)")
    smooth = library.bm3d(magnitude.detach().numpy(), sigma_psd=strength * noise.sigma)
    return noise.debias(torch.from_numpy(np.asarray(smooth)).to(magnitude.dtype))
