"""A denoiser of slices as one of volumes: plane by plane, in a direction that changes from iteration to iteration.

What was learned of slices says something of the planes across them too: edges go on from slice to slice; noise, and the
aliasing of slices that were each sampled in their own way, do not. An iteration costs what it does slice by slice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import ShapeError
from medinr.priors.denoiser_prior import DenoiserPrior, ImagePrior, smooth_phasor
from medinr.workers import Workers


class PlaneByPlane:
    """Denoises volumes ``(z, y, x)``.

    Parameters
    ----------
    across : DenoiserPrior
        For the planes across the slices.
    slices : sequence of ImagePrior, optional
        For each slice; by default ``across`` for all of them.
    workers : Workers, optional
    """

    def __init__(
        self, across: DenoiserPrior, slices: Sequence[ImagePrior] | None = None, workers: Workers | None = None
    ) -> None:
        self._across, self._slices = across, slices
        self._workers = Workers() if workers is None else workers

    def __call__(self, volume: Tensor, level: float, iteration: int) -> Tensor:
        """Denoise slices in every other iteration, in between the planes across them, along x and y alternately."""
        axis = 0 if iteration % 2 == 0 else 1 + iteration // 2 % 2
        return self.along(volume, level, axis, iteration // 2)

    def along(self, volume: Tensor, level: float, axis: int, orientation: int) -> Tensor:
        """Denoise the planes across an axis.

        Parameters
        ----------
        volume : Tensor, shape (z, y, x)
            Of complex volumes each slice's smooth phase is taken off before planes across slices are denoised.
        level : float
            See `medinr.priors.denoiser_prior.DenoiserPrior.denoise`.
        axis : {0, 1, 2}
        orientation : int
            See there.

        Returns
        -------
        Tensor, shape (z, y, x)

        Raises
        ------
        ShapeError
            When there are not as many slices as denoisers for them.
        """
        if axis == 0:
            slices = [self._across] * len(volume) if self._slices is None else self._slices
            if len(slices) != len(volume):
                raise ShapeError(f"There are denoisers for {len(slices)} slices; the volume has {len(volume)}.")
            pairs = list(zip(slices, volume, strict=True))
            return torch.stack(self._workers.map(lambda pair: pair[0].denoise(pair[1], level, orientation), pairs))
        phasors = torch.stack([smooth_phasor(image) for image in volume]) if volume.is_complex() else None
        upright = volume if phasors is None else volume * phasors.conj()
        planes = upright.movedim(axis, 0).contiguous()
        shares = list(planes.split(max(1, -(-len(planes) // (4 * self._workers.count)))))
        clean = torch.cat(self._workers.map(lambda share: self._denoise(share, level, orientation), shares))
        back = clean.movedim(0, axis)
        return back if phasors is None else back * phasors

    def _denoise(self, planes: Tensor, level: float, orientation: int) -> Tensor:
        """Denoise planes ``(n, z, along)``; complex ones have no smooth phase left."""
        if not planes.is_complex():
            return self._across.denoise_all(planes, level, orientation)
        real, imaginary = (self._across.denoise_all(part, level, orientation) for part in (planes.real, planes.imag))
        return torch.complex(real, imaginary)
