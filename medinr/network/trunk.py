"""The coordinate network: a trunk shared by all scans, and a linear head per scan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from medinr.errors import ConfigError, GeometryError
from medinr.network.activations import ACTIVATIONS, Activation
from medinr.network.encodings import Encoding, build_encoding

#: Activation and encoding of every backbone.
BACKBONES = {
    "siren": ("siren", "none"),
    "finer": ("finer", "none"),
    "wire": ("wire", "none"),
    "gauss": ("gauss", "none"),
    "fourier": ("relu", "fourier"),
    "hash": ("relu", "hash"),
}

#: omega over the grid's Nyquist frequency in rad per unit of coordinate: the 30 of Sitzmann et al. 2020 on the grid
#: that the shipped trunks were trained on, 128 pixels across ``[-1, 1]``.
OMEGA_PER_NYQUIST = 30.0 / (math.pi * 64)

#: Points per chunk: activations of a 256-wide layer then fit the second-level cache of a laptop core.
CHUNK = 2048

#: Above this many points a chunk's activations are recomputed in the backward pass instead of kept:
#: ten activations of 256 floats per point are 10 KiB a point, so about 1 GB at this size.
KEEP_ACTIVATIONS_UP_TO = 320 * 320


def omega_for_bandwidth(spacing_mm: float, length_scale_mm: float, *, per_nyquist: float = OMEGA_PER_NYQUIST) -> float:
    """Frequency factor for a grid.

    ``a(omega W r)`` is ``a(W (omega r))``: omega is a scaling of the coordinates. Its effect therefore depends on
    how many millimetres a unit of coordinate is, and a number copied from a paper has a different effect on every
    grid. The physical quantity behind it is the highest frequency that the grid can hold, ``pi / spacing`` in rad/mm,
    which is ``k = pi length_scale / spacing`` in rad per unit of coordinate. ``omega = per_nyquist * k``: half the
    spacing, or twice the length scale, is twice omega.

    What is stored is `TrunkSettings.omega`, because a trunk has to keep the value it was trained with. Fourier features
    and the hash grid derive the same ``k`` from it (`TrunkSettings.nyquist`).

    Parameters
    ----------
    spacing_mm : float
        Pixel spacing of the finest grid the network is to represent.
    length_scale_mm : float
        Millimetres per unit of network coordinate.
    per_nyquist : float
        omega over ``k``.

    Raises
    ------
    GeometryError
        When spacing or length scale is not positive.

    Examples
    --------
    >>> round(omega_for_bandwidth(spacing_mm=1.8, length_scale_mm=115.2), 6)
    30.0
    >>> round(omega_for_bandwidth(spacing_mm=0.9, length_scale_mm=115.2), 6)
    60.0
    """
    if min(spacing_mm, length_scale_mm) <= 0:
        raise GeometryError(f"Spacing and length scale must be positive; got {spacing_mm} and {length_scale_mm} mm.")
    return per_nyquist * math.pi * length_scale_mm / spacing_mm


@dataclass(frozen=True)
class TrunkSettings:
    """Architecture of a trunk.

    Attributes
    ----------
    inputs : {2, 3}
        Coordinates per point: 2 for slices, 3 for volumes.
    width : int
        Features per layer, and inputs of the head.
    depth : int
        Layers (5 in Vyas et al. 2024).
    omega : float
        Frequency factor of every layer (30 in Sitzmann et al. 2020); `omega_for_bandwidth` gives one for a grid. It
        also sets the frequencies of Fourier features and the finest cells of a hash grid.
    backbone : {"siren", "finer", "wire", "gauss", "fourier", "hash"}
        Sines, variable-periodic sines, Gabor wavelets, Gaussians (`medinr.network.activations`); ramps on random
        Fourier features or on a hash grid (`medinr.network.encodings`).

    Raises
    ------
    ConfigError
        On a value outside its range.
    """

    inputs: int = 2
    width: int = 256
    depth: int = 5
    omega: float = 30.0
    backbone: str = "siren"

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise ConfigError(f"Backbone {self.backbone!r} is not one of {', '.join(BACKBONES)}.")
        if self.inputs not in (2, 3):
            raise ConfigError(f"A trunk has 2 inputs (slices) or 3 (volumes); got {self.inputs}.")
        if min(self.width, self.depth) < 1 or self.omega <= 0:
            raise ConfigError(
                "Width and depth of a trunk must be 1 or more and omega positive; "
                f"got {self.width}, {self.depth} and {self.omega}."
            )

    @property
    def nyquist(self) -> float:
        """Nyquist frequency, in rad per unit of coordinate, of the grid that omega is for."""
        return self.omega / OMEGA_PER_NYQUIST


class Trunk(nn.Module):
    """Layers ``h <- a(z)``, ``z = unit (W h + b)``, on encoded points.

    The sines of the default backbone are SIREN (Sitzmann et al., NeurIPS 2020, eq. 1). Initial weights and biases are
    uniform within the bounds of the activation.

    Parameters
    ----------
    settings : TrunkSettings
    generator : torch.Generator, optional
        For the initial weights.

    Attributes
    ----------
    activation : Activation
    encoding : Encoding
    weights, biases : ParameterList
        As stored; `scaled_layers` gives them times ``unit``.
    """

    activation: Activation
    encoding: Encoding

    def __init__(self, settings: TrunkSettings, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.settings = settings
        activation, encoding = BACKBONES[settings.backbone]
        self.activation = ACTIVATIONS[activation](settings.omega)
        self.encoding = build_encoding(encoding, settings.inputs, settings.width, settings.nyquist, generator)
        sizes = [self.encoding.outputs] + [settings.width] * settings.depth
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            bound = self.activation.bound(fan_in, first=layer == 0)
            shift = self.activation.bias_bound(fan_in, first=layer == 0)
            weight = torch.empty(fan_out, fan_in).uniform_(-bound, bound, generator=generator)
            bias = torch.empty(fan_out).uniform_(-shift, shift, generator=generator)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))

    @property
    def width(self) -> int:
        """Number of features."""
        return self.settings.width

    @property
    def unit(self) -> float:
        """Factor between stored and scaled weights: omega where the activation is a function of phase, else 1."""
        return self.activation.unit

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Square weight matrices between layers, whose steps Muon orthogonalises."""
        return list(self.weights)[1:]

    def encoding_parameters(self) -> list[nn.Parameter]:
        """Trained parameters of the encoding; empty for all backbones but the hash grid."""
        return list(self.encoding.parameters())

    def encode(self, points: Tensor) -> Tensor:
        """Encode points ``(n, inputs)`` for the first layer, shape (n, encoding.outputs)."""
        return cast(Tensor, self.encoding(points))

    def scaled_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights ``(fan_out, fan_in)`` and biases ``(fan_out,)`` times ``unit``: ``z = h @ weight.T + bias``."""
        unit = self.unit
        return [(w * unit, b * unit) for w, b in zip(self.weights, self.biases, strict=True)]

    def _layers(self, points: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
        h = self.encode(points)
        for weight, bias in layers:
            h = self.activation(functional.linear(h, weight, bias))
        return h

    def forward(self, points: Tensor) -> Tensor:
        """Compute the features of points.

        Parameters
        ----------
        points : Tensor, shape (n, inputs)

        Returns
        -------
        Tensor, shape (n, width)
        """
        return self._layers(points, self.scaled_layers())

    def render(self, points: Tensor, head: Tensor) -> Tensor:
        """Compute values ``[features, 1] @ head`` at points, in chunks that fit the cache.

        Parameters
        ----------
        points : Tensor, shape (n, inputs)
        head : Tensor, shape (width + 1, heads)
            Last row: bias.

        Returns
        -------
        Tensor, shape (n, heads)
        """
        layers = self.scaled_layers()
        recompute = torch.is_grad_enabled() and len(points) > KEEP_ACTIVATIONS_UP_TO

        def values(chunk: Tensor) -> Tensor:
            return torch.addmm(head[-1], self._layers(chunk, layers), head[:-1])

        parts = []
        for chunk in points.split(CHUNK):
            part = (
                checkpoint(values, chunk, use_reentrant=False, preserve_rng_state=False) if recompute else values(chunk)
            )
            parts.append(cast(Tensor, part))
        return torch.cat(parts)

    @torch.no_grad()
    def features(self, points: Tensor) -> Tensor:
        """Compute features with a constant one appended, without gradient, shape (n, width + 1)."""
        layers = self.scaled_layers()
        out = points.new_ones(len(points), self.width + 1)
        for start in range(0, len(points), CHUNK):
            out[start : start + CHUNK, :-1] = self._layers(points[start : start + CHUNK], layers)
        return out


def random_head(width: int, heads: int, omega: float, generator: torch.Generator) -> Tensor:
    """Draw a head as the published method does: uniform in ``±sqrt(6/width)/omega``, shape (width + 1, heads)."""
    bound = math.sqrt(6 / width) / omega
    return torch.empty(width + 1, heads).uniform_(-bound, bound, generator=generator)
