"""Photographs that ship with scikit-image, for denoisers that are to know more than one kind of image."""

from __future__ import annotations

import numpy as np
import skimage.data
import torch
from torch import Tensor

#: Names in `skimage.data`, each under CC0 or in the public domain. Others that ship with it (camera, astronaut,
#: chelsea, coins) are left out, so that they can tell what a denoiser has learned.
PHOTOGRAPHS = (
    "brick",
    "cell",
    "coffee",
    "grass",
    "gravel",
    "horse",
    "hubble_deep_field",
    "microaneurysms",
    "retina",
    "rocket",
)

#: Under which they may be used.
LICENCE = "CC0 or public domain (photographs that ship with scikit-image)"


def photographs() -> tuple[Tensor, ...]:
    """Read them; every colour is an image of its own.

    Returns
    -------
    tuple of Tensor, each of shape (y, x), float32
        0 to 1.
    """
    found = []
    for name in PHOTOGRAPHS:
        pixels = np.asarray(getattr(skimage.data, name)())
        top = 1.0 if pixels.dtype == np.bool_ else float(pixels.max())
        planes = np.moveaxis(np.atleast_3d(pixels), 2, 0)
        found += [torch.from_numpy(np.ascontiguousarray(plane / top, np.float32)) for plane in planes]
    return tuple(found)
