"""Filtered backprojection of fan beams, for a flat and for a curved detector, full and short scans."""

from __future__ import annotations

import math

from torch import Tensor

from medinr.operators.ct.backprojection import Shadow, backproject, filter_views
from medinr.operators.ct.fan import FanBeam
from medinr.operators.ct.views import fan_redundancy, view_weights


def fan_fbp(sinogram: Tensor, projector: FanBeam, filter: str) -> Tensor:
    """Reconstruct a real sinogram (Kak & Slaney 1988, section 3.4); `medinr.operators.ct.fbp` is the way in.

    With ``D`` the distance of the source to the axis and ``w`` the redundancy of each ray (`fan_redundancy`;
    1/2 for a full rotation, as in the book):

    flat (section 3.4.2), the detector scaled to the axis, ``s = u D / source_detector``:
    ``f = sum_v dtheta_v U^-2 q_v(s')``, ``q = ds ((w p cos gamma) * h)``,
    ``U = (D + along) / D``, ``s' = across / U``;

    curved (section 3.4.1):
    ``f = sum_v dtheta_v L^-2 q_v(gamma')``, ``q = dgamma ((w p D cos gamma) * (gamma / sin gamma)^2 h)``,
    ``L^2 = across^2 + (D + along)^2``, ``gamma' = atan(across / (D + along))``.

    Parameters
    ----------
    sinogram : Tensor, shape (..., angle, detector)
    projector : FanBeam
    filter : {"ramp", "shepp-logan", "hann"}

    Returns
    -------
    Tensor, shape (..., y, x)
        Attenuation in 1/mm.
    """
    gamma, per_view = projector.fan_angles, view_weights(projector.angles, 2.0 * math.pi)
    weight = fan_redundancy(projector.angles, gamma) * per_view[:, None] * gamma.cos().to(per_view)
    distance, magnified = projector.source_origin, projector.source_detector
    if projector.curved:
        pitch = projector.detector_spacing / magnified
        filtered = filter_views(sinogram * (distance * weight).to(sinogram), pitch, filter, equiangular=True)
    else:
        pitch = projector.detector_spacing * distance / magnified
        filtered = filter_views(sinogram * weight.to(sinogram), pitch, filter)
    kind = "curved" if projector.curved else "flat"
    return backproject(filtered, projector, Shadow(kind, distance, magnified))
