"""Activations of a layer, functions of ``z = h W^T + b``: sines, chirps, wavelets, Gaussians, ramps.

``omega`` scales the inputs of a layer: ``a(omega (W h + b))``. Where ``unit`` is ``omega`` it is part of ``z`` (a sweep
computes with ``omega W`` and ``omega b``); where ``unit`` is 1 the activation applies it itself, or, for ramps, has no
use for it.

Initial weights and biases are uniform in ``±bound`` and ``±bias_bound``, in stored units (before ``unit``).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from medinr.network.sine import sine_and_cosine

#: Width of WIRE's envelope in phases: s0 / omega0, with s0 = 10 and omega0 = 20 as in the code of Liu et al. 2024.
WIRE_ENVELOPE = 10.0 / 20.0

#: Half-width of the first biases of FINER ("k", Liu et al. 2024): the first layer's local frequency then reaches
#: ``omega (2 k + 1)``, three times that of a sine.
FINER_FIRST_BIAS = 1.0

#: Largest exponent: exp(-32) is negligible beside one even in sums of millions, while products of much smaller numbers
#: become subnormal, and processors multiply those some ten times slower.
MAX_EXPONENT = 32.0


def _envelope(exponent: Tensor) -> Tensor:
    return torch.exp(-exponent.clamp_max(MAX_EXPONENT))


@dataclass(frozen=True)
class Activation(ABC):
    """An activation, its slope, and its range of initial weights.

    Attributes
    ----------
    omega : float
        Frequency factor of the layers.
    """

    omega: float = 1.0

    @property
    def unit(self) -> float:
        """Factor between stored weights and those that give ``z``."""
        return self.omega

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """Give ``h = a(z)``, elementwise; autograd works."""

    @abstractmethod
    def evaluate(self, z: Tensor, value: Tensor) -> None:
        """Write ``a(z)`` into ``value`` and replace ``z`` by ``a'(z)``; both of one shape, without gradient."""

    def value_and_slope(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Give ``a(z)`` and ``a'(z)``, shaped like ``z``, without gradient."""
        slope = z.detach().clone()
        value = torch.empty_like(slope)
        self.evaluate(slope, value)
        return value, slope

    @abstractmethod
    def bound(self, fan_in: int, first: bool) -> float:
        """Half-width of the initial weights of a layer with ``fan_in`` inputs; ``first``: of encoded points."""

    def bias_bound(self, fan_in: int, first: bool) -> float:
        """Half-width of the initial biases: ``1 / sqrt(fan_in)``, from `torch.nn.Linear` as in the published code."""
        return 1 / math.sqrt(fan_in)


class Siren(Activation):
    """``h = sin(z)``, ``z = omega (W h + b)`` (Sitzmann et al., NeurIPS 2020, eq. 1).

    Weights as there (section 3.2): first layer ``1 / fan_in``, the others ``sqrt(6 / fan_in) / omega``, so that ``z``
    has variance one. Biases as in the published code; in units of phase that is a shift of many periods, so their exact
    range does not matter.
    """

    def __call__(self, z: Tensor) -> Tensor:
        """``sin(z)``."""
        return torch.sin(z)

    @torch.no_grad()
    def evaluate(self, z: Tensor, value: Tensor) -> None:
        """Value of ``sin(z)`` into ``value``, slope into ``z``."""
        sine_and_cosine(z, value)

    def bound(self, fan_in: int, first: bool) -> float:
        """``1 / fan_in``, then ``sqrt(6 / fan_in) / omega``."""
        return 1 / fan_in if first else math.sqrt(6 / fan_in) / self.omega


class Finer(Siren):
    """``h = sin((|z| / omega + 1) z)``, ``z = omega (W h + b)`` (FINER; Liu et al., CVPR 2024).

    With ``y = W h + b`` that is the paper's ``sin(omega (|y| + 1) y)``: a sine whose local frequency
    ``omega (2 |y| + 1)`` is set by the biases. Weights as for SIREN; first biases ``FINER_FIRST_BIAS`` (section 3.3).

    The slope is exact. The published code treats ``|y| + 1`` as a constant when it differentiates; this one does not.
    """

    def __call__(self, z: Tensor) -> Tensor:
        """``sin((|z| / omega + 1) z)``."""
        return torch.sin((z.abs() / self.omega + 1) * z)

    @torch.no_grad()
    def evaluate(self, z: Tensor, value: Tensor) -> None:
        """Value of ``sin((|z| / omega + 1) z)`` into ``value``, slope into ``z``."""
        stretch = z.abs().div_(self.omega).add_(1)
        z.mul_(stretch)
        sine_and_cosine(z, value)
        z.mul_(stretch.mul_(2).sub_(1))

    def bias_bound(self, fan_in: int, first: bool) -> float:
        """`FINER_FIRST_BIAS`, then ``1 / sqrt(fan_in)``."""
        return FINER_FIRST_BIAS if first else super().bias_bound(fan_in, first)


class Wire(Activation):
    """``h = cos(z) exp(-(s z)^2)``, ``z = omega (W h + b)``, ``s`` = `WIRE_ENVELOPE`.

    Real part of the Gabor wavelet ``exp(j omega y - |s0 y|^2)`` of a real ``y = W h + b`` (WIRE; Saragadam et al.,
    CVPR 2023) with ``s = s0 / omega``; their real variant learns a second matrix for the envelope, this one
    shares the matrix as their complex one does. Weights as in the published code, `torch.nn.Linear`:
    ``1 / sqrt(fan_in)``.
    """

    def __call__(self, z: Tensor) -> Tensor:
        """``cos(z) exp(-(s z)^2)``."""
        return torch.cos(z) * _envelope((WIRE_ENVELOPE * z) ** 2)

    @torch.no_grad()
    def evaluate(self, z: Tensor, value: Tensor) -> None:
        """Value of ``cos(z) exp(-(s z)^2)`` into ``value``, slope into ``z``."""
        envelope = _envelope((WIRE_ENVELOPE * z) ** 2)
        torch.cos(z, out=value)
        value.mul_(envelope)
        # -(sin z + 2 s^2 z cos z) exp(-(s z)^2)
        falling = (2 * WIRE_ENVELOPE**2) * z * value
        z.sin_().mul_(envelope).add_(falling).neg_()

    def bound(self, fan_in: int, first: bool) -> float:
        """``1 / sqrt(fan_in)``."""
        return 1 / math.sqrt(fan_in)


class Gauss(Activation):
    """``h = exp(-(omega z)^2 / 2)``, ``z = W h + b`` (Ramasinghe & Lucey, ECCV 2022, with sigma = 1 / omega).

    Their sigma of 0.05 to 0.1 is an omega of 10 to 20. Weights as in `torch.nn.Linear`: ``1 / sqrt(fan_in)``. The
    output is never negative, so unlike the sine its mean over the points is not zero.
    """

    @property
    def unit(self) -> float:
        """One: the weights are stored as they are used."""
        return 1.0

    def __call__(self, z: Tensor) -> Tensor:
        """``exp(-(omega z)^2 / 2)``."""
        return _envelope(0.5 * (self.omega * z) ** 2)

    @torch.no_grad()
    def evaluate(self, z: Tensor, value: Tensor) -> None:
        """Value of ``exp(-(omega z)^2 / 2)`` into ``value``, slope into ``z``."""
        torch.mul(z, self.omega, out=value)
        value.square_().mul_(0.5).clamp_max_(MAX_EXPONENT).neg_().exp_()
        z.mul_(-(self.omega**2)).mul_(value)

    def bound(self, fan_in: int, first: bool) -> float:
        """``1 / sqrt(fan_in)``."""
        return 1 / math.sqrt(fan_in)


class Relu(Activation):
    """``h = max(z, 0)``, ``z = W h + b``: for encodings that contain high frequencies already; slope 0 at 0.

    Weights ``sqrt(6 / fan_in)``, biases zero: ``mean h^2`` is then the same in every layer (He et al., ICCV 2015,
    eq. 10).
    """

    @property
    def unit(self) -> float:
        """One: the weights are stored as they are used."""
        return 1.0

    def __call__(self, z: Tensor) -> Tensor:
        """``max(z, 0)``."""
        return torch.relu(z)

    @torch.no_grad()
    def evaluate(self, z: Tensor, value: Tensor) -> None:
        """Value of ``max(z, 0)`` into ``value``, slope into ``z``."""
        torch.clamp_min(z, 0, out=value)
        z.copy_(z > 0)

    def bound(self, fan_in: int, first: bool) -> float:
        """``sqrt(6 / fan_in)``."""
        return math.sqrt(6 / fan_in)

    def bias_bound(self, fan_in: int, first: bool) -> float:
        """Zero."""
        return 0.0


#: All activations by name.
ACTIVATIONS: dict[str, type[Activation]] = {
    "siren": Siren,
    "finer": Finer,
    "wire": Wire,
    "gauss": Gauss,
    "relu": Relu,
}
