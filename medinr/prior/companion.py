"""The same person's other scan as a prior: believed where it agrees with what is being reconstructed.

In every turn of prior and measurement the image is explained window by window as a straight line of the companion,
``x ~ a c + b`` (the guided filter: He, Sun & Tang, IEEE TPAMI 2013, equations 5, 6 and 8). Aliasing and noise do not
look like the companion and drop out; contrast, bias field and scale of the companion do not matter, edges do. What
the companion says of each pixel is then mixed with what the local prior says, by how far the two are apart:

    ``w = 1 / (1 + d^2 / (trust min(s, most))^2)``,   ``v = (1 - w) D(x, s) + w (a c + b)``

with ``d^2`` the mean squared difference nearby and ``s`` the error the turn expects. ``s`` falls from turn to turn, so
the companion has to agree ever more closely to be heard. ``most`` is what keeps new lesions: the first turns, which
expect errors of any size, would have them explained away before the measurement could speak for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from medinr.errors import ConfigError, ShapeError
from medinr.prior.local import ImagePrior, smooth_phasor


@dataclass(frozen=True, eq=False)
class CompanionPrior:
    """A prior for one slice, with another scan of the same anatomy at its side.

    Attributes
    ----------
    prior : ImagePrior
        What is believed where the companion is not.
    companion : Tensor, shape (y, x)
        Real, on the grid of the slice, of any contrast, scaled to about 0 to 1.
    radius : int
        Half the window in pixels in which a straight line leads from the companion to the image.
    ridge : float
        Standard deviation of the companion in a window under which its structure counts as noise.
    trust : float
        Difference at which prior and companion weigh alike, in units of the error a turn expects.
    most : float
        Error that counts at most, of brightness 0 to 1, however much more a turn expects.
    nearby : int
        Half the window in pixels over which the difference is averaged.
    """

    prior: ImagePrior
    companion: Tensor
    radius: int = 4
    ridge: float = 0.01
    trust: float = 1.0
    most: float = 0.06
    nearby: int = 2

    def __post_init__(self) -> None:
        if self.companion.ndim != 2 or self.companion.is_complex():
            kind, shape = self.companion.dtype, tuple(self.companion.shape)
            raise ShapeError(f"A companion is a real image (y, x); got {kind} of shape {shape}.")
        if min(self.radius, self.nearby) < 1 or min(self.ridge, self.trust, self.most) <= 0:
            raise ConfigError(
                "A companion wants windows of 1 pixel or more, ridge, trust and most above 0; got "
                f"{self.radius}, {self.nearby}, {self.ridge}, {self.trust}, {self.most}."
            )

    def in_precision(self, precision: torch.dtype) -> CompanionPrior:
        """Return the same with the convolutions of its prior in another precision."""
        return replace(self, prior=self.prior.in_precision(precision))

    def for_magnitudes(self) -> CompanionPrior | None:
        """Return the same for magnitudes with Rician noise, see `medinr.prior.local.ImagePrior`."""
        prior = self.prior.for_magnitudes()
        return None if prior is None else replace(self, prior=prior)

    @torch.no_grad()
    def denoise(self, image: Tensor, level: float, turn: int = 0) -> Tensor:
        """Denoise an image ``(y, x)`` with both (see `medinr.prior.local.LocalPrior.denoise`)."""
        believed = self.prior.denoise(image, level, turn)
        difference, phase = self._difference(image, believed)
        return believed + self._weight(difference, level) * difference * phase

    @torch.no_grad()
    def trusted(self, image: Tensor, level: float) -> Tensor:
        """Weight of the companion at every pixel of an image, shape (y, x), 0 to 1."""
        return self._weight(self._difference(image, self.prior.denoise(image, level))[0], level)

    def _difference(self, image: Tensor, believed: Tensor) -> tuple[Tensor, Tensor]:
        """What the companion would change of what the prior believes, real, and the phase that it is seen in."""
        if image.shape != self.companion.shape:
            raise ShapeError(
                f"The companion has {tuple(self.companion.shape)} pixels (y, x), the image {tuple(image.shape)}."
            )
        if not image.is_complex():
            return explain_by(self.companion, image, self.radius, self.ridge) - believed, torch.ones_like(image)
        phase = smooth_phasor(believed)
        upright = (image * phase.conj()).real
        explained = explain_by(self.companion, upright, self.radius, self.ridge)
        return explained - (believed * phase.conj()).real, phase

    def _weight(self, difference: Tensor, level: float) -> Tensor:
        tolerated = self.trust * min(level, self.most)
        return 1 / (1 + _mean_nearby(difference.square(), self.nearby) / tolerated**2)


def explain_by(companion: Tensor, image: Tensor, radius: int, ridge: float) -> Tensor:
    """Explain an image as a straight line of a companion, window by window (the guided filter).

    Parameters
    ----------
    companion, image : Tensor, shape (y, x)
        Real.
    radius : int
        Half a window in pixels; windows are cut off at the edge.
    ridge : float
        Companions that vary by less in a window explain its mean only.

    Returns
    -------
    Tensor, shape (y, x)
    """
    products = torch.stack([image, companion, image * companion, companion.square()])
    mean, mean_c, product, square = _mean_nearby(products, radius)
    slope = (product - mean * mean_c) / ((square - mean_c.square()).clamp_min(0) + ridge**2)
    slope, offset = _mean_nearby(torch.stack([slope, mean - slope * mean_c]), radius)
    explained: Tensor = slope * companion + offset
    return explained


def _mean_nearby(images: Tensor, radius: int) -> Tensor:
    """Mean over a window of ``2 radius + 1`` pixels a side, cut off at the edge; shape (..., y, x)."""
    flat = images.reshape(1, -1, *images.shape[-2:])
    return avg_pool2d(flat, 2 * radius + 1, 1, radius, count_include_pad=False).reshape(images.shape)
