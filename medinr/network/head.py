"""The optimal head for a trunk, in closed form, through any linear operator.

With ``x = Phi w`` (features times head) and a quadratic data term the optimal head solves

    ``(Phi^H A^H P A Phi + K + ridge I) w = Phi^H A^H P y``

``P``: precision of the data, ``K``: curvature of a regulariser's majoriser. That is ``p`` applications of the
operator in a few batches, and one ``p x p`` factorisation in float64 (variable projection; Golub & Pereyra 1973).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.solve.problem import Problem

#: Feature images per application of the operator.
BATCH = 64

#: Ridges tried by generalised cross-validation, relative to the mean eigenvalue of the normal matrix.
RIDGES = torch.logspace(-14, -1, 27, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class ProjectedFeatures:
    """Every feature image after the operator: ``A Phi``.

    Attributes
    ----------
    values : Tensor, shape (measurements, p)
    image_is_real : bool
        Whether the head, and so the image, is real.
    """

    values: Tensor
    image_is_real: bool

    def normal_equations(self, target: Tensor, precision: Tensor) -> tuple[Tensor, Tensor, float]:
        """Matrix ``(A Phi)^H P A Phi`` (p, p), right side (p, 1) and ``y^H P y``, in float64 or complex128.

        Parameters
        ----------
        target : Tensor
            Data ``y``, as many as there are measurements.
        precision : Tensor
            ``P`` of each measurement; 0 leaves it out.
        """
        weight = precision.reshape(-1, 1)
        y = target.reshape(-1, 1)
        p = self.values.shape[1]
        wide = torch.complex128 if self.values.is_complex() else torch.float64
        matrix = torch.zeros(p, p, dtype=wide)
        right = torch.zeros(p, 1, dtype=wide)
        energy = 0.0
        for rows, w, b in zip(self.values.split(8192), weight.split(8192), y.split(8192), strict=True):
            exact = rows.to(wide)
            weighted = exact.mH * w.T.to(torch.float64)
            matrix += weighted @ exact
            right += weighted @ b.to(wide)
            energy += float((w * b.abs().square()).sum())
        if self.image_is_real and wide.is_complex:
            # For a real head only the real part of both sides counts.
            return matrix.real, right.real, energy
        return matrix, right, energy


@torch.no_grad()
def project_features(problem: Problem, features: Tensor) -> ProjectedFeatures:
    """Apply the operator to features ``(y * x, p)``, as images in solver units."""
    parts = []
    for columns in features.split(BATCH, dim=1):
        maps = columns.T.reshape(-1, *problem.shape)
        if problem.complex_image:
            maps = torch.complex(maps, torch.zeros_like(maps))
        parts.append(problem.predict(maps).reshape(len(maps), -1))
    return ProjectedFeatures(torch.cat(parts).T.contiguous(), not problem.complex_image)


def generalised_cross_validation(matrix: Tensor, right: Tensor, energy: float, curvature: Tensor, count: int) -> float:
    """Ridge that minimises GCV (Golub, Heath & Wahba 1979): ``count * |residual|^2 / (count - trace S)^2``.

    Parameters
    ----------
    matrix, right, energy
        Normal equations of the data term, see `ProjectedFeatures.normal_equations`.
    curvature : Tensor, shape (p, p)
        Regulariser, zero when there is none.
    count : int
        Number of measurements with a weight above 0.

    Returns
    -------
    float
        Absolute, to be added to the diagonal of ``matrix + curvature``.
    """
    full = matrix + curvature
    values, vectors = torch.linalg.eigh(full)
    values = values.clamp_min(0.0)
    projected = vectors.mH @ right
    inner = vectors.mH @ matrix @ vectors
    influence = inner.diagonal().real
    mean = float(values.mean())
    best, best_score = float(RIDGES[0]) * mean, float("inf")
    for relative in RIDGES:
        ridge = float(relative) * mean
        w = projected / (values + ridge).unsqueeze(1)
        residual = energy - 2 * float((w.mH @ projected).real) + float((w.mH @ inner @ w).real)
        freedom = count - float((influence / (values + ridge)).sum())
        if freedom <= 0.01 * count:
            continue
        score = count * max(residual, 1e-12 * energy) / freedom**2
        if score < best_score:
            best, best_score = ridge, score
    return best


def solve_head(matrix: Tensor, right: Tensor, ridge: float) -> Tensor:
    """Solve the regularised normal equations by Cholesky, adding ridge until they are positive definite.

    Returns
    -------
    Tensor, shape (p, 1)
    """
    identity = torch.eye(len(matrix), dtype=matrix.dtype)
    for _ in range(20):
        factor, info = torch.linalg.cholesky_ex(matrix + ridge * identity)
        if int(info) == 0:
            return torch.cholesky_solve(right, factor)
        ridge = max(10 * ridge, 1e-14 * float(matrix.diagonal().real.mean()))
    solution: Tensor = torch.linalg.lstsq(matrix, right).solution
    return solution
