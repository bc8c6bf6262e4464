"""Noise of magnitude images: one coil (Rician) or the root sum of squares of several (non-central chi)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.operators.noise.bessel import bessel_ratio, log_bessel_series, mean_root
from medinr.operators.noise.model import (
    NoiseModel,
    constant_precision,
    normal_pair,
    require_positive,
    require_real,
    require_same_shape,
)
from medinr.units import noise_floor

#: Halvings of the bracket in `Rician.debias`: enough to exhaust float64.
_BISECTIONS = 60


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
        require_positive("Rician", "sigma", self.sigma)

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw ``|clean + sigma (n1 + i n2)|``."""
        require_real("Rician", clean)
        first, second = normal_pair(clean, generator)
        return torch.hypot(clean + self.sigma * first, self.sigma * second)

    def negative_log_likelihood(self, prediction: Tensor, data: Tensor) -> Tensor:
        """``sum A^2 / (2 sigma^2) - log I0(m A / sigma^2)``, even in the prediction ``A``.

        ``log I0(z) = log(exp(-|z|) I0(z)) + |z|`` does not overflow at high signal-to-noise ratio.
        """
        require_real("Rician", prediction)
        require_same_shape(prediction, data)
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
        require_real("Rician", prediction)
        require_same_shape(prediction, data)
        z = data * prediction / self.sigma**2
        return data * torch.special.i1e(z) / torch.special.i0e(z), constant_precision(self.sigma, data)

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
        require_real("Rician", clean)
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
        require_real("Rician", mean)
        return _invert(self.mean, mean, floor=self.sigma * math.sqrt(math.pi / 2.0))


@dataclass(frozen=True)
class NonCentralChi(NoiseModel):
    """The root sum of squares of several coils with independent white noise (Constantinides et al. 1997, eq. 3).

    ``p(m | A) = A / sigma^2 (m / A)^n exp(-(m^2 + A^2) / (2 sigma^2)) I_{n-1}(m A / sigma^2)``

    ``A`` is the root sum of squares of the coil signals without noise. One coil is `Rician`. Combinations with
    coil maps (SENSE, adaptive) have the noise of a single coil instead.

    Attributes
    ----------
    sigma : float
        Standard deviation of the real and of the imaginary part in each coil.
    coils : int
        ``n``, at least 1. Correlated coils act like fewer (Aja-Fernandez & Tristan-Vega 2012).

    Raises
    ------
    ConfigError
        If sigma is not positive and finite, or coils not a whole number of at least 1.
    """

    sigma: float
    coils: int

    def __post_init__(self) -> None:
        require_positive("NonCentralChi", "sigma", self.sigma)
        if not isinstance(self.coils, int) or self.coils < 1:
            raise ConfigError(f"NonCentralChi wants a whole number of coils, at least 1; got {self.coils}.")

    @property
    def floor(self) -> float:
        """Expected magnitude without signal, ``sigma sqrt(2) Gamma(n + 1/2) / Gamma(n)``."""
        return self.sigma * noise_floor(self.coils)

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw the root sum of squares; how the signal is shared among the coils does not matter."""
        require_real("NonCentralChi", clean)
        squares = torch.zeros_like(clean)
        for coil in range(self.coils):
            real, imaginary = normal_pair(clean, generator)
            signal = clean if coil == 0 else 0.0
            squares = squares + (signal + self.sigma * real).square() + (self.sigma * imaginary).square()
        return squares.sqrt()

    def negative_log_likelihood(self, prediction: Tensor, data: Tensor) -> Tensor:
        """``sum (|A| - m)^2 / (2 sigma^2) - [log 0F1(n; z^2 / 4) - |z|]`` with ``z = m A / sigma^2``.

        ``0F1(n; z^2 / 4) = Gamma(n) (2 / z)^(n-1) I_{n-1}(z)`` absorbs the powers of ``A``: the loss is smooth
        and even in ``A``, also at 0, and nothing overflows or cancels at high signal-to-noise ratio.
        """
        require_real("NonCentralChi", prediction)
        require_same_shape(prediction, data)
        z = data * prediction / self.sigma**2
        # Where the product underflows, both terms are zero.
        apart = torch.where(z == 0, prediction.square() + data.square(), (prediction.abs() - data).square())
        loss: Tensor = apart / (2.0 * self.sigma**2) - log_bessel_series(z, self.coils)
        return loss.sum()

    def surrogate(self, prediction: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Majorise the likelihood, with equality in value and slope at ``prediction``.

        ``target = m I_n(z) / I_{n-1}(z)`` and ``precision = 1 / sigma^2``: ``log 0F1`` is convex, so its
        tangent bounds it, as in `Rician.surrogate`.
        """
        require_real("NonCentralChi", prediction)
        require_same_shape(prediction, data)
        z = data * prediction / self.sigma**2
        return data * bessel_ratio(z, self.coils), constant_precision(self.sigma, data)

    def mean(self, clean: Tensor) -> Tensor:
        """Return the expected magnitude of a signal (Constantinides et al. 1997, eq. 5).

        ``sigma sqrt(2) Gamma(n + 1/2) / Gamma(n) 1F1(-1/2; n; -A^2 / (2 sigma^2))``

        Parameters
        ----------
        clean : Tensor
            Real, any shape, the unit of the data.

        Returns
        -------
        Tensor
            Same shape and unit; never below `floor`.
        """
        require_real("NonCentralChi", clean)
        return self.sigma * mean_root(clean / self.sigma, self.coils)

    def debias(self, mean: Tensor) -> Tensor:
        """Return the signal whose expected magnitude is ``mean``, by bisection.

        Parameters
        ----------
        mean : Tensor
            Real, any shape: averaged or denoised magnitudes.

        Returns
        -------
        Tensor
            Same shape; 0 where ``mean`` lies below `floor`. Not differentiable.
        """
        require_real("NonCentralChi", mean)
        return _invert(self.mean, mean, self.floor)


def _invert(expected: Callable[[Tensor], Tensor], mean: Tensor, floor: float) -> Tensor:
    """Signal with an expected magnitude of ``mean``, which lies between 0 and ``mean``; 0 below the floor."""
    mean = mean.detach()
    low, high = torch.zeros_like(mean), mean.clamp(min=0.0)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        below = expected(middle) < mean
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return torch.where(mean > floor, 0.5 * (low + high), torch.zeros_like(mean))
