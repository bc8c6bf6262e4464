"""How two denoisers share the slices of a scan: one is told all of its noise, the small one knows less, but that well.

Independent Gaussian noise is known to both, and the mean of both is taken: their errors are less alike than those of
one in several orientations (Krogh & Vedelsby, NIPS 1995). Magnitudes get a first estimate from the denoiser for scans.
Where that is above the noise floor, bias and scatter of the magnitudes follow from it (Koay & Basser 2006). With the
bias taken off, their noise is almost Gaussian, and the small denoiser makes a second estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.noise.signal_bias import bias_and_scatter
from medinr.priors.denoiser import LocalDenoiser
from medinr.priors.denoiser_prior import oriented, oriented_back
from medinr.priors.scan_denoiser import SLICES, ScanDenoiser

#: One in so many orientations is used for the first estimate of magnitudes.
_FIRST = 4

#: First estimate over sigma and the root of the number of coils, from which on the second one counts, and counts fully.
_ABOVE_FLOOR = (0.5, 1.0)


@dataclass(frozen=True)
class TwoDenoisers:
    """Denoisers of the slices of one scan.

    Attributes
    ----------
    scan : ScanDenoiser
    small : LocalDenoiser or None
        For independent Gaussian noise; None where it is not to be used.
    coils : int
        Of magnitudes; 0 for Gaussian noise.
    orientations : int
        Rotations and flips of the grid, divided among the denoisers.
    share : float
        Of the small denoiser in magnitudes above the noise floor.
    stronger : float
        Sigma that the small denoiser is told of magnitudes, over their own.
    """

    scan: ScanDenoiser
    small: LocalDenoiser | None
    coils: int
    orientations: int
    share: float = 1.0
    stronger: float = 1.0

    def denoised(self, slices: Tensor, maps: Tensor) -> Tensor:
        """Denoise the middle one of real slices.

        Parameters
        ----------
        slices : Tensor, shape (SLICES, y, x)
        maps : Tensor, shape (NOISE_MAPS, y, x)
            See `medinr.priors.scan_denoiser.NOISE_MAPS`; in the unit of the slices.

        Returns
        -------
        Tensor, shape (y, x)
        """
        every = range(self.orientations)
        if self.small is None:
            return _mean(self.scan.infer, (slices, maps), every)
        middle, sigma = slices[SLICES // 2], maps[0]
        if self.coils == 0:
            half = -(-self.orientations // 2)
            both = [_mean(self.scan.infer, (slices, maps), every[:half])]
            if half < self.orientations:
                both.append(_mean(self.small.infer, (middle, sigma), every[half:]))
            return torch.stack(both).mean(dim=0)
        first = _mean(self.scan.infer, (slices, maps), every[::_FIRST])
        signal = (first / sigma.clamp_min(torch.finfo(sigma.dtype).tiny)).numpy()
        bias, scatter = (torch.from_numpy(part) * sigma for part in bias_and_scatter(signal, self.coils))
        others = [number for number in every if number % _FIRST] or every
        second = _mean(self.small.infer, (middle - bias, self.stronger * scatter), others)
        weight = self.share * torch.from_numpy(above_floor(signal, self.coils, _ABOVE_FLOOR))
        return first + weight * (second - first)


def _mean(infer: Callable[[Tensor, Tensor], Tensor], given: tuple[Tensor, Tensor], numbers: Sequence[int]) -> Tensor:
    """Mean over some orientations of what a denoiser makes of an image, or slices, and its noise."""
    return torch.stack(
        [
            oriented_back(infer(*(oriented(part, number).unsqueeze(0) for part in given))[0], number)
            for number in numbers
        ]
    ).mean(dim=0)


def above_floor(signal: NDArray[np.float32], coils: int, limits: tuple[float, float]) -> NDArray[np.float32]:
    """Weight of magnitudes that rises from 0 to 1 between two limits, level at both.

    Parameters
    ----------
    signal : ndarray
        Over sigma.
    coils : int
    limits : (float, float)
        Signal over sigma and the root of the number of coils.
    """
    low, high = limits
    place = np.clip((signal / math.sqrt(max(coils, 1)) - low) / (high - low), 0, 1)
    return np.asarray(place * place * (3 - 2 * place), np.float32)
