"""How a trunk's weights spread over directions, layer by layer, and how deep to freeze it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.errors import ShapeError


@dataclass(frozen=True)
class LayerSpectrum:
    """Singular values of one layer's weights in two numbers.

    Attributes
    ----------
    layer : int
        Counted from 1, the layer that sees the coordinates.
    shape : (int, int)
        Outputs and inputs.
    stable_rank : float
        ``||W||_F^2 / ||W||_2^2``, from 1 (one direction) to the smaller side (all alike); 0 for zero weights.
    largest_singular_value : float
        ``||W||_2``, without the frequency factor of the sine.
    """

    layer: int
    shape: tuple[int, int]
    stable_rank: float
    largest_singular_value: float


def layer_spectra(weights: Iterable[Tensor]) -> tuple[LayerSpectrum, ...]:
    """Stable rank and largest singular value of every weight matrix, in float64.

    Parameters
    ----------
    weights : iterable of Tensor, shape (outputs, inputs)
        From the coordinates on, such as ``trunk.weights``.

    Examples
    --------
    >>> layer_spectra([torch.diag(torch.tensor([2.0, 1.0, 1.0]))])
    (LayerSpectrum(layer=1, shape=(3, 3), stable_rank=1.5, largest_singular_value=2.0),)
    """
    spectra = []
    for layer, weight in enumerate(weights, start=1):
        if weight.ndim != 2:
            raise ShapeError(f"Weights of layer {layer} want shape (outputs, inputs); got {tuple(weight.shape)}.")
        values = torch.linalg.svdvals(weight.detach().double())
        largest = float(values[0])
        rank = float((values / largest).square().sum()) if largest > 0 else 0.0
        outputs, inputs = weight.shape
        spectra.append(LayerSpectrum(layer, (outputs, inputs), rank, largest))
    return tuple(spectra)


def freeze_depth(spectra: Sequence[LayerSpectrum]) -> int:
    """Give the layer up to which freezing a trunk transfers best: that of highest stable rank, the first of equals.

    An observation on SIRENs and Fourier-feature networks (Sideri-Lampretsa et al. 2026, arXiv 2605.08298), not a
    law: the best freeze depth of their sweeps coincided with it.
    """
    return max(spectra, key=lambda spectrum: spectrum.stable_rank).layer
