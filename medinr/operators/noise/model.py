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

    def debias(self, mean: Tensor) -> Tensor:
        """Return the signal whose expected measurement is ``mean``: that itself, unless the noise has a bias.

        Parameters
        ----------
        mean : Tensor
            Any shape: averaged or denoised measurements.

        Returns
        -------
        Tensor
            Same shape.
        """
        return mean


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
        require_positive("Gaussian", "sigma", self.sigma)

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Add noise: ``clean + sigma n``."""
        if clean.is_complex():
            return clean + self.sigma * torch.complex(*normal_pair(clean.real, generator))
        return clean + self.sigma * _normal(clean, generator)

    def negative_log_likelihood(self, prediction: Tensor, data: Tensor) -> Tensor:
        """``sum |prediction - data|^2 / (2 sigma^2)``."""
        require_same_shape(prediction, data)
        return (prediction - data).abs().square().sum() / (2.0 * self.sigma**2)

    def surrogate(self, prediction: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Return the likelihood itself: ``target = data``, ``precision = 1 / sigma^2``."""
        require_same_shape(prediction, data)
        return data, constant_precision(self.sigma, data)


def normal_pair(like: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Draw the real and the imaginary part of white noise, each of standard deviation 1."""
    return _normal(like, generator), _normal(like, generator)


def constant_precision(sigma: float, data: Tensor) -> Tensor:
    """``1 / sigma^2`` in the shape of the data, without the memory."""
    return torch.tensor(sigma**-2, dtype=data.real.dtype, device=data.device).expand(data.shape)


def require_positive(model: str, parameter: str, value: float) -> None:
    """Refuse a parameter that is not positive and finite (raises `ConfigError`)."""
    if not (math.isfinite(value) and value > 0.0):
        raise ConfigError(f"{model} wants a positive, finite {parameter}; got {value}.")


def require_real(model: str, value: Tensor) -> None:
    """Refuse complex and whole-number values (raises `ShapeError`)."""
    if not value.is_floating_point():
        raise ShapeError(f"{model} noise wants real floating-point values; got {value.dtype}. Take the magnitude.")


def require_same_shape(prediction: Tensor, data: Tensor) -> None:
    """Refuse a prediction that is not of the shape of the data (raises `ShapeError`)."""
    if prediction.shape != data.shape:
        raise ShapeError(f"Prediction and data want one shape; got {tuple(prediction.shape)} and {tuple(data.shape)}.")


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
