"""Noise that is correlated between receive coils, and the whitening that removes the correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.operators.noise.model import NoiseModel, normal_pair, require_same_shape

#: Largest relative asymmetry of a covariance due to rounding in single precision.
_HERMITIAN = 1e-5


@dataclass(frozen=True, eq=False)
class CorrelatedGaussian(NoiseModel):
    """Complex Gaussian noise that is correlated between coils and white along k-space (Roemer et al. 1990).

    ``p(n) ~ exp(-n^H covariance^-1 n / 2)`` for the coil vector ``n`` of each sample.

    Solve with `Prewhitening` where you can: ``Prewhitening(c, shape) @ A`` with `Gaussian` of sigma 1 is the
    same likelihood, and its least squares need no surrogate.

    Attributes
    ----------
    covariance : Tensor, shape (coil, coil)
        ``E[n n^H] / 2``, so that ``sigma^2`` times the identity is `Gaussian` with that sigma; Hermitian and
        positive definite. `coil_covariance` estimates it.

    Raises
    ------
    ConfigError
        If the covariance is not square, Hermitian and positive definite.
    """

    covariance: Tensor
    _factor: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_factor", _cholesky(self.covariance))

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Add noise to ``clean`` of shape ``(..., coil, ky, kx)``: the Cholesky factor times white noise."""
        self._check(clean)
        white = torch.complex(*normal_pair(clean.real, generator))
        return clean + _along_coils(self._factor, white)

    def negative_log_likelihood(self, prediction: Tensor, data: Tensor) -> Tensor:
        """``sum |w (prediction - data)|^2 / 2`` with the whitening matrix ``w``, shapes ``(..., coil, ky, kx)``."""
        self._check(prediction)
        require_same_shape(prediction, data)
        return 0.5 * _along_coils(_inverse(self._factor), prediction - data).abs().square().sum()

    def surrogate(self, prediction: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Majorise the likelihood by its largest curvature, with equality in value and slope at ``prediction``.

        ``precision = p``, the largest eigenvalue of ``covariance^-1``, and ``target = prediction -
        covariance^-1 (prediction - data) / p`` (a Landweber step).
        """
        self._check(prediction)
        require_same_shape(prediction, data)
        whitening = _inverse(self._factor)
        curvature = torch.linalg.matrix_norm(whitening, 2).square()
        step = _along_coils(whitening.mH @ whitening / curvature, prediction - data)
        return prediction - step, curvature.to(data.real).expand(data.shape)

    def _check(self, value: Tensor) -> None:
        coils = len(self.covariance)
        if not value.is_complex() or value.ndim < 3 or value.shape[-3] != coils:
            raise ShapeError(
                f"CorrelatedGaussian of {coils} coils wants complex values (..., {coils}, ky, kx); "
                f"got {value.dtype} {tuple(value.shape)}."
            )


class Prewhitening(LinearOperator):
    """Turn coils with correlated noise into virtual coils with white noise of sigma 1 (Pruessmann et al. 2001).

    ``y = L^-1 x`` along the coil axis with the Cholesky factor ``covariance = L L^H``. Whiten the data and
    compose the model: ``(w @ A)(x) = w(y)``.

    Parameters
    ----------
    covariance : Tensor, shape (coil, coil)
        As in `CorrelatedGaussian`.
    shape : sequence of int
        ``(coil, ky, kx)`` or ``(coil, lines, kx)``.

    Raises
    ------
    ConfigError
        If the covariance is not square, Hermitian and positive definite.
    ShapeError
        If the shape is not that of as many coils.
    """

    def __init__(self, covariance: Tensor, shape: Sequence[int]) -> None:
        self.matrix = _inverse(_cholesky(covariance))
        if len(shape) != 3 or shape[0] != len(covariance):
            raise ShapeError(
                f"Prewhitening of {len(covariance)} coils wants a shape (coil, ky, kx); got {tuple(shape)}."
            )
        self.domain = self.range = Space(tuple(shape), "complex")

    def _apply(self, x: Tensor) -> Tensor:
        return _along_coils(self.matrix, x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return _along_coils(self.matrix.mH, y)


def _along_coils(matrix: Tensor, value: Tensor) -> Tensor:
    mixed: Tensor = (matrix.to(value) @ value.flatten(-2)).unflatten(-1, value.shape[-2:])
    return mixed


def _cholesky(covariance: Tensor) -> Tensor:
    matrix = covariance.detach().to(torch.complex128)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ConfigError(f"A coil covariance is a square matrix; got shape {tuple(covariance.shape)}.")
    if float((matrix - matrix.mH).abs().max()) > _HERMITIAN * float(matrix.abs().max()):
        raise ConfigError("A coil covariance is Hermitian; this one is not its own conjugate transpose.")
    factor, info = torch.linalg.cholesky_ex(matrix)
    if int(info) != 0 or not bool(factor.isfinite().all()):
        raise ConfigError(
            "A coil covariance is positive definite; this one is not. Measure more noise samples than coils, and "
            "leave out coils that are switched off."
        )
    lower: Tensor = factor
    return lower


def _inverse(factor: Tensor) -> Tensor:
    unit = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    inverse: Tensor = torch.linalg.solve_triangular(factor, unit, upper=False)
    return inverse
