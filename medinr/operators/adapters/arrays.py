"""Tensors in code for NumPy arrays, and arrays in code for tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medinr.operators.base import LinearOperator
from medinr.operators.linear_map import Map

Array = NDArray[Any]


def to_array(value: Tensor) -> Array:
    """A tensor as an array; memory is shared where the tensor is on the CPU."""
    array: Array = value.detach().cpu().resolve_conj().resolve_neg().numpy()
    return array


def to_tensor(array: Array, device: torch.device | str = "cpu") -> Tensor:
    """An array as a tensor; memory is shared on the CPU where layout and writability allow it."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def apply_to_array(operator: LinearOperator, array: Array) -> Array:
    """Apply an operator to an array ``(..., *domain.shape)``, on the operator's device and without a graph."""
    with torch.no_grad():
        return to_array(operator(to_tensor(array, operator.device)))


def each(function: Map, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Apply a function of one image to a batch ``(..., *shape)``, image by image."""
    leading = value.shape[: value.ndim - len(shape)]
    images = value.reshape(math.prod(leading), *shape)
    # The result of an empty batch still needs the shape of its images.
    results = torch.stack([function(image) for image in (images if len(images) else value.new_zeros(1, *shape))])
    return results[: len(images)].reshape(*leading, *results.shape[1:])
