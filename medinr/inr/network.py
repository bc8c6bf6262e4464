"""The coordinate network: a sine trunk shared by all scans, and a linear head per scan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

#: Points per chunk: activations of a 256-wide layer then fit the second-level cache of a laptop core.
CHUNK = 2048

#: Above this many points a chunk's activations are recomputed in the backward pass instead of kept:
#: ten activations of 256 floats per point are 10 KiB a point, so about 1 GB at this size.
KEEP_ACTIVATIONS_UP_TO = 320 * 320


@dataclass(frozen=True)
class TrunkSettings:
    """Architecture of a sine trunk.

    Attributes
    ----------
    inputs : int
        Coordinates per point: 2 for slices.
    width : int
        Features per layer, and features the head sees.
    depth : int
        Sine layers (5 in Vyas et al. 2024).
    omega : float
        Frequency factor of every layer (30 in Sitzmann et al. 2020).
    """

    inputs: int = 2
    width: int = 256
    depth: int = 5
    omega: float = 30.0


class Trunk(nn.Module):
    """Sine layers ``h <- sin(omega (W h + b))`` (SIREN; Sitzmann et al., NeurIPS 2020, eq. 1).

    Initialised as there (section 3.2): first layer uniform in ``±1/inputs``, the others in
    ``±sqrt(6/width)/omega``.

    Parameters
    ----------
    settings : TrunkSettings
    generator : torch.Generator, optional
        For the initial weights.
    """

    def __init__(self, settings: TrunkSettings, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.settings = settings
        sizes = [settings.inputs] + [settings.width] * settings.depth
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            bound = 1 / fan_in if layer == 0 else math.sqrt(6 / fan_in) / settings.omega
            weight = torch.empty(fan_out, fan_in).uniform_(-bound, bound, generator=generator)
            bias = torch.empty(fan_out).uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
            self.weights.append(nn.Parameter(weight))
            # The published code draws biases as torch.nn.Linear does; in phase units that is a shift of many
            # periods and as good as any.
            self.biases.append(nn.Parameter(bias))

    @property
    def width(self) -> int:
        """Number of features."""
        return self.settings.width

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Square weight matrices between sine layers: what Muon orthogonalises."""
        return list(self.weights)[1:]

    def _scaled(self) -> list[tuple[Tensor, Tensor]]:
        omega = self.settings.omega
        return [(w * omega, b * omega) for w, b in zip(self.weights, self.biases, strict=True)]

    @staticmethod
    def _layers(points: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
        h = points
        for weight, bias in layers:
            h = torch.sin(functional.linear(h, weight, bias))
        return h

    def forward(self, points: Tensor) -> Tensor:
        """Features of points.

        Parameters
        ----------
        points : Tensor, shape (n, inputs)

        Returns
        -------
        Tensor, shape (n, width)
        """
        return self._layers(points, self._scaled())

    def render(self, points: Tensor, head: Tensor) -> Tensor:
        """Values ``[features, 1] @ head`` at points, in cache-sized chunks.

        Parameters
        ----------
        points : Tensor, shape (n, inputs)
        head : Tensor, shape (width + 1, heads)
            Last row: bias.

        Returns
        -------
        Tensor, shape (n, heads)
        """
        layers = self._scaled()
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
        """Features with a constant one appended, without gradient, shape (n, width + 1)."""
        layers = self._scaled()
        out = points.new_ones(len(points), self.width + 1)
        for start in range(0, len(points), CHUNK):
            out[start : start + CHUNK, :-1] = self._layers(points[start : start + CHUNK], layers)
        return out


def random_head(width: int, heads: int, omega: float, generator: torch.Generator) -> Tensor:
    """Draw a head as the published recipe does: uniform in ``±sqrt(6/width)/omega``, shape (width + 1, heads)."""
    bound = math.sqrt(6 / width) / omega
    return torch.empty(width + 1, heads).uniform_(-bound, bound, generator=generator)
