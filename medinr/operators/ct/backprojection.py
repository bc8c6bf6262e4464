"""The two halves of filtered backprojection that parallel and fan beams share: the ramp, and the sum over views."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medinr.operators.compiling import loops_take
from medinr.operators.ct.projector import Projector
from medinr.operators.ct.rays import centred

FILTERS = ("ramp", "shepp-logan", "hann")


def ramp_kernel(reach: int, spacing: float) -> Tensor:
    """Band-limited ramp filter in the spatial domain (Kak & Slaney 1988, eq. 61).

    ``h(0) = 1 / (4 ds^2)``, ``h(n ds) = -1 / (pi n ds)^2`` for odd and 0 for even ``n``.

    Parameters
    ----------
    reach : int
        Largest ``n``.
    spacing : float
        ``ds`` in mm.

    Returns
    -------
    Tensor, shape (reach + 1,), float64
        ``h`` for ``n = 0 ... reach`` in 1/mm^2; ``h`` is even.
    """
    n = torch.arange(reach + 1, dtype=torch.float64)
    kernel = torch.where(n % 2 == 1, -1.0 / (math.pi * n * spacing) ** 2, torch.zeros_like(n))
    kernel[0] = 1.0 / (4.0 * spacing**2)
    return kernel


def filter_views(sinogram: Tensor, spacing: float, name: str, *, equiangular: bool = False) -> Tensor:
    """Filter each view: ``ds (p * h)``, with ``h`` the windowed ramp.

    Parameters
    ----------
    sinogram : Tensor, shape (..., angle, detector)
    spacing : float
        Distance of the samples in mm, or in rad if equiangular.
    name : {"ramp", "shepp-logan", "hann"}
    equiangular : bool
        Whether ``h(gamma)`` becomes ``(gamma / sin gamma)^2 h(gamma)`` (Kak & Slaney 1988, eq. 110).

    Returns
    -------
    Tensor, shape (..., angle, detector)
    """
    detectors = sinogram.shape[-1]
    # Twice the detector, so that the circular convolution of the FFT does not wrap around.
    size = 2 ** math.ceil(math.log2(max(2 * detectors, 2)))
    half = ramp_kernel(size // 2, spacing)
    if equiangular:
        # No two samples are further apart than the detector is long.
        gamma = torch.arange(len(half), dtype=torch.float64).clamp(max=detectors - 1) * spacing
        half = half / torch.sinc(gamma / math.pi).square()
    response = torch.fft.rfft(torch.cat([half, half[1:-1].flip(0)])).real * spacing
    frequency = torch.fft.rfftfreq(size, dtype=torch.float64)
    if name == "shepp-logan":
        response = response * torch.sinc(frequency)
    elif name == "hann":
        response = response * (0.5 + 0.5 * torch.cos(2.0 * math.pi * frequency))
    spectrum = torch.fft.rfft(sinogram, n=size) * response.to(sinogram)
    filtered: Tensor = torch.fft.irfft(spectrum, n=size)
    return filtered[..., :detectors]


@dataclass(frozen=True)
class Shadow:
    """Position on the detector of the shadow of a pixel, and the weight of the pixel in a view.

    Attributes
    ----------
    kind : {"parallel", "flat", "curved"}
    distance, magnified : float
        Of the source to the axis and to the detector in mm; not used for parallel beams.
    """

    kind: str
    distance: float = 0.0
    magnified: float = 0.0

    def locate(self, across: Tensor, along: Tensor) -> tuple[Tensor, Tensor | None]:
        """Shadow on the detector (``offsets``) in mm and weight, or None for 1.

        ``across``, ``along``: position of each pixel in mm along the detector's direction ``(cos theta, -sin theta)``
        and along the central ray's ``(sin theta, cos theta)``.
        """
        if self.kind == "parallel":
            return across, None
        depth = self.distance + along
        if self.kind == "flat":
            return across / depth * self.magnified, (self.distance / depth).square()
        return (across / depth).atan() * self.magnified, 1.0 / (across.square() + depth.square())


def backproject(filtered: Tensor, projector: Projector, shadow: Shadow) -> Tensor:
    """Sum over the views the value at the shadow of each pixel, zero outside the detector.

    Parameters
    ----------
    filtered : Tensor, shape (..., angle, detector)
    projector : Projector
        For grid and angles, and for whether to compile.
    shadow : Shadow

    Returns
    -------
    Tensor, shape (..., y, x)
    """
    work = math.prod(projector.domain.shape) * projector.range.shape[0]
    if filtered.is_complex() or not (loops_take(filtered) and projector.is_worth_compiling(work)):
        return _sum_views(filtered, projector, shadow)
    result: Tensor = _CompiledSum.apply(filtered, projector, shadow)  # type: ignore[no-untyped-call]
    return result


def _sum_views(filtered: Tensor, projector: Projector, shadow: Shadow) -> Tensor:
    """In plain torch, on any device."""
    (rows, columns), (dy, dx) = projector.domain.shape, projector.spacing
    detectors, device = filtered.shape[-1], filtered.device
    y, x = (centred(rows) * dy)[:, None].to(device), (centred(columns) * dx).to(device)
    start = float(projector.offsets[0])
    padded = torch.nn.functional.pad(filtered, (1, 1))
    image = filtered.new_zeros((*filtered.shape[:-2], rows, columns))
    for view, angle in enumerate(projector.angles.tolist()):
        sine, cosine = math.sin(angle), math.cos(angle)
        place, weight = shadow.locate(x * cosine - y * sine, x * sine + y * cosine)
        position = ((place - start) / projector.detector_spacing + 1.0).clamp(0, detectors + 1)
        lower = position.floor().clamp(max=detectors)
        fraction = (position - lower).to(filtered)
        index = lower.long()
        profile = padded[..., view, :]
        value = torch.lerp(profile[..., index], profile[..., index + 1], fraction)
        image = image + (value if weight is None else value * weight.to(filtered))
    return image


class _CompiledSum(torch.autograd.Function):
    """The sum by compiled loops; its derivative is that of the sum in plain torch."""

    @staticmethod
    def forward(filtered: Tensor, projector: Projector, shadow: Shadow) -> Tensor:
        from medinr.operators.ct import backprojection_compiled as compiled

        kinds = {"parallel": compiled.PARALLEL, "flat": compiled.FLAT, "curved": compiled.CURVED}
        (rows, columns), batch = projector.domain.shape, filtered.shape[:-2]
        image = compiled.sum_views(
            torch.nn.functional.pad(filtered.detach(), (1, 1)).reshape(math.prod(batch), len(projector.angles), -1),
            projector.angles.cpu(),
            (rows, columns),
            projector.spacing,
            (kinds[shadow.kind], shadow.distance, shadow.magnified),
            float(projector.offsets[0]),
            projector.detector_spacing,
        )
        return image.reshape(*batch, rows, columns)

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[object, ...], output: Tensor) -> None:
        filtered, ctx.projector, ctx.shadow = inputs  # type: ignore[attr-defined]
        ctx.shape = filtered.shape  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        projector, shadow = ctx.projector, ctx.shadow  # type: ignore[attr-defined]
        zeros = gradients[0].new_zeros(ctx.shape)  # type: ignore[attr-defined]
        pull: Any = torch.func.vjp(lambda filtered: _sum_views(filtered, projector, shadow), zeros)[1]
        return pull(gradients[0])[0], None, None

    @staticmethod
    def jvp(ctx: torch.autograd.function.FunctionCtx, *tangents: Tensor) -> Tensor:
        projector, shadow = ctx.projector, ctx.shadow  # type: ignore[attr-defined]
        result: Tensor = _CompiledSum.apply(tangents[0], projector, shadow)  # type: ignore[no-untyped-call]
        return result
