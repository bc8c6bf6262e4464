"""The same person's other scans as a prior: believed where they agree with what is being reconstructed.

In every turn of prior and measurement the image is explained window by window as a straight line of the companions,
``x ~ a . c + b`` (the guided filter: He, Sun & Tang, IEEE TPAMI 2013, equations 5, 6 and 8; of several companions, as
of the colours of a picture, 14 to 16). Aliasing and noise do not look like the companions and drop out; contrast, bias
field and scale of a companion do not matter, edges do, and tissues that one contrast shows alike another tells apart.
A line knows the slopes of each companion too, ``c(x + d) ~ c(x) + d . grad c``: no rigid motion lays one exam exactly
on another, and so what lies half a pixel away, here one way and there another, is still explained. What the companions
say of each pixel is then mixed with what the local prior says, by how far the two are apart:

    ``w = 1 / (1 + d^2 / (trust min(s, most))^2)``,   ``v = (1 - w) D(x, s) + w (a . c + b)``

with ``d^2`` the mean squared difference nearby and ``s`` the error the turn expects. ``s`` falls from turn to turn, so
the companions have to agree ever more closely to be heard. ``most`` is what keeps new lesions: the first turns, which
expect errors of any size, would have them explained away before the measurement could speak for them.

Where the local prior has a copy that has learned to listen (`medinr.prior.listener`), it is told what the lines make of
the image and its answer takes the place of the mixture, down to errors of `HEARD_ABOVE`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.prior.local import ImagePrior, LocalPrior, smooth_phasor
from medinr.prior.straight_lines import RADIUS, RIDGE, Hints, StraightLines, lines_with_slopes
from medinr.prior.windows import mean_nearby

#: Turns that expect an error above this, of brightness 0 to 1, ask the listener; asked to the end, it leaves aliasing
#: of the finest detail.
HEARD_ABOVE = 0.01


@dataclass(frozen=True, eq=False)
class CompanionPrior:
    """A prior for one slice, with other scans of the same anatomy at its side.

    Attributes
    ----------
    prior : ImagePrior
        What is believed where the companions are not.
    companions : Tensor, shape (c, y, x)
        Real, on the grid of the slice, of any contrast, scaled to about 0 to 1.
    through : Tensor, shape (c, y, x), optional
        Slope of each companion through the plane, per distance of any length.
    radius : int
        Half the window in pixels in which a straight line leads from the companions to the image.
    ridge : float
        Standard deviation of a companion in a window under which its structure counts as noise.
    trust : float
        Difference at which prior and companions weigh alike, in units of the error a turn expects.
    most : float
        Error that counts at most, of brightness 0 to 1, however much more a turn expects.
    nearby : int
        Half the window in pixels over which the difference is averaged.
    """

    prior: ImagePrior
    companions: Tensor
    through: Tensor | None = None
    radius: int = RADIUS
    ridge: float = RIDGE
    trust: float = 1.0
    most: float = 0.06
    nearby: int = 2

    def __post_init__(self) -> None:
        if self.companions.ndim != 3 or not len(self.companions) or self.companions.is_complex():
            kind, shape = self.companions.dtype, tuple(self.companions.shape)
            raise ShapeError(f"Companions are real images (c, y, x), one or more; got {kind} of shape {shape}.")
        if self.through is not None and self.through.shape != self.companions.shape:
            shape, wanted = tuple(self.through.shape), tuple(self.companions.shape)
            raise ShapeError(f"Every companion has one slope through the plane: {wanted}; got {shape}.")
        if min(self.radius, self.nearby) < 1 or min(self.ridge, self.trust, self.most) <= 0:
            raise ConfigError(
                "Companions want windows of 1 pixel or more, ridge, trust and most above 0; got "
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
        self._require_grid(image)
        if level > HEARD_ABOVE and isinstance(self.prior, LocalPrior) and self.prior.listener is not None:
            return self.prior.hear(image, level, turn, self._hints.of)
        believed = self.prior.denoise(image, level, turn)
        difference, phase = self._difference(image, believed)
        return believed + self._weight(difference, level) * difference * phase

    @torch.no_grad()
    def trusted(self, image: Tensor, level: float) -> Tensor:
        """Weight of the companions at every pixel of an image, shape (y, x), 0 to 1."""
        self._require_grid(image)
        return self._weight(self._difference(image, self.prior.denoise(image, level))[0], level)

    def _require_grid(self, image: Tensor) -> None:
        if image.shape != self.companions.shape[1:]:
            raise ShapeError(
                f"The companions have {tuple(self.companions.shape[1:])} pixels (y, x), the image {tuple(image.shape)}."
            )

    def _difference(self, image: Tensor, believed: Tensor) -> tuple[Tensor, Tensor]:
        """What the companions would change of what the prior believes, real, and the phase that it is seen in."""
        if not image.is_complex():
            return self._lines.explain(image) - believed, torch.ones_like(image)
        phase = smooth_phasor(believed)
        upright = (image * phase.conj()).real
        return self._lines.explain(upright) - (believed * phase.conj()).real, phase

    def _weight(self, difference: Tensor, level: float) -> Tensor:
        tolerated = self.trust * min(level, self.most)
        return 1 / (1 + mean_nearby(difference.square(), self.nearby) / tolerated**2)

    @cached_property
    def _lines(self) -> StraightLines:
        return lines_with_slopes(self.companions, self.through, self.radius, self.ridge)

    @cached_property
    def _hints(self) -> Hints:
        return Hints(self._lines)
