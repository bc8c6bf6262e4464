"""One pass over points: squared error, its gradient and its curvature, derived by hand, in pieces that fit the cache.

For ``out = [h_L, 1] @ head`` with ``h_l = a(h_{l-1} W_l^T + b_l)`` and error ``e = out - values`` the gradient of
``1/(2n) sum |e|^2`` is ``g_l^T h_{l-1} / n`` per layer, where ``g_l`` is the error propagated back to the
pre-activations. Writing this out avoids what automatic differentiation has to store and copy: nothing leaves the
second-level cache, and five sixths of the time are matrix products.

The same pass gives the two factors of the layer's Gauss-Newton matrix (K-FAC; Martens & Grosse, ICML 2015, eq. 1):
``A_l = mean [h, 1]^T [h, 1]`` and ``G_l = heads * mean j^T j``, with ``j`` the unit error ``e / |e|`` propagated
back. For one head that is exact, and the gradient is ``j`` times ``|e|``: one backward pass serves both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medinr.network.trunk import Trunk
from medinr.workers import Workers

#: Points per piece: two layers of 256 features at once fit a core's second-level cache.
PIECE = 1024

#: Smallest length by which an error is divided, in solver units: below it an error has no direction.
TINY = 1e-30


@dataclass(eq=False)
class Layers:
    """Working copy of a trunk and its head, with scaled weights (`Trunk.scaled_layers`).

    Attributes
    ----------
    weights : list of Tensor, shape (fan_out, fan_in)
    biases : list of Tensor, shape (fan_out,)
    head : Tensor, shape (width + 1, heads)
    """

    trunk: Trunk
    weights: list[Tensor]
    biases: list[Tensor]
    head: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, trunk: Trunk, head: Tensor) -> Layers:
        """Copy the weights of a trunk and a head."""
        scaled = trunk.scaled_layers()
        weights = [w.detach().clone() for w, _ in scaled]
        return cls(trunk, weights, [b.detach().clone() for _, b in scaled], head.detach().clone())

    @torch.no_grad()
    def read(self, head: Tensor) -> None:
        """Copy the weights of the trunk and of a head into this, in place."""
        for (own_weight, own_bias), (weight, bias) in zip(
            zip(self.weights, self.biases, strict=True), self.trunk.scaled_layers(), strict=True
        ):
            own_weight.copy_(weight)
            own_bias.copy_(bias)
        self.head.copy_(head)

    @torch.no_grad()
    def write_back(self, head: Tensor) -> None:
        """Store the weights in the trunk they came from, and the head in ``head``."""
        for stored, scaled in zip(self.trunk.weights, self.weights, strict=True):
            stored.copy_(scaled / self.trunk.unit)
        for stored, scaled in zip(self.trunk.biases, self.biases, strict=True):
            stored.copy_(scaled / self.trunk.unit)
        head.copy_(self.head)

    def assign(self, gradient: Gradient, head: nn.Parameter, scale: float) -> None:
        """Set ``grad`` of the stored weights and of a head to ``scale`` times the gradient of a sweep."""
        for stored, found in zip(self.trunk.weights, gradient.weights, strict=True):
            stored.grad = found * (scale * self.trunk.unit)
        for stored, found in zip(self.trunk.biases, gradient.biases, strict=True):
            stored.grad = found * (scale * self.trunk.unit)
        head.grad = gradient.head * scale

    def tensors(self) -> list[Tensor]:
        """All weights, for copying back and forth."""
        return [*self.weights, *self.biases, self.head]


@dataclass(frozen=True, eq=False)
class Gradient:
    """Result of one pass, as means over the points.

    Attributes
    ----------
    squared_error : Tensor, shape (heads,)
    weights, biases, head
        Gradient of half the mean squared error, summed over heads; shapes as in `Layers`.
    inputs : Tensor or None, shape (n, inputs)
        Gradient of the same with respect to the encoded points.
    input_factors : list of Tensor, shape (fan_in + 1, fan_in + 1)
        ``A`` of every layer and of the head; empty without curvature.
    output_factors : list of Tensor, shape (fan_out, fan_out)
        ``G`` of every layer; empty without curvature.
    """

    squared_error: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    head: Tensor
    inputs: Tensor | None
    input_factors: list[Tensor]
    output_factors: list[Tensor]

    def tensors(self) -> list[Tensor]:
        """All sums over points, for adding up."""
        return [
            self.squared_error,
            *self.weights,
            *self.biases,
            self.head,
            *self.input_factors,
            *self.output_factors,
        ]


class _Buffers:
    """Memory of one thread for a piece."""

    def __init__(self, layers: Layers) -> None:
        self.outputs = [w.new_empty(PIECE, len(w)) for w in layers.weights]
        self.slopes = [w.new_empty(PIECE, len(w)) for w in layers.weights]
        self.back = [torch.empty_like(self.slopes[0]) for _ in range(2)]


class Sweep:
    """Runs sweeps over points; every thread has pieces and buffers of its own.

    Parameters
    ----------
    layers : Layers
        Read at every sweep, so that an optimiser may change them in between.
    """

    def __init__(self, layers: Layers) -> None:
        self.layers = layers
        self._workers = Workers()
        threads = self._workers.count if layers.head.device.type == "cpu" else 1
        self._buffers = [_Buffers(layers) for _ in range(threads)]

    @torch.no_grad()
    def run(self, inputs: Tensor, values: Tensor, *, curvature: bool = False, input_gradient: bool = False) -> Gradient:
        """Compute error and gradient over points.

        Parameters
        ----------
        inputs : Tensor, shape (n, inputs)
            Encoded points (`Trunk.encode`).
        values : Tensor, shape (n, heads)
            Values that the output is compared with.
        curvature : bool
            Also compute the curvature factors; two more matrix products per layer.
        input_gradient : bool
            Also compute the gradient with respect to ``inputs``.

        Returns
        -------
        Gradient
        """
        n, heads = len(inputs), values.shape[1]
        back = torch.empty_like(inputs) if input_gradient else None
        pieces = [slice(start, min(start + PIECE, n)) for start in range(0, n, PIECE)]
        shares = [(pieces[k :: len(self._buffers)], buffers) for k, buffers in enumerate(self._buffers)]

        def sweep(share: tuple[list[slice], _Buffers]) -> Gradient:
            part = self._zeros(values, back, curvature)
            for piece in share[0]:
                self._piece(inputs[piece], values[piece], part, piece, share[1])
            return part

        found, *others = self._workers.map(sweep, [share for share in shares if share[0]])
        for other in others:
            for total, part in zip(found.tensors(), other.tensors(), strict=True):
                total.add_(part)
        for tensor in [found.squared_error, *found.weights, *found.biases, found.head, *found.input_factors]:
            tensor.div_(n)
        if found.inputs is not None:
            found.inputs.div_(n)
        for factor in found.input_factors:
            # The last row and column belong to the constant one.
            factor[-1, :-1] = factor[:-1, -1]
            factor[-1, -1] = 1.0
        for factor in found.output_factors:
            factor.mul_(heads / n)
        return found

    def _zeros(self, values: Tensor, back: Tensor | None, curvature: bool) -> Gradient:
        layers = self.layers
        fans = [w.shape[1] for w in layers.weights] + [len(layers.head) - 1]
        return Gradient(
            values.new_zeros(values.shape[1]),
            [torch.zeros_like(w) for w in layers.weights],
            [torch.zeros_like(b) for b in layers.biases],
            torch.zeros_like(layers.head),
            back,
            [values.new_zeros(fan + 1, fan + 1) for fan in fans] if curvature else [],
            [w.new_zeros(len(w), len(w)) for w in layers.weights] if curvature else [],
        )

    def _piece(self, inputs: Tensor, values: Tensor, found: Gradient, part: slice, buffers: _Buffers) -> None:
        layers, n = self.layers, len(inputs)
        h = inputs
        for layer, (weight, bias) in enumerate(zip(layers.weights, layers.biases, strict=True)):
            slope, output = buffers.slopes[layer][:n], buffers.outputs[layer][:n]
            torch.addmm(bias, h, weight.T, out=slope)
            layers.trunk.activation.evaluate(slope, output)
            h = output
        error = torch.addmm(layers.head[-1], h, layers.head[:-1]) - values
        found.squared_error.add_(error.square().sum(dim=0))
        found.head[:-1].addmm_(h.T, error)
        found.head[-1] += error.sum(dim=0)

        curvature = bool(found.output_factors)
        length = error.norm(dim=1, keepdim=True).clamp_min(TINY) if curvature else None
        output_error = error if length is None else error / length
        backs = [b[:n] for b in buffers.back]
        back = torch.mm(output_error, layers.head[:-1].T, out=backs[0])
        if curvature:
            _add_gram(found.input_factors[-1], h)
        for layer in range(len(layers.weights) - 1, -1, -1):
            below = buffers.outputs[layer - 1][:n] if layer else inputs
            at = buffers.slopes[layer][:n].mul_(back)
            if length is not None:
                found.output_factors[layer].addmm_(at.T, at)
                _add_gram(found.input_factors[layer], below)
            if layer or found.inputs is not None:
                back = torch.mm(at, layers.weights[layer], out=backs[layer % 2] if layer else None)
            if length is not None:
                at.mul_(length)
            found.weights[layer].addmm_(at.T, below)
            found.biases[layer].add_(at.sum(dim=0))
        if found.inputs is not None:
            found.inputs[part] = back if length is None else back * length


def _add_gram(factor: Tensor, h: Tensor) -> None:
    factor[:-1, :-1].addmm_(h.T, h)
    factor[:-1, -1] += h.sum(dim=0)
