"""The two halves of filtered backprojection that parallel and fan beams share: the ramp, and the sum over views."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from medinr.operators.projector import Projector
from medinr.operators.rays import centred

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


def backproject(
    filtered: Tensor, projector: Projector, locate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
) -> Tensor:
    """Sum over the views the value at the shadow of each pixel, zero beside the detector.

    Parameters
    ----------
    filtered : Tensor, shape (..., angle, detector)
    projector : Projector
        For grid and angles.
    locate : callable
        Takes, for one view, the position of each pixel in mm along the detector's direction
        ``(cos theta, -sin theta)`` and along the central ray's ``(sin theta, cos theta)``; returns where on
        the detector (``offsets``) its shadow falls, in mm, and its weight, or None for 1.

    Returns
    -------
    Tensor, shape (..., y, x)
    """
    (rows, columns), (dy, dx) = projector.domain.shape, projector.spacing
    detectors, device = filtered.shape[-1], filtered.device
    y, x = (centred(rows) * dy)[:, None].to(device), (centred(columns) * dx).to(device)
    start = float(projector.offsets[0])
    padded = torch.nn.functional.pad(filtered, (1, 1))
    image = filtered.new_zeros((*filtered.shape[:-2], rows, columns))
    for view, angle in enumerate(projector.angles.tolist()):
        sine, cosine = math.sin(angle), math.cos(angle)
        shadow, weight = locate(x * cosine - y * sine, x * sine + y * cosine)
        position = ((shadow - start) / projector.detector_spacing + 1.0).clamp(0, detectors + 1)
        lower = position.floor().clamp(max=detectors)
        fraction = (position - lower).to(filtered)
        index = lower.long()
        profile = padded[..., view, :]
        value = torch.lerp(profile[..., index], profile[..., index + 1], fraction)
        image = image + (value if weight is None else value * weight.to(filtered))
    return image
