"""One in-plane grid for slices of any matrix, so that a shared trunk is trained on the same coordinates for all."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import GaussianSmooth, MapTransform, SpatialResample

from medinr.errors import ShapeError
from medinr.units import SIGMA_PER_FWHM


class TrainingGridd(MapTransform):  # type: ignore[misc]
    """Resample single slices to one matrix of square pixels around the centre of their field of view.

    Before a coarser grid the slice is smoothed by the Gaussian whose full width at half maximum makes the
    old pixel as wide as the new one, ``fwhm^2 = new^2 - old^2``, against aliasing. Outside the field
    of view is 0.

    Parameters
    ----------
    keys : str or sequence of str
        Images of shape (1, x, y, 1), intensities already scaled (so that 0 is air).
    shape : tuple of int
        Wanted pixels along (y, x).
    spacing_mm : float
        Wanted pixel size.

    Raises
    ------
    ShapeError
        At the call, when an image is not one slice.
    """

    def __init__(self, keys: KeysCollection, shape: tuple[int, int], spacing_mm: float) -> None:
        super().__init__(keys)
        self.size = (shape[1], shape[0], 1)
        self.spacing_mm = spacing_mm

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the item with slices of shape (1, x, y, 1) on the common grid."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = self._resampled(item[key])
        return item

    def _resampled(self, image: MetaTensor) -> MetaTensor:
        if image.ndim != 4 or image.shape[-1] != 1:
            raise ShapeError(f"The training grid takes one slice (1, x, y, 1); got shape {tuple(image.shape)}.")
        affine = image.affine.to(torch.float64)
        old = torch.linalg.norm(affine[:3, :2], dim=0).tolist()
        sigma = [SIGMA_PER_FWHM * math.sqrt(max((self.spacing_mm / mm) ** 2 - 1, 0)) for mm in old]
        if any(sigma):
            image = GaussianSmooth(sigma=[*sigma, 0.0])(image)
        target = affine.clone()
        target[:3, :2] *= self.spacing_mm / torch.tensor(old)
        middle = torch.tensor([(size - 1) / 2 for size in image.shape[1:]] + [1.0], dtype=torch.float64)
        new_middle = torch.tensor([(size - 1) / 2 for size in self.size], dtype=torch.float64)
        target[:3, 3] = (affine @ middle)[:3] - target[:3, :3] @ new_middle
        resample = SpatialResample(mode="bilinear", padding_mode="zeros", align_corners=False, dtype=torch.float64)
        return resample(image, dst_affine=target, spatial_size=self.size).to(torch.float32)
