"""What there is before any prior: the noisy input, interpolation, zero-filling, backprojection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medinr.errors import ConfigError, GeometryError
from medinr.operators import LinearOperator, Projector, fbp


def naive(
    task: str,
    data: Tensor,
    operator: LinearOperator,
    *,
    factor: Sequence[int] | None = None,
    offset: Sequence[float] | None = None,
    filter: str = "ramp",
) -> Tensor:
    """Reconstruct without a prior, in the way of the task.

    Parameters
    ----------
    task : str
        A protocol id or its first word: ``denoise`` returns the data, ``superres`` interpolates with cubic
        splines, ``kspace`` and ``prior_exam`` return the zero-filled (coil-combined) adjoint, ``ct`` the
        filtered backprojection in 1/mm.
    data : Tensor, shape (..., *operator.range.shape)
    operator : LinearOperator
        For ``ct`` the projector itself.
    factor, offset : sequence of float, one per image axis
        Only for ``superres``: coarse sample ``k`` lies at fine index ``offset + k factor``.
    filter : str
        Only for ``ct``: the filter of the backprojection.

    Returns
    -------
    Tensor, shape (..., *operator.domain.shape)

    Raises
    ------
    ConfigError
        When the task is none of these.
    GeometryError
        When ``superres`` lacks factor or offset, or ``ct`` has another operator than a projector.
    """
    ways: dict[str, Callable[[], Tensor]] = {
        "denoise": lambda: data,
        "superres": lambda: interpolate(data, operator.domain.shape, factor, offset),
        "kspace": lambda: operator.H(data),
        "prior": lambda: operator.H(data),
        "ct": lambda: fbp(data, _projector(operator), filter),
    }
    kind = task.split("_")[0]
    if kind not in ways:
        raise ConfigError(f"There is no naive reconstruction for task {task!r}; known: {', '.join(ways)}.")
    return ways[kind]()


def interpolate(
    coarse: Tensor, shape: Sequence[int], factor: Sequence[int] | None, offset: Sequence[float] | None
) -> Tensor:
    """Cubic spline interpolation onto the fine grid, aligned at the voxel centres.

    Splines (Unser, IEEE SPM 1999) are the sharper relative of the bicubic convolution of photo editors.
    Beyond the outermost samples the nearest one goes on.

    Parameters
    ----------
    coarse : Tensor, shape (..., *coarse grid)
        Real or complex.
    shape : sequence of int
        Fine grid.
    factor, offset : sequence of float, one per axis of ``shape``
        Coarse sample ``k`` lies at fine index ``offset + k factor``.

    Returns
    -------
    Tensor, shape (..., *shape)

    Raises
    ------
    GeometryError
        When factor or offset is missing or not one per axis.
    """
    if factor is None or offset is None or len(factor) != len(shape) or len(offset) != len(shape):
        raise GeometryError(
            f"Interpolation to {tuple(shape)} needs one factor and one offset per axis, to know where the "
            f"coarse voxels lie; got factor {factor} and offset {offset}."
        )
    at = np.meshgrid(*[(np.arange(n) - o) / f for n, f, o in zip(shape, factor, offset, strict=True)], indexing="ij")
    batch = coarse.shape[: coarse.ndim - len(shape)]
    flat = coarse.detach().cpu().numpy().reshape(-1, *coarse.shape[coarse.ndim - len(shape) :])
    fine = np.stack([ndimage.map_coordinates(image, at, order=3, mode="nearest") for image in flat])
    return torch.from_numpy(fine).reshape(*batch, *shape).to(coarse)


def _projector(operator: LinearOperator) -> Projector:
    if not isinstance(operator, Projector):
        raise GeometryError(
            f"Filtered backprojection must know where the rays were; got {operator!r}, want a ParallelBeam or FanBeam."
        )
    return operator
