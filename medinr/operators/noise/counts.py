"""Noise of counted photons: X-rays that pass through an object, and photons that it emits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.errors import ConfigError, IntensityError
from medinr.operators.noise.model import NoiseModel, require_positive, require_real, require_same_shape

#: Counts below this are raised to it before the logarithm, so that a ray without a photon keeps a finite line
#: integral, ``log(photons / 0.5)``.
COUNT_FLOOR = 0.5

#: Expected counts below this make the likelihood of `Poisson` go on as a parabola, so that it stays finite.
RATE_FLOOR = 0.01


@dataclass(frozen=True)
class TransmissionPoisson(NoiseModel):
    """Photon counting in transmission; the data are line integrals (Sauer & Bouman 1993).

    ``counts ~ Poisson(photons exp(-p)) + Normal(0, electronic^2)`` and ``data = -log(counts / photons)``,
    dimensionless.

    With electronic noise the likelihood is that of the shifted Poisson model, which agrees in mean and variance:
    ``counts + electronic^2 ~ Poisson(photons exp(-p) + electronic^2)`` (Snyder et al. 1995; Yavuz & Fessler 1998,
    eq. 6).

    Attributes
    ----------
    photons : float
        Expected photons per detector element and view without an object.
    electronic : float
        Standard deviation of the read-out noise in photon equivalents; 0 for an ideal counter.

    Raises
    ------
    ConfigError
        If the photons are not positive and finite, or the electronic noise negative or not finite.
    """

    photons: float
    electronic: float = 0.0

    def __post_init__(self) -> None:
        require_positive("TransmissionPoisson", "photons", self.photons)
        if not (math.isfinite(self.electronic) and self.electronic >= 0.0):
            raise ConfigError(
                "TransmissionPoisson wants electronic noise of at least 0, in photon equivalents; "
                f"got {self.electronic}."
            )

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw counts and take the logarithm, counts below `COUNT_FLOOR` raised to it."""
        require_real("TransmissionPoisson", clean)
        counts = torch.poisson(self.photons * torch.exp(-clean), generator=generator)
        if self.electronic > 0.0:
            drawn = torch.randn(clean.shape, generator=generator, dtype=clean.dtype, device=clean.device)
            counts = counts + self.electronic * drawn
        return math.log(self.photons) - counts.clamp(min=COUNT_FLOOR).log()

    def negative_log_likelihood(self, prediction: Tensor, data: Tensor) -> Tensor:
        """``sum expected + counts prediction`` with ``expected = photons exp(-prediction)``.

        With electronic noise ``sum expected - (counts + electronic^2) log(expected + electronic^2)``.
        ``counts = photons exp(-data)``; infinite data, the logarithm of zero counts, are allowed.
        """
        require_real("TransmissionPoisson", prediction)
        require_same_shape(prediction, data)
        if self.electronic == 0.0:
            return (self.photons * (torch.exp(-prediction) + torch.exp(-data) * prediction)).sum()
        variance = self.electronic**2
        expected = self.photons * torch.exp(-prediction)
        loss: Tensor = expected - (self.photons * torch.exp(-data) + variance) * torch.log(expected + variance)
        return loss.sum()

    def surrogate(self, prediction: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Second-order expansion at the data: ``precision = counts^2 / (counts + electronic^2)``, ``target = data``.

        An approximation, not a bound: good from some tens of photons per ray on. Rays without a single count
        (infinite data) get precision 0.
        """
        require_same_shape(prediction, data)
        counts = self.photons * torch.exp(-data)
        target = torch.where(data.isinf(), prediction, data)
        if self.electronic == 0.0:
            return target, counts
        return target, counts.square() / (counts + self.electronic**2)


@dataclass(frozen=True)
class Poisson(NoiseModel):
    """Photon counting in emission: PET, SPECT, fluorescence (Shepp & Vardi 1982).

    ``data = gain counts`` with ``counts ~ Poisson(clean / gain)``: mean ``clean``, variance ``gain clean``.

    Attributes
    ----------
    gain : float
        Unit of the data per count.

    Raises
    ------
    ConfigError
        If the gain is not positive and finite.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        require_positive("Poisson", "gain", self.gain)

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw counts, times the gain (raises `IntensityError` for a negative mean)."""
        require_real("Poisson", clean)
        if bool((clean < 0).any()):
            raise IntensityError(f"Poisson noise wants means of at least 0; got {float(clean.min()):g}. Clip them.")
        return self.gain * torch.poisson(clean / self.gain, generator=generator)

    def negative_log_likelihood(self, prediction: Tensor, data: Tensor) -> Tensor:
        """``sum rate - counts log(rate)`` with ``rate = prediction / gain``.

        Below `RATE_FLOOR`, down to negative predictions, the second-order expansion at the floor stands in: the
        loss stays finite, convex and differentiable, and drives the prediction up where there are counts.
        """
        require_real("Poisson", prediction)
        require_same_shape(prediction, data)
        rate, counts = prediction / self.gain, data / self.gain
        safe = rate.clamp(min=RATE_FLOOR)
        below = (rate - safe) / RATE_FLOOR
        loss: Tensor = rate - counts * (safe.log() + below - 0.5 * below.square())
        return loss.sum()

    def surrogate(self, prediction: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Fisher scoring: ``target = data``, ``precision = 1 / (gain prediction)``.

        The variance of the data if the prediction were right; predictions below half a count are raised to
        it (`COUNT_FLOOR`). An approximation with the slope of the likelihood, not a bound.
        """
        require_real("Poisson", prediction)
        require_same_shape(prediction, data)
        return data, 1.0 / (self.gain * prediction.detach().clamp(min=COUNT_FLOOR * self.gain))
