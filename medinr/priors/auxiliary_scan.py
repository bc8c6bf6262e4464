"""Auxiliary scans of the same patient as a prior, used where they agree with the image that is being reconstructed.

In every iteration the image is fitted, window by window, as a linear function of the auxiliary scans,
``x ~ a . c + b`` (the guided filter: He, Sun & Tang, IEEE TPAMI 2013, equations 5, 6 and 8; for several scans, as for
the channels of a colour image, 14 to 16). Aliasing and noise do not resemble the auxiliary scans and drop out.
Contrast, bias field and scale of an auxiliary scan do not matter, edges do; tissues that are alike in one contrast are
told apart by another. The fit also uses the slopes of each scan, ``c(x + d) ~ c(x) + d . grad c``: no rigid motion
aligns two visits exactly, and with slopes anatomy that lies half a pixel away, in directions that vary over the image,
is still fitted. The fit is then mixed, pixel by pixel, with the image that the denoiser prior gives, by how far the two
are apart:

    ``w = 1 / (1 + d^2 / (trust min(s, cap))^2)``,   ``v = (1 - w) D(x, s) + w (a . c + b)``

with ``d^2`` the mean squared difference nearby and ``s`` the error that the iteration expects. ``s`` falls from
iteration to iteration, so the auxiliary scans have to agree ever more closely to count. ``cap`` is what keeps new
lesions: the first iterations expect errors of any size, and without it would replace a lesion by the fit before the
measurement can restore it.

A denoiser prior may have an auxiliary-input denoiser (`medinr.priors.auxiliary_training`). Its input holds the fits of
the image, and its output replaces the mixture, down to errors of `AUXILIARY_INPUT_ABOVE`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.priors.denoiser_prior import DenoiserPrior, ImagePrior, smooth_phasor
from medinr.priors.guided_filter import RADIUS, RIDGE, AuxiliaryChannels, LocalRegression, regression_with_slopes
from medinr.priors.windows import window_mean

#: Iterations that expect an error above this, in brightness of 0 to 1, use the auxiliary-input denoiser. Used until the
#: end it leaves aliasing of the finest detail.
AUXILIARY_INPUT_ABOVE = 0.01


@dataclass(frozen=True, eq=False)
class AuxiliaryScanPrior:
    """A prior for one slice: a denoiser, and auxiliary scans of the same anatomy.

    Attributes
    ----------
    prior : ImagePrior
        Used where the auxiliary scans do not agree.
    auxiliary : Tensor, shape (c, y, x)
        Real, on the grid of the slice, of any contrast, scaled to about 0 to 1.
    through_plane : Tensor, shape (c, y, x), optional
        Slope of each auxiliary scan through the plane, per distance of any length.
    radius : int
        Half the window in pixels of the linear fit.
    ridge : float
        Standard deviation of an auxiliary scan in a window below which its structure counts as noise.
    trust : float
        Difference at which denoiser and auxiliary scans weigh alike, in units of the error that an iteration expects.
    cap : float
        Largest error that counts there, in brightness of 0 to 1, however large the error that an iteration expects.
    averaging_radius : int
        Half the window in pixels over which the squared difference is averaged.
    """

    prior: ImagePrior
    auxiliary: Tensor
    through_plane: Tensor | None = None
    radius: int = RADIUS
    ridge: float = RIDGE
    trust: float = 1.0
    cap: float = 0.06
    averaging_radius: int = 2

    def __post_init__(self) -> None:
        if self.auxiliary.ndim != 3 or not len(self.auxiliary) or self.auxiliary.is_complex():
            kind, shape = self.auxiliary.dtype, tuple(self.auxiliary.shape)
            raise ShapeError(f"Auxiliary scans are real images (c, y, x), one or more; got {kind} of shape {shape}.")
        if self.through_plane is not None and self.through_plane.shape != self.auxiliary.shape:
            shape, wanted = tuple(self.through_plane.shape), tuple(self.auxiliary.shape)
            raise ShapeError(f"Every auxiliary scan has one slope through the plane: {wanted}; got {shape}.")
        if min(self.radius, self.averaging_radius) < 1 or min(self.ridge, self.trust, self.cap) <= 0:
            raise ConfigError(
                "Auxiliary scans want radius and averaging_radius of 1 pixel or more, ridge, trust and cap above 0; "
                f"got {self.radius}, {self.averaging_radius}, {self.ridge}, {self.trust}, {self.cap}."
            )

    def in_precision(self, precision: torch.dtype) -> AuxiliaryScanPrior:
        """Return the same with the convolutions of its denoisers in another precision."""
        return replace(self, prior=self.prior.in_precision(precision))

    def for_magnitudes(self) -> AuxiliaryScanPrior | None:
        """Return the same for magnitudes with Rician noise, see `medinr.priors.denoiser_prior.ImagePrior`."""
        prior = self.prior.for_magnitudes()
        return None if prior is None else replace(self, prior=prior)

    @torch.no_grad()
    def denoise(self, image: Tensor, level: float, orientation: int = 0) -> Tensor:
        """Denoise an image ``(y, x)`` with both; parameters as of `medinr.priors.denoiser_prior.DenoiserPrior.denoise`.

        Raises
        ------
        ShapeError
            When the image is not on the grid of the auxiliary scans.
        """
        self._require_grid(image)
        if (
            level > AUXILIARY_INPUT_ABOVE
            and isinstance(self.prior, DenoiserPrior)
            and self.prior.auxiliary_denoiser is not None
        ):
            return self.prior.denoise_with_auxiliary(image, level, orientation, self._channels.of)
        denoised = self.prior.denoise(image, level, orientation)
        difference, phase = self._difference(image, denoised)
        return denoised + self._weight(difference, level) * difference * phase

    @torch.no_grad()
    def agreement(self, image: Tensor, level: float) -> Tensor:
        """Weight ``w`` of the auxiliary scans at every pixel of an image, shape (y, x), 0 to 1."""
        self._require_grid(image)
        return self._weight(self._difference(image, self.prior.denoise(image, level))[0], level)

    def _require_grid(self, image: Tensor) -> None:
        if image.shape != self.auxiliary.shape[1:]:
            raise ShapeError(
                f"The auxiliary scans have {tuple(self.auxiliary.shape[1:])} pixels (y, x), the image "
                f"{tuple(image.shape)}."
            )

    def _difference(self, image: Tensor, denoised: Tensor) -> tuple[Tensor, Tensor]:
        """Difference of the linear fit from the denoised image, real, and the phase by which it is multiplied."""
        if not image.is_complex():
            return self._regression.fit(image) - denoised, torch.ones_like(image)
        phase = smooth_phasor(denoised)
        real_part = (image * phase.conj()).real
        return self._regression.fit(real_part) - (denoised * phase.conj()).real, phase

    def _weight(self, difference: Tensor, level: float) -> Tensor:
        tolerance = self.trust * min(level, self.cap)
        return 1 / (1 + window_mean(difference.square(), self.averaging_radius) / tolerance**2)

    @cached_property
    def _regression(self) -> LocalRegression:
        return regression_with_slopes(self.auxiliary, self.through_plane, self.radius, self.ridge)

    @cached_property
    def _channels(self) -> AuxiliaryChannels:
        return AuxiliaryChannels(self._regression)
