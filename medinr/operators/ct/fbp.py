"""Filtered backprojection: the analytic inverse of a CT projection, the usual first comparison."""

from __future__ import annotations

import torch
from torch import Tensor

from medinr.errors import ConfigError, GeometryError
from medinr.operators.ct.backprojection import FILTERS, Shadow, backproject, filter_views, ramp_kernel
from medinr.operators.ct.fan import FanBeam
from medinr.operators.ct.fan_fbp import fan_fbp
from medinr.operators.ct.projector import Projector
from medinr.operators.ct.radon import ParallelBeam
from medinr.operators.ct.views import view_weights

__all__ = ["FILTERS", "fbp", "ramp_kernel", "view_weights"]


def fbp(sinogram: Tensor, projector: Projector, filter: str = "ramp") -> Tensor:
    """Reconstruct by filtered backprojection (Kak & Slaney 1988, sections 3.3 and 3.4).

    For parallel beams

    ``f(x, y) = sum_v dtheta_v q_v(x cos theta_v - y sin theta_v)``, ``q = ds (p * h)``

    with the band-limited ramp ``h`` built in the spatial domain (`ramp_kernel`): sampling ``|f|`` directly
    would lose the mean of the image. Backprojection interpolates linearly on the detector rather than using
    the projector's adjoint, whose Joseph weights ripple from pixel to pixel on filtered data. For fans see
    `medinr.operators.ct.fan_fbp`; a scan of half a rotation plus the fan is enough there. Shorter scans are
    reconstructed from the measured lines, with artefacts of the missing ones.

    The object must fit into the detector at every view; outside it, projections are taken as zero.

    Parameters
    ----------
    sinogram : Tensor, shape (..., angle, detector)
        Dimensionless line integrals.
    projector : ParallelBeam or FanBeam
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
    GeometryError
        If the projector is neither of parallel nor of fan beams.
    """
    if filter not in FILTERS:
        raise ConfigError(f"fbp knows the filters {', '.join(FILTERS)}; got {filter!r}.")
    projector.range.check(sinogram, "fbp")
    if sinogram.is_complex():
        return torch.complex(fbp(sinogram.real, projector, filter), fbp(sinogram.imag, projector, filter))
    if isinstance(projector, FanBeam):
        return fan_fbp(sinogram, projector, filter)
    if not isinstance(projector, ParallelBeam):
        raise GeometryError(f"fbp wants a ParallelBeam or a FanBeam; got {projector!r}.")
    filtered = filter_views(sinogram, projector.detector_spacing, filter)
    weighted = filtered * view_weights(projector.angles).to(sinogram)[:, None]
    return backproject(weighted, projector, Shadow("parallel"))
