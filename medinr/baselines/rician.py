"""Total variation and its generalisation for magnitude images, whose Rician noise raises dark regions."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from medinr.baselines.total_variation import total_variation
from medinr.operators import Identity, Rician


def denoise_magnitude(
    magnitude: Tensor,
    noise: Rician,
    weight: float,
    *,
    iterations: int = 200,
    method: Callable[..., Tensor] = total_variation,
) -> Tensor:
    """Denoise the magnitude by total variation, then remove the Rician bias.

    Denoising estimates the mean of the magnitude, not the signal; in air that mean is ``1.25 sigma``.
    `Rician.debias` inverts it pixel by pixel (Koay & Basser 2006).

    Parameters
    ----------
    magnitude : Tensor, shape (..., y, x)
        Real, in the unit of ``noise.sigma``.
    noise : Rician
    weight : float
        Dimensionless, as in `total_variation` with ``precision = 1 / sigma^2``.
    iterations : int
    method : callable
        `total_variation` or `generalised_variation`.

    Returns
    -------
    Tensor, shape (..., y, x)
        At or above zero.
    """
    operator = Identity(magnitude.shape[-2:])
    smooth = method(magnitude, operator, weight * noise.sigma, iterations=iterations)
    return noise.debias(smooth)
