"""Settings of the super-resolution of scans as they were acquired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from medinr.errors import ConfigError
from medinr.precision import has_fast_bfloat16
from medinr.priors.denoiser_prior import DenoiserPrior
from medinr.solve.half_quadratic import falling_levels

#: Noise over the 99th percentile of a scan between which the weight of the denoised image grows.
MODERATE, NOISY = 0.03, 0.05


@dataclass(frozen=True)
class SharpenSettings:
    """How a scan is sharpened; measured in decision 0018.

    Attributes
    ----------
    iterations : int
        Of half-quadratic splitting; each evaluates the denoiser once on every plane of one direction.
    sigma_start : float
        Noise level of the first iteration, for images scaled to about 0 to 1.
    sigma_end_factor : float
        Noise level of the last iteration, in units of the scan's noise.
    regularisation_weight, noisy_weight : float
        Weight of the denoised image, for scans with noise of up to `MODERATE` of the 99th percentile and of `NOISY` and
        more; linear in between. Estimates below `MODERATE` are partly fine structure, which the first weight keeps.
    least_tolerance : float
        Least noise that is assumed, as a share of the scan's 99th percentile: header, slice profile and interpolation
        within a voxel are not known better.
    profile : {"gaussian", "rect"}
        Of slices and of pixels.
    profile_width : float
        Its full width at half maximum, as a share of thickness or pixel. A Gaussian of 0.85 has a spread between those
        of a Gaussian and of a rectangle of full width: assumed too wide a profile sharpens too much and costs more
        than one assumed too narrow.
    precision : {"auto", "float32"}
        Of the denoiser's convolutions. ``"auto"``: bfloat16 where the processor is fast at it.
    """

    iterations: int = 36
    sigma_start: float = 0.2
    sigma_end_factor: float = 1.6
    regularisation_weight: float = 0.2
    noisy_weight: float = 1.0
    least_tolerance: float = 0.005
    profile: str = "gaussian"
    profile_width: float = 0.85
    precision: str = "auto"

    def __post_init__(self) -> None:
        weights = ("regularisation_weight", "noisy_weight")
        names = ("sigma_start", "sigma_end_factor", *weights, "least_tolerance", "profile_width")
        wrong = [f"{name} {getattr(self, name)}" for name in names if not getattr(self, name) > 0]
        if self.iterations < 1 or wrong:
            raise ConfigError(
                f"Sharpening wants iterations of 1 or more and {', '.join(names)} above 0; got iterations "
                f"{self.iterations}{''.join(', ' + text for text in wrong)}."
            )
        if self.profile not in ("gaussian", "rect") or self.precision not in ("auto", "float32"):
            raise ConfigError(
                "Sharpening wants the profile gaussian or rect and the precision auto or float32; got "
                f"{self.profile!r}, {self.precision!r}."
            )

    def weight(self, sigma: float) -> float:
        """Weight of the denoised image, for noise in solver units."""
        return float(np.interp(sigma, (MODERATE, NOISY), (self.regularisation_weight, self.noisy_weight)))

    def with_precision(self, prior: DenoiserPrior) -> DenoiserPrior:
        """Return a denoiser with its convolutions in the precision that is asked for."""
        fast = self.precision == "auto" and has_fast_bfloat16(torch.device("cpu"))
        return prior.in_precision(torch.bfloat16) if fast else prior

    def levels(self, sigma: float) -> list[float]:
        """Noise level of each iteration, from that of the scan; both in solver units."""
        end = min(self.sigma_end_factor * sigma, self.sigma_start)
        return falling_levels(self.sigma_start, end, self.iterations)
