"""Off-resonance: inhomogeneity of the field during the readout."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from medinr.errors import ConfigError, ShapeError
from medinr.operators.base import LinearOperator

#: Largest error of the approximation when the number of segments is left open, relative to a unit signal.
TOLERANCE = 1e-3

#: Field strengths between the map's extremes at which the approximation is fitted.
FIELDS = 256


class OffResonance(LinearOperator):
    """An MR operator whose samples are read at different times in an inhomogeneous field, by time segmentation.

    ``y_m = sum_r exp(-2 pi i f_r t_m) a_mr x_r`` for an operator with entries ``a``, approximated by
    ``sum_l b_l(t_m) [A (exp(-2 pi i f t_l) x)]_m`` at equally spaced times ``t_l`` (Noll et al. 1991). The coefficients
    ``b`` are the least-squares ones over the range of the field (Sutton, Noll & Fessler 2003, eq. 10, with a uniform
    histogram). The adjoint is exactly that of the approximation.

    Parameters
    ----------
    operator : LinearOperator
        From complex images to samples, such as `NonUniformFourier` or `Fourier`; not what combines samples of
        different times.
    field_map : Tensor
        Off-resonance frequency in Hz, real; broadcast against the trailing image axes.
    times : Tensor
        When each sample is read, in s, real; broadcast against the trailing axes of the data, such as ``(readout,)``
        for ``(coil, spoke, readout)``.
    segments : int, optional
        Times ``t_l``; as many as an error below 1e-3 takes if not given. The operator runs once for each.

    Attributes
    ----------
    error : float
        Largest error of the approximation of ``exp(-2 pi i f t)`` over all times and the range of the field.

    Raises
    ------
    ShapeError
        If the field map or the times are complex or do not fit the operator.
    ConfigError
        If they are not finite or there is no segment.
    """

    def __init__(self, operator: LinearOperator, field_map: Tensor, times: Tensor, segments: int | None = None) -> None:
        for name, value, shape in (
            ("field map", field_map, operator.domain.shape),
            ("times", times, operator.range.shape),
        ):
            if value.is_complex() or not _fits(tuple(value.shape), shape):
                raise ShapeError(
                    f"The {name} of {operator!r} are real and broadcast to {shape}; got {value.dtype} "
                    f"{tuple(value.shape)}."
                )
            if not bool(value.isfinite().all()):
                raise ConfigError(f"The {name} of {operator.name} are not all finite.")
        if segments is not None and segments < 1:
            raise ConfigError(f"Time segmentation wants at least one segment; got {segments}.")
        self.operator = operator
        self.domain, self.range = operator.domain.narrowed("complex"), operator.range.narrowed("complex")
        field, read = field_map.double(), times.double()
        low, high = float(field.min()), float(field.max())
        start, stop = float(read.min()), float(read.max())
        count = segments if segments is not None else 1 + math.ceil((high - low) * (stop - start))
        coefficients, nodes, self.error = _interpolators(read, (low, high), count)
        while segments is None and self.error > TOLERANCE:
            count += 1
            coefficients, nodes, self.error = _interpolators(read, (low, high), count)
        cycles = nodes.reshape(-1, *(1,) * field.ndim) * field
        # Segments stand before the operator's axes, so that one call of the operator does all of them.
        self.phases = _with_axes(torch.polar(torch.ones_like(cycles), -2.0 * math.pi * cycles), len(self.domain.shape))
        self.coefficients = _with_axes(coefficients, len(self.range.shape))

    def _apply(self, x: Tensor) -> Tensor:
        segments = self.phases.to(x.dtype) * x.unsqueeze(-len(self.domain.shape) - 1)
        samples = self.coefficients.to(x.dtype) * self.operator._apply(segments)
        return samples.sum(-len(self.range.shape) - 1)

    def _adjoint(self, y: Tensor) -> Tensor:
        samples = self.coefficients.to(y.dtype).conj() * y.unsqueeze(-len(self.range.shape) - 1)
        images = self.phases.to(y.dtype).conj() * self.operator._adjoint(samples)
        return images.sum(-len(self.domain.shape) - 1)


def _interpolators(times: Tensor, fields: tuple[float, float], count: int) -> tuple[Tensor, Tensor, float]:
    """Coefficients (segment, *times), the segments' times, and the largest error at the fitted fields."""
    nodes = torch.linspace(float(times.min()), float(times.max()), count, dtype=torch.float64, device=times.device)
    if count == 1:
        nodes = times.mean().reshape(1)
    strengths = torch.linspace(*fields, FIELDS, dtype=torch.float64, device=times.device)
    distinct, place = times.flatten().unique(return_inverse=True)
    basis, wanted = _decay(strengths, nodes), _decay(strengths, distinct)
    # With more segments than the field's range can tell apart the basis is singular; the pseudo-inverse stays small.
    fitted = torch.linalg.pinv(basis, rtol=1e-10) @ wanted
    error = float((basis @ fitted - wanted).abs().max())
    return fitted[:, place].reshape(count, *times.shape), nodes, error


def _decay(strengths: Tensor, times: Tensor) -> Tensor:
    cycles = strengths[:, None] * times
    return torch.polar(torch.ones_like(cycles), -2.0 * math.pi * cycles)


def _with_axes(value: Tensor, axes: int) -> Tensor:
    """Insert axes after the first until ``axes`` follow it."""
    return value.reshape(len(value), *(1,) * (axes - (value.ndim - 1)), *value.shape[1:])


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    try:
        return cast("tuple[int, ...]", tuple(torch.broadcast_shapes(shape, target))) == target
    except RuntimeError:
        return False
