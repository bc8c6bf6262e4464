"""Data consistency of a scan with white noise, solved exactly.

    ``x = v + W^T (W W^T + e)^-1 (y - W v)``,   ``e = w t^2 / s^2``

is the minimiser of ``|W x - y|^2 / (2 t^2) + w |x - v|^2 / (2 s^2)``. The operator is separable, so ``W W^T`` has the
products of the eigenvalues of each axis's matrix as eigenvalues, and no conjugate gradients are needed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medinr.banded import multiply_along
from medinr.operators.resolution.scan_sampling import ScanSampling

#: Bisections of the weight by which the last step is made to agree with the scan: to 1 in 10^9.
_BISECTIONS = 40


class ExactConsistency:
    """Data-consistency steps of `ScanSampling` with noise of one strength.

    Parameters
    ----------
    operator : ScanSampling
    scan : Tensor, shape of ``operator.range``
        Real, in solver units.
    sigma : float
        Its noise ``t``, in solver units; above 0.
    regularisation_weight : float
        Weight ``w`` of the denoised image.
    """

    def __init__(self, operator: ScanSampling, scan: Tensor, sigma: float, regularisation_weight: float) -> None:
        self._sigma, self._weight = sigma, regularisation_weight
        self._shape = operator.domain.shape
        self._axes: list[tuple[int, Tensor]] = []
        self._eigenvalues = torch.ones(1, 1, 1, dtype=torch.float64)
        coefficients = scan
        for axis, (matrix, measured) in enumerate(zip(operator.matrices, operator.measured, strict=True), -3):
            if not measured:
                continue
            values, vectors = torch.linalg.eigh(matrix @ matrix.T)
            self._axes.append((axis, (vectors.T @ matrix).to(scan)))
            view = [1, 1, 1]
            view[axis] = len(values)
            self._eigenvalues = self._eigenvalues * values.clamp_min(0).reshape(view)
            coefficients = multiply_along(vectors.T.to(scan), coefficients, axis)
        # The axis that loses most voxels first: what follows has less to do.
        self._axes.sort(key=lambda pair: pair[1].shape[0] / pair[1].shape[1])
        self._coefficients, self._eigenvalues = coefficients, self._eigenvalues.to(scan)

    def start(self) -> Tensor:
        """Volume of zeros."""
        return self._coefficients.new_zeros(self._shape)

    def at(self, image: Tensor) -> None:
        """Nothing: the noise is Gaussian."""

    def solve(self, denoised: Tensor, level: float) -> Tensor:
        """Do one step.

        Parameters
        ----------
        denoised : Tensor, shape (z, y, x)
            ``v``, in solver units.
        level : float
            Noise level ``s`` of the iteration.

        Returns
        -------
        Tensor, shape (z, y, x)
        """
        return self._solved(denoised, self._misfit(denoised), self._weight * (self._sigma / level) ** 2)

    def agree(self, image: Tensor) -> Tensor:
        """Change an image as little as makes it agree with the scan to within its noise (discrepancy principle).

        The ``e`` is found for which the root mean square of ``y - W x`` is the noise; an image for which it is no
        more than that already is returned as it is.

        Parameters
        ----------
        image : Tensor, shape (z, y, x)

        Returns
        -------
        Tensor, shape (z, y, x)
        """
        misfit = self._misfit(image)
        if root_mean_square(misfit) <= self._sigma:
            return image
        low, high = 1e-9, 1e9
        for _ in range(_BISECTIONS):
            middle = math.sqrt(low * high)
            left = root_mean_square(misfit * (middle / (self._eigenvalues + middle)))
            low, high = (low, middle) if left > self._sigma else (middle, high)
        return self._solved(image, misfit, low)

    def _misfit(self, image: Tensor) -> Tensor:
        """``y - W v`` in the basis of the eigenvectors, which is orthonormal."""
        for axis, matrix in self._axes:
            image = multiply_along(matrix, image, axis)
        return self._coefficients - image

    def _solved(self, image: Tensor, misfit: Tensor, weight: float) -> Tensor:
        change = misfit / (self._eigenvalues + weight)
        for axis, matrix in reversed(self._axes):
            change = multiply_along(matrix.T, change, axis)
        return change.add_(image)


def root_mean_square(values: Tensor) -> float:
    """Root of the mean square; of complex values, of their real and imaginary parts together."""
    parts = torch.view_as_real(values.resolve_conj()) if values.is_complex() else values
    return float(parts.double().square().mean().sqrt())
