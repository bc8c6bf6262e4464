"""Total variation, with the quadratic majoriser under which a head can be solved in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def gradient(image: Tensor) -> Tensor:
    """Forward differences along y and x, zero at the far edge: ``(..., y, x) -> (..., 2, y, x)``."""
    out = torch.zeros(*image.shape[:-2], 2, *image.shape[-2:], dtype=image.dtype, device=image.device)
    out[..., 0, :-1, :] = image[..., 1:, :] - image[..., :-1, :]
    out[..., 1, :, :-1] = image[..., :, 1:] - image[..., :, :-1]
    return out


@dataclass(frozen=True)
class TotalVariation:
    """Isotropic total variation, smoothed near zero gradient (Rudin, Osher & Fatemi 1992).

    ``R(x) = weight * sum_r sqrt(|grad x(r)|^2 + epsilon^2)``; for complex images the modulus of the gradient is over
    real and imaginary part together.

    Attributes
    ----------
    weight : float
        Weight of the penalty beside a negative log-likelihood, for images scaled to about 0 to 1.
    epsilon : float
        Gradients well below it are treated as noise: their penalty is quadratic.
    """

    weight: float
    epsilon: float = 0.005

    def _magnitude(self, image: Tensor) -> Tensor:
        steps = gradient(image)
        squared = steps.real.square() + steps.imag.square() if image.is_complex() else steps.square()
        return (squared.sum(dim=-3) + self.epsilon**2).sqrt()

    def penalty(self, image: Tensor) -> Tensor:
        """``R(image)`` as a scalar, image of shape (y, x)."""
        return self.weight * self._magnitude(image).sum()

    def gram(self, features: Tensor, image: Tensor, batch: int = 32) -> Tensor:
        """Curvature of the majoriser at ``image`` in the space of head weights.

        ``R(x) <= 1/2 sum_r w(r) |grad x(r)|^2 + const`` with ``w = weight / sqrt(|grad image|^2 + epsilon^2)``,
        with equality at ``x = image`` (lagged diffusivity; Vogel & Oman 1996). For ``x = features @ head`` the right
        side is quadratic in the head, with the matrix returned here.

        Parameters
        ----------
        features : Tensor, shape (y * x, p)
        image : Tensor, shape (y, x)
            Where the majoriser equals the penalty.
        batch : int
            Features differenced at a time.

        Returns
        -------
        Tensor, shape (p, p), float64
        """
        root = (self.weight / self._magnitude(image)).sqrt()
        p = features.shape[1]
        total = torch.zeros(p, p, dtype=torch.float64)
        stacked = torch.empty(p, 2 * image.numel(), dtype=features.dtype)
        for start in range(0, p, batch):
            maps = features[:, start : start + batch].T.reshape(-1, *image.shape)
            stacked[start : start + batch] = (root * gradient(maps)).reshape(len(maps), -1)
        for part in stacked.split(1 << 16, dim=1):
            total += (part @ part.T).double()
        return total
