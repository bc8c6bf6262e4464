"""Line integrals along rays that fan out from a source: medical and laboratory CT scanners in one plane."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from medinr.errors import GeometryError
from medinr.operators.ct.projector import Projector, detector_positions


class FanBeam(Projector):
    """Fan-beam projection of an image in 1/mm to line integrals, by Joseph's method (1982).

    Geometry: as for `ParallelBeam`, ``x`` is to the right, ``y`` *down*, the axis of rotation in the middle of
    the image. In view ``theta`` the source is at

    ``-source_origin (sin theta, cos theta)``

    above the image at 0 and moving counterclockwise as the image is seen; the central ray, from the source
    through the axis, is the ray ``s = 0`` of `ParallelBeam` at the same angle. The detector is at the distance
    ``source_detector`` from the source and its elements count in the direction ``(cos theta, -sin theta)``, as
    there: to the right at 0. Element ``k`` is at

    ``u_k = (k - (detectors - 1) / 2) ds + detector_offset``

    in mm from the central ray, along a straight detector (flat) or along an arc around the source (curved,
    equiangular), so that its ray leaves the central one by ``gamma = atan(u / source_detector)`` or
    ``gamma = u / source_detector``, and is the line ``phi = theta + gamma``, ``s = source_origin sin(gamma)``
    of the parallel geometry. A scanner that turns the other way has the negative angles; one that counts its
    elements the other way wants ``sinogram.flip(-1)``.

    Lines do not end at the source or the detector, so the image must lie between them.

    Parameters
    ----------
    shape : sequence of int
        Image shape ``(y, x)``.
    spacing : sequence of float
        Pixel size ``(dy, dx)`` in mm.
    angles : Tensor or sequence of float
        In radians, any number and order.
    source_origin, source_detector : float
        Distance of the source to the axis of rotation, and to the detector along the central ray, in mm.
    detector_count : int
        Elements of the detector.
    detector_spacing : float
        Distance of their centres in mm, on the detector itself (not scaled to the axis); along the arc if
        it is curved.
    curved : bool
        Whether the detector is an arc around the source.
    detector_offset : float
        Where the middle of the detector is, in mm from the central ray, positive towards higher elements:
        minus the position of the axis' shadow, which is the ``centre`` of `ParallelBeam`.
    compiled : bool, optional
        See `medinr.operators.ct.projector.Projector`.

    Raises
    ------
    GeometryError
        If a size is not positive, there is no view, the source is inside the image's circle or behind the
        detector, or the fan is wider than half a rotation.
    ShapeError
        If the image is not two-dimensional.

    Notes
    -----
    These are the angles and directions of Kak & Slaney (1988), section 3.4. The ``fanflat`` geometry of the
    ASTRA toolbox at the angle ``a`` is this one at ``a + pi`` with the elements counted the other way.
    """

    def __init__(
        self,
        shape: Sequence[int],
        spacing: Sequence[float],
        angles: Tensor | Sequence[float],
        source_origin: float,
        source_detector: float,
        detector_count: int,
        detector_spacing: float,
        *,
        curved: bool = False,
        detector_offset: float = 0.0,
        compiled: bool | None = None,
    ) -> None:
        super().__init__(shape, spacing, angles, detector_count, detector_spacing, compiled=compiled)
        self.source_origin = self._positive(source_origin, "distance from the source to the axis")
        self.source_detector = self._positive(source_detector, "distance from the source to the detector")
        self.curved = bool(curved)
        self.detector_offset = self._finite(detector_offset, "detector offset")
        if self.source_detector < self.source_origin:
            raise GeometryError(
                f"FanBeam wants the detector behind the axis of rotation; got {source_origin} mm from the source "
                f"to the axis and {source_detector} mm to the detector. Were they swapped?"
            )
        radius = 0.5 * math.hypot(shape[0] * self.spacing[0], shape[1] * self.spacing[1])
        if self.source_origin <= radius:
            raise GeometryError(
                f"FanBeam wants the source outside the image; got {source_origin} mm from the axis, within the "
                f"image's circle of radius {radius:g} mm. Make the image smaller."
            )
        if self.half_fan >= math.pi / 2:
            raise GeometryError(f"FanBeam wants a fan of less than half a rotation; got {2 * self.half_fan:g} rad.")

    @property
    def offsets(self) -> Tensor:
        """Position ``u`` of each element along the detector in mm from the central ray, float64, shape (detector,)."""
        return detector_positions(self.range.shape[1], self.detector_spacing, self.detector_offset)

    @property
    def fan_angles(self) -> Tensor:
        """Angle ``gamma`` of each element's ray with the central ray in rad, float64, shape (detector,)."""
        ratio = self.offsets / self.source_detector
        return ratio if self.curved else ratio.atan()

    @property
    def half_fan(self) -> float:
        """The largest angle of a ray with the central ray, in rad."""
        return float(self.fan_angles.abs().max())

    def lines(self) -> tuple[Tensor, Tensor]:
        """Return ``phi`` in rad and ``s`` in mm of each ray, both float64 of shape (angle, detector)."""
        gamma = self.fan_angles.to(self.angles.device)
        phi, s = torch.broadcast_tensors(self.angles[:, None] + gamma, self.source_origin * gamma.sin())
        return phi, s
