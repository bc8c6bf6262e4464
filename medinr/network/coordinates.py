"""From an affine to network coordinates: millimetres, centred, scaled isotropically."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.errors import GeometryError


def plane_spacing(affine: NDArray[np.float64]) -> tuple[float, float]:
    """Pixel spacing (y, x) in mm of the slices of a volume with this affine."""
    lengths = np.linalg.norm(np.asarray(affine)[:3, :2], axis=0)
    return float(lengths[1]), float(lengths[0])


def plane_coordinates(
    shape: Sequence[int],
    spacing: Sequence[float],
    length_scale: float,
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Coordinates of the pixel centres of a slice, centred on its field of view.

    ``r = (index - (n - 1) / 2) * spacing / length_scale`` per axis: one length scale for both axes, so a
    millimetre is the same step along either and anisotropic pixels keep their true shape. The origin is the centre of
    the field of view, because patients lie there and scanners define positions differently.

    Parameters
    ----------
    shape : (int, int)
        Pixels along (y, x).
    spacing : (float, float)
        Pixel spacing (y, x) in mm.
    length_scale : float
        Millimetres per unit of network coordinate; a model's card gives the one that its trunk was trained with.

    Returns
    -------
    Tensor, shape (ny * nx, 2)
        Columns (y, x), rows in image order.

    Raises
    ------
    GeometryError
        When a spacing or the length scale is not positive.

    Examples
    --------
    >>> plane_coordinates((1, 3), (1.0, 2.0), 2.0)
    tensor([[ 0., -1.],
            [ 0.,  0.],
            [ 0.,  1.]])
    """
    if min(*spacing, length_scale) <= 0:
        raise GeometryError(f"Spacings and length scale must be positive; got {tuple(spacing)} and {length_scale} mm.")
    axes = [
        (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * (step / length_scale)
        for n, step in zip(shape, spacing, strict=True)
    ]
    grid = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([axis.reshape(-1) for axis in grid], dim=1).to(dtype)
