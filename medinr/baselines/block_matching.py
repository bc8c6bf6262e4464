"""BM3D (Dabov et al. 2007; Makinen, Azzari & Foi 2020) and, for stacks of slices, BM4D (Maggioni et al. 2013).

Each for magnitudes, by its authors' package where that is installed. The packages are free for non-commercial use only,
so nothing else depends on them.
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
    magnitude : Tensor, shape (y, x) or (z, y, x)
        Real, in the unit of ``noise.sigma``; BM3D denoises a slice, BM4D a stack.
    noise : Rician
    strength : float
        Standard deviation that it is told, in units of sigma. In air the magnitude scatters less than sigma, near
        edges patches differ more than by noise: the best is near 1, not 1.

    Returns
    -------
    Tensor, shape of the magnitude
        At or above zero.

    Raises
    ------
    LibraryError
        When the package (``bm3d`` or ``bm4d``) is not installed.
    """
    name = "bm3d" if magnitude.ndim == 2 else "bm4d"
    library = require(name, EXTRA, f"{name.upper()} (free for non-commercial use only)")
    smooth = getattr(library, name)(magnitude.detach().numpy(), sigma_psd=strength * noise.sigma)
    return noise.debias(torch.from_numpy(np.asarray(smooth)).to(magnitude.dtype))
