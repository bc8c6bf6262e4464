"""BM3D (Dabov et al. 2007; Makinen, Azzari & Foi 2020) and, for volumes, BM4D (Maggioni et al. 2013).

For magnitude images, by the authors' packages where they are installed. The packages are free for non-commercial use
only, so nothing else depends on them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medinr.operators import Rician
from medinr.operators.adapters.libraries import require

#: What to install where the use is not commercial.
EXTRA = "'medinr[baselines-noncommercial]'"


def block_matching(magnitude: Tensor, noise: Rician, strength: float) -> Tensor:
    """Shrink groups of similar patches in a common transform, then remove the Rician bias.

    Parameters
    ----------
    magnitude : Tensor, shape (y, x) or (z, y, x)
        Real, in the unit of ``noise.sigma``; BM3D denoises a slice, BM4D a volume.
    noise : Rician
    strength : float
        Standard deviation passed to the package, in units of sigma. In air the standard deviation of the magnitude is
        below sigma, and near edges patches differ by more than noise: the best value is near 1, but not 1.

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
