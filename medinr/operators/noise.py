"""Noise models: how a measurement scatters around what the operator predicts.

Each model draws samples, scores a prediction, and gives the quadratic that stands in for its likelihood, so
that every solver which can do least squares can also do Rician magnitudes and low-dose projections.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError

#: Counts below this are raised to it before the logarithm, so that a ray without a photon keeps a finite line
#: integral, ``log(photons / 0.5)``.
COUNT_FLOOR = 0.5

#: Halvings of the bracket in `Rician.debias`: enough to exhaust float64.
_BISECTIONS = 60


class NoiseModel(ABC):
    """The distribution of the data given the noise-free prediction."""

    @abstractmethod
    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one noisy measurement.

        Parameters
        ----------
        clean : Tensor
            The noise-free measurement, any shape.
        generator : torch.Generator, optional
            On the device of ``clean``; without one, torch's global state is used.

        Returns
        -------
        Tensor
            Same shape and dtype as ``clean``.
        """

    @abstractmethod
    def negative_log_likelihood(self, prediction: Tensor, data: Tensor) -> Tensor:
        """Score a prediction, up to a constant that does not depend on it.

        Parameters
        ----------
        prediction, data : Tensor
            Of one shape.

        Returns
        -------
        Tensor
            The sum over all samples, a scalar.
        """

    @abstractmethod
    def surrogate(self, prediction: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Return the quadratic that stands in for the likelihood near ``prediction``.

        ``Q(x) = 1/2 sum(precision |x - target|^2)``.

        Parameters
        ----------
        prediction, data : Tensor
            Of one shape.

        Returns
        -------
        target : Tensor
            Same shape and dtype as ``data``.
        precision : Tensor
            Real, the shape of ``data``; may be an expanded view, so do not write to it.
        """


@dataclass(frozen=True)
class Gaussian(NoiseModel):
    """White Gaussian noise.

    Attributes
    ----------
    sigma : float
        Standard deviation in the unit of the data; for complex data that of the real and of the imaginary
        part.
    """

    sigma: float

    def __post_init__(self) -> None:
        _require_positive("Gaussian", "sigma", self.sigma)

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Add noise: ``clean + sigma n``."""
        if clean.is_complex():
            return clean + self.sigma * torch.complex(*_normal_pair(clean.real, generator))
        return clean + self.sigma * _normal(clean, generator)

    def negative_log_likelihood(self, prediction: Tensor, data: Tensor) -> Tensor:
        """``sum |prediction - data|^2 / (2 sigma^2)``."""
        _require_same_shape(prediction, data)
        return (prediction - data).abs().square().sum() / (2.0 * self.sigma**2)

    def surrogate(self, prediction: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Return the likelihood itself: ``target = data``, ``precision = 1 / sigma^2``."""
        _require_same_shape(prediction, data)
        return data, _constant_precision(self.sigma, data)


@dataclass(frozen=True)
class Rician(NoiseModel):
    """The magnitude of a complex signal with white Gaussian noise (Gudbjartsson & Patz 1995, eq. 1).

    ``p(m | A) = m / sigma^2 exp(-(m^2 + A^2) / (2 sigma^2)) I0(m A / sigma^2)``

    Attributes
    ----------
    sigma : float
        Standard deviation of the real and of the imaginary part before the magnitude was taken.
    """

    sigma: float

    def __post_init__(self) -> None:
        _require_positive("Rician", "sigma", self.sigma)

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``|clean + sigma (n1 + i n2)|``."""
        _require_real("Rician", clean)
        first, second = _normal_pair(clean, generator)
        return torch.hypot(clean + self.sigma * first, self.sigma * second)

    def negative_log_likelihood(self, prediction: Tensor, data: Tensor) -> Tensor:
        """``sum A^2 / (2 sigma^2) - log I0(m A / sigma^2)``, even in the prediction ``A``.

        ``log I0(z) = log(exp(-|z|) I0(z)) + |z|`` does not overflow at high signal-to-noise ratio.
        """
        _require_real("Rician", prediction)
        _require_same_shape(prediction, data)
        z = data * prediction / self.sigma**2
        log_bessel = torch.special.i0e(z).log() + z.abs()
        loss: Tensor = prediction.square() / (2.0 * self.sigma**2) - log_bessel
        return loss.sum()

    def surrogate(self, prediction: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Majorise the likelihood, with equality in value and slope at ``prediction``.

        ``target = m I1(z) / I0(z)`` with ``z = m A / sigma^2``, and ``precision = 1 / sigma^2``: the
        expectation-maximisation step whose hidden variable is the phase (Solo & Noh, ISBI 2007). ``log I0``
        is convex, so its tangent bounds it for predictions of either sign.
        """
        _require_real("Rician", prediction)
        _require_same_shape(prediction, data)
        z = data * prediction / self.sigma**2
        return data * torch.special.i1e(z) / torch.special.i0e(z), _constant_precision(self.sigma, data)

    def mean(self, clean: Tensor) -> Tensor:
        """Return the expected magnitude of a signal (Koay & Basser 2006).

        ``sigma sqrt(pi/2) L_{1/2}(-A^2 / (2 sigma^2))`` with the Laguerre function
        ``L_{1/2}(-x) = exp(-x/2) [(1 + x) I0(x/2) + x I1(x/2)]``.

        Parameters
        ----------
        clean : Tensor
            Real, any shape, the unit of the data.

        Returns
        -------
        Tensor
            Same shape and unit; never below the noise floor ``sigma sqrt(pi/2)``.
        """
        _require_real("Rician", clean)
        half = clean.square() / (4.0 * self.sigma**2)
        laguerre: Tensor = (1.0 + 2.0 * half) * torch.special.i0e(half) + 2.0 * half * torch.special.i1e(half)
        return self.sigma * math.sqrt(math.pi / 2.0) * laguerre

    def debias(self, mean: Tensor) -> Tensor:
        """Return the signal whose expected magnitude is ``mean`` (Koay & Basser 2006), by bisection.

        Parameters
        ----------
        mean : Tensor
            Real, any shape: averaged or denoised magnitudes.

        Returns
        -------
        Tensor
            Same shape; 0 where ``mean`` lies below the noise floor ``sigma sqrt(pi/2)``. Not differentiable.
        """
        _require_real("Rician", mean)
        mean = mean.detach()
        low, high = torch.zeros_like(mean), mean.clamp(min=0.0)
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            below = self.mean(middle) < mean
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        floor = self.sigma * math.sqrt(math.pi / 2.0)
        return torch.where(mean > floor, 0.5 * (low + high), torch.zeros_like(mean))


@dataclass(frozen=True)
class TransmissionPoisson(NoiseModel):
    """Photon counting in transmission; the data are line integrals (Sauer & Bouman 1993).

    ``counts ~ Poisson(photons exp(-p))`` and ``data = -log(counts / photons)``, dimensionless.

    Attributes
    ----------
    photons : float
        Expected photons per detector element and view without an object.
    """

    photons: float

    def __post_init__(self) -> None:
        _require_positive("TransmissionPoisson", "photons", self.photons)

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw counts and take the logarithm, counts below `COUNT_FLOOR` raised to it."""
        _require_real("TransmissionPoisson", clean)
        counts = torch.poisson(self.photons * torch.exp(-clean), generator=generator)
        return math.log(self.photons) - counts.clamp(min=COUNT_FLOOR).log()

    def negative_log_likelihood(self, prediction: Tensor, data: Tensor) -> Tensor:
        """``sum photons exp(-prediction) + counts prediction`` with ``counts = photons exp(-data)``."""
        _require_real("TransmissionPoisson", prediction)
        _require_same_shape(prediction, data)
        return (self.photons * (torch.exp(-prediction) + torch.exp(-data) * prediction)).sum()

    def surrogate(self, prediction: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Second-order expansion at the data: ``target = data``, ``precision = photons exp(-data)``.

        An approximation, not a bound: good from some tens of photons per ray on.
        """
        _require_same_shape(prediction, data)
        return data, self.photons * torch.exp(-data)


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def _normal_pair(like: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    return _normal(like, generator), _normal(like, generator)


def _constant_precision(sigma: float, data: Tensor) -> Tensor:
    return torch.tensor(sigma**-2, dtype=data.real.dtype, device=data.device).expand(data.shape)


def _require_positive(model: str, parameter: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise ConfigError(f"{model} wants a positive, finite {parameter}; got {value}.")


def _require_real(model: str, value: Tensor) -> None:
    if not value.is_floating_point():
        raise ShapeError(f"{model} noise wants real floating-point values; got {value.dtype}. Take the magnitude.")


def _require_same_shape(prediction: Tensor, data: Tensor) -> None:
    if prediction.shape != data.shape:
        raise ShapeError(f"Prediction and data want one shape; got {tuple(prediction.shape)} and {tuple(data.shape)}.")
