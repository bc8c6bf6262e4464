"""Bessel functions of whole order for magnitude noise, stable from no signal to very high signal.

torch has orders 0 and 1 only. Everything here is even or odd in its argument, computed in float64 and returned in
the precision of the argument.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

#: Digits that the recurrences must gain or may lose, as an exponent: ``exp(-36)`` is the rounding of float64.
_DIGITS = 36.0


def bessel_ratio(z: Tensor, n: int) -> Tensor:
    """Ratio ``I_n(z) / I_{n-1}(z)``, an odd function between -1 and 1.

    By downward recurrence ``r_{k-1} = z / (2 k + z r_k)`` where ``|z|`` is small and by upward recurrence
    ``r_k = 1 / r_{k-1} - 2 k / z`` where it is large, each where it is stable (Gautschi 1967; Amos 1974).

    Parameters
    ----------
    z : Tensor
        Real, any shape.
    n : int
        At least 1.

    Returns
    -------
    Tensor
        Same shape and dtype; differentiable, with slope ``1 / (2 n)`` at 0.
    """
    return _ratios(z.double(), n)[-1].to(z.dtype)


def log_bessel_series(z: Tensor, n: int) -> Tensor:
    """``log 0F1(n; z^2 / 4) - |z|`` with ``0F1(n; z^2 / 4) = Gamma(n) (2 / z)^(n-1) I_{n-1}(z)``.

    ``log(exp(-|z|) I_0(z)) + sum_{k=1}^{n-1} log(2 k r_k / z)`` with the ratios of `bessel_ratio`.

    Parameters
    ----------
    z : Tensor
        Real, any shape.
    n : int
        At least 1.

    Returns
    -------
    Tensor
        Same shape and dtype, at most 0; the derivative is ``bessel_ratio(z, n) - sign(z)``.
    """
    value: Tensor = _LogSeries.apply(z, n)  # type: ignore[no-untyped-call]
    return value


class _LogSeries(torch.autograd.Function):
    """The closed-form derivative saves the memory of the recurrences, and is exact at 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, n: int) -> Tensor:
        wide = z.double()
        total = torch.special.i0e(wide).log()
        # 2 k r_k / z = 1 / (1 + z r_{k+1} / (2 k)), without the division by z.
        for k, after in enumerate(_ratios(wide, n)[1:], start=1):
            total = total - torch.log1p(wide * after / (2.0 * k))
        rounded: Tensor = total.to(z.dtype)
        return rounded

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        z, ctx.n = inputs
        ctx.save_for_backward(z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (z,) = ctx.saved_tensors
        return gradients[0] * (bessel_ratio(z, ctx.n) - z.sign()), None


def _ratios(z: Tensor, n: int) -> list[Tensor]:
    """``r_1 ... r_n`` with ``r_k = I_k(z) / I_{k-1}(z)``."""
    crossover = max(20.0, n**2 / 10.0)
    small = z.abs() < crossover
    # The unused branch of torch.where must not divide by 0, nor may its derivative.
    low, high = torch.where(small, z, torch.zeros_like(z)), torch.where(small, torch.full_like(z, crossover), z)
    up = [torch.special.i1e(high) / torch.special.i0e(high)]
    for k in range(1, n):
        up.append(1.0 / up[-1] - 2.0 * k / high)
    start = math.ceil(math.sqrt(_DIGITS * crossover + n**2))
    ratio = low / (2.0 * start)
    down = []
    for k in range(start - 1, 0, -1):
        ratio = low / (2.0 * k + low * ratio)
        down.append(ratio)
    return [torch.where(small, *pair) for pair in zip(reversed(down[-n:]), up, strict=True)]


def mean_root(a: Tensor, n: int) -> Tensor:
    """Mean of the non-central chi distribution with ``2 n`` degrees of freedom and non-centrality ``a``.

    ``sqrt(2) Gamma(n + 1/2) / Gamma(n) 1F1(-1/2; n; -x)`` with ``x = a^2 / 2``. The integral

    ``sqrt(2 / pi) int_0^{pi/2} (1 - cos(t)^(2 n) exp(-x sin(t)^2)) / sin(t)^2 dt``

    (the Laplace transform of the chi-square distribution, ``s = tan(t)^2 / 2``) has a smooth periodic integrand, so
    that the midpoint rule is exact to rounding with a few dozen nodes. For large ``x`` the asymptotic series
    takes over (Abramowitz & Stegun 1964, 13.5.1).

    Parameters
    ----------
    a : Tensor
        Real, any shape.
    n : int
        At least 1.

    Returns
    -------
    Tensor
        Same shape and dtype; differentiable.
    """
    x = 0.5 * a.double().square()
    crossover = 40.0 + 10.0 * n
    small = x < crossover
    low, high = torch.where(small, x, torch.zeros_like(x)), torch.where(small, torch.full_like(x, crossover), x)

    nodes = math.ceil(0.5 * math.sqrt(_DIGITS * (crossover + n)))
    integral = torch.zeros_like(x)
    for node in range(nodes):
        angle = (node + 0.5) * math.pi / (2 * nodes)
        square = math.sin(angle) ** 2
        integral = integral - torch.expm1(2 * n * math.log(math.cos(angle)) - low * square) / square
    integral = math.sqrt(2.0 / math.pi) * (math.pi / (2 * nodes)) * integral

    series, term = torch.ones_like(x), torch.ones_like(x)
    for k in range(1, 25):
        term = term * ((k - 1.5) * (k - 0.5 - n) / k) / high
        series = series + term
    return torch.where(small, integral, (2.0 * high).sqrt() * series).to(a.dtype)
