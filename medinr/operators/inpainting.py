"""Images of which only some pixels were measured."""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.errors import ShapeError
from medinr.operators.base import LinearOperator, Space


class Inpainting(LinearOperator):
    """Keep the measured pixels as a row of samples; the adjoint fills the others with zeros.

    ``(..., y, x) -> (..., samples)``, in the order of rows. Pixels that were not measured have no sample, so
    that no noise model counts them. For data that stay images, use `Weighting` with a mask of zeros and ones:
    it is ``A.H @ A``.

    Parameters
    ----------
    mask : Tensor of bool, shape (y, x) or (z, y, x)
        True where the image was measured.

    Raises
    ------
    ShapeError
        If the mask is not boolean, or keeps nothing.
    """

    def __init__(self, mask: Tensor) -> None:
        if mask.dtype != torch.bool or mask.ndim == 0:
            raise ShapeError(f"Inpainting wants a boolean mask; got {mask.dtype} {tuple(mask.shape)}. Compare with 0.")
        self.pixels = mask.flatten().nonzero().squeeze(1)
        if len(self.pixels) == 0:
            raise ShapeError("Inpainting wants at least one measured pixel; the mask is False everywhere.")
        self.domain, self.range = Space(tuple(mask.shape)), Space((len(self.pixels),))

    def _apply(self, x: Tensor) -> Tensor:
        return x.flatten(-len(self.domain.shape)).index_select(-1, self.pixels)

    def _adjoint(self, y: Tensor) -> Tensor:
        size = self.domain.shape
        flat = y.new_zeros((*y.shape[:-1], torch.Size(size).numel()))
        image: Tensor = flat.index_copy(-1, self.pixels, y).unflatten(-1, size)
        return image
