"""How noisy an image is, estimated from the image itself."""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.errors import ShapeError


def estimate_sigma(image: Tensor) -> Tensor:
    """Noise of an image from its finest diagonal Haar wavelet coefficients.

    ``sigma = median(|d|) / 0.6745``, ``d = (a - b - c + e) / 2`` over 2 x 2 blocks (Donoho & Johnstone 1994).
    Coefficients that are exactly zero are left out: they come from padding, not from the scanner. In
    magnitude images a background without signal yields about 0.66 sigma (Rayleigh).

    Parameters
    ----------
    image : Tensor, shape (..., y, x)
        Real, or complex with independent noise in both parts.

    Returns
    -------
    Tensor, shape (...)
        Standard deviation of the noise (per part for complex images) in the unit of the image; 0 if there is
        none.

    Raises
    ------
    ShapeError
        If the image is smaller than 2 x 2.
    """
    if image.ndim < 2 or min(image.shape[-2:]) < 2:
        raise ShapeError(f"estimate_sigma wants an image (..., y, x) of at least 2 x 2; got {tuple(image.shape)}.")
    parts = torch.view_as_real(image).movedim(-1, -3) if image.is_complex() else image.unsqueeze(-3)
    rows, columns = parts.shape[-2] // 2 * 2, parts.shape[-1] // 2 * 2
    even, odd = parts[..., 0:rows:2, :columns], parts[..., 1:rows:2, :columns]
    vertical = even - odd
    diagonal = 0.5 * (vertical[..., 0::2] - vertical[..., 1::2]).abs().flatten(-3)
    measured = torch.where(diagonal == 0, torch.nan, diagonal)
    return measured.nanmedian(dim=-1).values.nan_to_num(0.0) / 0.6745
