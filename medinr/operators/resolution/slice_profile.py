"""Thick slices: scans of a fine volume with few, thick, perhaps gapped or overlapping slices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from medinr.errors import ConfigError, GeometryError, ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.operators.linear_map import linear_map
from medinr.operators.resolution.along_axis import AlongAxis
from medinr.operators.resolution.blur import TRUNCATION, reflected
from medinr.units import SIGMA_PER_FWHM

#: Ratio by which a slice may extend beyond the volume before it counts as outside: rounding of lengths in mm.
_ROUNDING = 1e-6


class SliceProfile(LinearOperator):
    """Average a thin grid through plane into thick slices.

    ``y[j] = sum_k w[j, k] x[k]`` along z, where ``w[j, k]`` is the integral of the slice profile around centre
    ``j`` over thin slice ``k``, normalised to sum 1: the volume counts as constant within a thin slice. Beyond
    the first and last thin slice the volume is continued by reflection, as for the point spread functions.

    ``(..., z, y, x) -> (..., slices, y, x)``

    Parameters
    ----------
    shape : sequence of int
        ``(z, y, x)`` of the thin grid.
    spacing : float
        Distance of the thin slices in mm.
    thickness : float
        Of the thick slices in mm; the full width at half maximum of a Gaussian profile.
    distance : float, optional
        Between centres of thick slices in mm; the thickness if not given. Larger leaves gaps, smaller makes
        the slices overlap.
    profile : "gaussian", "rect" or (positions, weights)
        A measured profile is given by its weights at increasing positions in mm from the slice centre, linear in
        between and zero beyond; the thickness then only determines how many slices fit.
    slices : int, optional
        Their number; as many as fit into the volume if not given.
    first : float, optional
        Centre of the first thick slice in mm from the centre of the first thin one. If not given, the slices are
        centred in the volume.

    Attributes
    ----------
    centres : tuple of float
        Of the thick slices, in mm from the centre of the first thin one.
    matrix : Tensor, shape (slices, z)

    Raises
    ------
    GeometryError
        If a length is not positive, or a slice centre lies outside the volume.
    ConfigError
        If the profile is unknown, or a measured one is malformed.
    ShapeError
        If the shape is not (z, y, x).
    """

    def __init__(
        self,
        shape: Sequence[int],
        spacing: float,
        thickness: float,
        distance: float | None = None,
        profile: str | tuple[ArrayLike | Tensor, ArrayLike | Tensor] = "gaussian",
        slices: int | None = None,
        first: float | None = None,
    ) -> None:
        shape = tuple(shape)
        if len(shape) != 3:
            raise ShapeError(f"SliceProfile wants a volume shape (z, y, x); got {shape}.")
        distance = thickness if distance is None else distance
        for name, length in (("spacing", spacing), ("thickness", thickness), ("distance", distance)):
            if not (math.isfinite(length) and length > 0):
                raise GeometryError(f"SliceProfile wants a positive {name} in mm; got {length}.")
        extent = shape[0] * spacing
        if slices is None:
            room = extent - thickness if first is None else extent - 0.5 * (spacing + thickness) - first
            slices = max(1, math.floor(room / distance + 1.0 + _ROUNDING))
        if slices < 1:
            raise ShapeError(f"SliceProfile wants at least one slice; got {slices}.")
        if first is None:
            first = 0.5 * ((shape[0] - 1) * spacing - (slices - 1) * distance)
        self.centres = tuple(first + j * distance for j in range(slices))
        low, high = -0.5 * spacing * (1 + _ROUNDING), extent - 0.5 * spacing * (1 - _ROUNDING)
        if not (low <= self.centres[0] and self.centres[-1] <= high):
            raise GeometryError(
                f"{slices} slices {distance:g} mm apart have their centres from {self.centres[0]:g} to "
                f"{self.centres[-1]:g} mm, outside the volume ({low:g} to {high:g} mm). Ask for fewer slices."
            )
        self.spacing, self.thickness, self.distance = spacing, thickness, distance
        self.matrix = self._weights(shape[0], *_profile(profile, thickness))
        self.domain, self.range = Space(shape), Space((slices, *shape[1:]))
        self._product = AlongAxis()

    def _weights(self, size: int, positions: Tensor, weights: Tensor) -> Tensor:
        centres = torch.tensor(self.centres, dtype=torch.float64)
        reach = math.ceil(float(positions.abs().max()) / self.spacing) + 1
        thin = torch.arange(-reach, size + reach)
        edges = (torch.arange(-reach, size + reach + 1, dtype=torch.float64) - 0.5) * self.spacing
        inside = _cumulative(edges - centres[:, None], positions, weights).diff(dim=1)
        folded = torch.zeros(len(centres), size, dtype=torch.float64).index_add(1, reflected(thin, size), inside)
        return folded / folded.sum(dim=1, keepdim=True)

    def affine(self, thin: ArrayLike | Tensor) -> Tensor:
        """Affine of the thick grid, whose slices lie where their centres are in space.

        Parameters
        ----------
        thin : array-like, shape (4, 4)
            Maps the thin index ``(x, y, z, 1)`` to mm.

        Returns
        -------
        Tensor, shape (4, 4), float64
            Maps the thick index ``(x, y, slice, 1)`` to mm.

        Raises
        ------
        GeometryError
            If the affine is not 4 x 4.
        """
        fine = torch.as_tensor(thin, dtype=torch.float64)
        if tuple(fine.shape) != (4, 4):
            raise GeometryError(f"SliceProfile wants a 4 x 4 affine; got shape {tuple(fine.shape)}.")
        step = torch.eye(4, dtype=torch.float64)
        step[2, 2], step[2, 3] = self.distance / self.spacing, self.centres[0] / self.spacing
        return fine @ step

    def _apply(self, x: Tensor) -> Tensor:
        return linear_map(x, self._thicken, self._spread)

    def _adjoint(self, y: Tensor) -> Tensor:
        return linear_map(y, self._spread, self._thicken)

    def _thicken(self, x: Tensor) -> Tensor:
        return self._product(self.matrix, x, -3, transposed=False)

    def _spread(self, y: Tensor) -> Tensor:
        return self._product(self.matrix, y, -3, transposed=True)


#: Straight pieces by which a Gaussian profile is drawn: its integral over a thin slice is right to 1e-4.
_PIECES = 400


def _profile(profile: str | tuple[ArrayLike | Tensor, ArrayLike | Tensor], thickness: float) -> tuple[Tensor, Tensor]:
    """Positions in mm and weights between which the profile is linear."""
    if isinstance(profile, str):
        if profile == "rect":
            half = 0.5 * thickness
            return torch.tensor([-half, half], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
        if profile == "gaussian":
            relative = torch.linspace(-TRUNCATION, TRUNCATION, _PIECES + 1, dtype=torch.float64)
            return relative * thickness * SIGMA_PER_FWHM, torch.exp(-0.5 * relative.square())
        raise ConfigError(f"A slice profile is 'gaussian', 'rect' or (positions, weights); got {profile!r}.")
    positions, weights = (torch.as_tensor(part, dtype=torch.float64) for part in profile)
    if positions.ndim != 1 or positions.shape != weights.shape or len(positions) < 2:
        raise ConfigError(
            "A measured slice profile is two rows of equal length, positions and weights; "
            f"got {tuple(positions.shape)} and {tuple(weights.shape)}."
        )
    finite = bool(positions.isfinite().all() and weights.isfinite().all())
    if not finite or not bool((positions.diff() > 0).all()) or float(torch.trapezoid(weights, positions)) <= 0:
        raise ConfigError("A measured slice profile wants increasing positions in mm and weights of positive area.")
    return positions, weights


def _cumulative(at: Tensor, positions: Tensor, weights: Tensor) -> Tensor:
    """Integral of the piecewise linear profile from its beginning up to each of ``at``."""
    at = at.clamp(positions[0], positions[-1])
    piece = (torch.searchsorted(positions, at.contiguous(), right=True) - 1).clamp(0, len(positions) - 2)
    step = (at - positions[piece]) / positions.diff()[piece]
    value = weights[piece] + step * weights.diff()[piece]
    before = torch.cat([weights.new_zeros(1), torch.cumulative_trapezoid(weights, positions)])
    return before[piece] + 0.5 * (at - positions[piece]) * (weights[piece] + value)
