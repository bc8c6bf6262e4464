"""The local prior across a stack of neighbouring slices.

What was learned of slices says something of the planes across them too: edges go on from slice to slice, noise and the
ghosts of undersampling, where each slice is sampled in its own way, do not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.prior.local import LocalPrior, smooth_phasor


@torch.no_grad()
def smooth_phasors(images: Tensor) -> Tensor | None:
    """Smooth phase of each complex slice as ``exp(i phase)``, shape (z, y, x); None for real ones."""
    return torch.stack([smooth_phasor(image) for image in images]) if images.is_complex() else None


@torch.no_grad()
def denoise_planes(planes: Tensor, prior: LocalPrior, level: float, turn: int) -> Tensor:
    """Denoise planes across a stack, of which slices have no phase in common but what was taken off before.

    Parameters
    ----------
    planes : Tensor, shape (plane, z, along)
        Real, or complex with each slice's smooth phase taken off (`smooth_phasors`).
    prior : LocalPrior
    level, turn
        See `LocalPrior.denoise`.

    Returns
    -------
    Tensor, shape (plane, z, along)
    """
    if not planes.is_complex():
        return prior.denoise_all(planes, level, turn)
    return torch.complex(prior.denoise_all(planes.real, level, turn), prior.denoise_all(planes.imag, level, turn))
