"""Patches of any kind of image, with contrasts drawn at random: what a denoiser for every scan is trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from medinr.priors.dead_leaves import dead_leaves
from medinr.priors.drawing import draw_number, with_random_orientation

#: Share of the patches that are synthetic shapes.
SHAPES = 0.25

#: Pixels of a patch per pixel of its image: least and most.
COARSEST, FINEST = 0.4, 1.5

#: Pieces of a random curve of contrast, and the brightness that it starts from and ends at.
PIECES, BRIGHTEST = 4, 1.2


@dataclass(frozen=True, eq=False)
class GeneralImages:
    """Images beside the scans of a training.

    Attributes
    ----------
    kinds : sequence of sequences of Tensor, each of shape (y, x)
        About 0 to 1. Every kind is drawn as often as the others, however many images it has.
    share : float
        Of the patches of a training, 0 to 1.
    """

    kinds: Sequence[Sequence[Tensor]] = ()
    share: float = 0.0

    def chosen(self, generator: torch.Generator) -> bool:
        """Whether the next patch is one of these; nothing is drawn where none ever is."""
        return self.share > 0 and float(torch.rand(1, generator=generator)) < self.share

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Draw a patch ``(size, size)``: of an image on a grid drawn at random, or of shapes."""
        if not self.kinds or float(torch.rand(1, generator=generator)) < SHAPES:
            patch = dead_leaves(size, 1, generator)[0]
        else:
            images = self.kinds[draw_number(len(self.kinds), generator)]
            image = images[draw_number(len(images), generator)]
            patch = _on_a_random_grid(image, size, generator)
        return _with_random_curve(with_random_orientation(patch, generator), generator)


#: Of a training on its scans alone.
NO_IMAGES = GeneralImages()


def _on_a_random_grid(image: Tensor, size: int, generator: torch.Generator) -> Tensor:
    factor = COARSEST * (FINEST / COARSEST) ** float(torch.rand(1, generator=generator))
    side = min(math.ceil(size / factor), *image.shape)
    y, x = (draw_number(length - side + 1, generator) for length in image.shape)
    region = image[None, None, y : y + side, x : x + side]
    return functional.interpolate(region, (size, size), mode="bilinear", antialias=True)[0, 0]


def _with_random_curve(patch: Tensor, generator: torch.Generator) -> Tensor:
    """Map brightness by a curve of straight pieces: as it is, rising, or up and down, a third each."""
    kind = draw_number(3, generator)
    ends = BRIGHTEST * torch.rand(PIECES + 1, generator=generator)
    if kind == 0:
        return patch
    ends = ends.sort().values if kind == 1 else ends
    place = patch.clamp(0.0, BRIGHTEST) * (PIECES / BRIGHTEST)
    piece = place.floor().clamp_max(PIECES - 1)
    low = piece.long()
    return torch.lerp(ends[low], ends[low + 1], place - piece)
