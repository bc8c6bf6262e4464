"""Filtered backprojection: the analytic inverse of parallel-beam projection, the usual first comparison."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medinr.errors import ConfigError
from medinr.operators.radon import ParallelBeam

FILTERS = ("ramp", "shepp-logan", "hann")

#: A gap between neighbouring views wider than this many times the median gap is a missing wedge, over which
#: nothing is extrapolated. Golden-angle views have gaps that differ by at most 2.62.
_WEDGE = 3.0


def fbp(sinogram: Tensor, projector: ParallelBeam, filter: str = "ramp") -> Tensor:
    """Reconstruct by filtered backprojection (Kak & Slaney 1988, section 3.3).

    ``f(x, y) = sum_v dtheta_v q_v(x cos theta_v - y sin theta_v)``, ``q = ds (p * h)``

    with the band-limited ramp ``h`` built in the spatial domain (`ramp_kernel`): sampling ``|f|`` directly
    would lose the mean of the image. Backprojection interpolates linearly on the detector rather than using
    the projector's adjoint, whose Joseph weights ripple from pixel to pixel on filtered data.

    Parameters
    ----------
    sinogram : Tensor, shape (..., angle, detector)
        Dimensionless line integrals.
    projector : ParallelBeam
        Where the rays were. Views are weighted by the angle each stands for (`view_weights`).
    filter : {"ramp", "shepp-logan", "hann"}
        Window on the ramp, from sharp to smooth.

    Returns
    -------
    Tensor, shape (..., y, x)
        Attenuation in 1/mm.

    Raises
    ------
    ShapeError
        If the sinogram is not in the projector's range.
    ConfigError
        If the filter is none of those named.
    """
    if filter not in FILTERS:
        raise ConfigError(f"fbp knows the filters {', '.join(FILTERS)}; got {filter!r}.")
    projector.range.check(sinogram, "fbp")
    if sinogram.is_complex():
        return torch.complex(fbp(sinogram.real, projector, filter), fbp(sinogram.imag, projector, filter))
    filtered = _filter(sinogram, projector.detector_spacing, filter)
    return _backproject(filtered * view_weights(projector.angles).to(sinogram)[:, None], projector)


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


def view_weights(angles: Tensor) -> Tensor:
    """Angle that each view stands for: half the way to its neighbours on the half circle.

    Views that repeat a direction, as over a full turn, share its weight. A missing wedge is not extrapolated:
    the views at its rim count as if their next neighbour were at the median distance.

    Parameters
    ----------
    angles : Tensor, shape (angle,)
        In radians.

    Returns
    -------
    Tensor, shape (angle,), float64
        In radians; the sum is pi if the views cover the half circle.
    """
    # Rounding makes 0 and pi, or the two passes of a full turn, the same direction.
    direction = torch.remainder(torch.round(angles.double() / math.pi, decimals=9), 1.0) * math.pi
    unique, inverse, count = torch.unique(direction, return_inverse=True, return_counts=True)
    if len(unique) == 1:
        return torch.full_like(direction, math.pi / len(direction))
    gap = torch.diff(unique, append=unique[:1] + math.pi)
    usual = gap.median()
    gap = torch.where(gap > _WEDGE * usual, usual, gap)
    weights: Tensor = 0.5 * (gap + gap.roll(1)) / count
    return weights[inverse]


def _filter(sinogram: Tensor, spacing: float, name: str) -> Tensor:
    detectors = sinogram.shape[-1]
    # Twice the detector, so that the circular convolution of the FFT does not wrap around.
    size = 2 ** math.ceil(math.log2(max(2 * detectors, 2)))
    half = ramp_kernel(size // 2, spacing)
    response = torch.fft.rfft(torch.cat([half, half[1:-1].flip(0)])).real * spacing
    frequency = torch.fft.rfftfreq(size, dtype=torch.float64)
    if name == "shepp-logan":
        response = response * torch.sinc(frequency)
    elif name == "hann":
        response = response * (0.5 + 0.5 * torch.cos(2.0 * math.pi * frequency))
    spectrum = torch.fft.rfft(sinogram, n=size) * response.to(sinogram)
    filtered: Tensor = torch.fft.irfft(spectrum, n=size)
    return filtered[..., :detectors]


def _backproject(filtered: Tensor, projector: ParallelBeam) -> Tensor:
    """Sum over the views the filtered projection at the position of each pixel, zero beside the detector."""
    (rows, columns), (dy, dx) = projector.domain.shape, projector.spacing
    detectors = filtered.shape[-1]
    y = ((torch.arange(rows, dtype=torch.float64) - (rows - 1) / 2) * dy)[:, None]
    x = (torch.arange(columns, dtype=torch.float64) - (columns - 1) / 2) * dx
    padded = torch.nn.functional.pad(filtered, (1, 1))
    image = filtered.new_zeros((*filtered.shape[:-2], rows, columns))
    for view, angle in enumerate(projector.angles.tolist()):
        s = x * math.cos(angle) - y * math.sin(angle)
        position = (s / projector.detector_spacing + (detectors + 1) / 2).clamp(0, detectors + 1)
        lower = position.floor().clamp(max=detectors)
        fraction = (position - lower).to(filtered)
        index = lower.long().to(filtered.device)
        profile = padded[..., view, :]
        image = image + torch.lerp(profile[..., index], profile[..., index + 1], fraction)
    return image
