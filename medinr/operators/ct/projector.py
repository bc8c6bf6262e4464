"""Base of the CT projectors: one matrix row per ray, with its products, derivative and storage."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from medinr.errors import GeometryError, ShapeError
from medinr.operators.base import LinearOperator, Space
from medinr.operators.compiling import compiler_is_there
from medinr.operators.ct.joseph_matrices import Matrices
from medinr.operators.ct.rays import Rays, centred, trace
from medinr.operators.linear_map import linear_map

if TYPE_CHECKING:
    from medinr.operators.ct.joseph_compiled import Compiled

#: Interpolated values on all rays below which matrices cost less than loading a compiler.
_SMALL = 1_000_000


class Projector(LinearOperator):
    """Line integrals in the plane along the rays of a scanner's geometry, by Joseph's method (1982).

    Pixel ``(j, i)`` lies at ``x = (i - (nx - 1) / 2) dx``, ``y = (j - (ny - 1) / 2) dy`` with ``x`` to the
    right and ``y`` *down*, as arrays are shown; the axis of rotation is the origin. A child gives by `lines`
    the line ``x cos(phi) - y sin(phi) = s`` each ray is on. A ray steps along the axis it is steeper to, one
    row or column at a time, and interpolates linearly between the two nearest pixels; beyond the border the
    image is zero.

    Two ways give the same numbers: compiled loops over the rays without any matrix, on the processor
    (`medinr.operators.ct.joseph_compiled`); and sparse matrices on any device
    (`medinr.operators.ct.joseph_matrices`), which are kept if they fit into memory. Both are exact adjoint
    pairs, and what they prepare is made when first used and left out of pickles.

    Parameters
    ----------
    shape : sequence of int
        Image shape ``(y, x)``.
    spacing : sequence of float
        Pixel size ``(dy, dx)`` in mm.
    angles : Tensor or sequence of float
        One per view in radians, any number and order.
    detector_count : int
        Elements of the detector.
    detector_spacing : float
        Distance of their centres in mm.
    compiled : bool, optional
        Whether to compile on the processor; if not given, if the problem is large enough to be worth it and
        numba is there. Other devices and other precisions than float32 and float64 never are.

    Raises
    ------
    GeometryError
        If a size is not positive, an angle not finite, there is no view, or ``compiled`` without numba.
    ShapeError
        If the image is not two-dimensional.
    """

    def __init__(
        self,
        shape: Sequence[int],
        spacing: Sequence[float],
        angles: Tensor | Sequence[float],
        detector_count: int,
        detector_spacing: float,
        *,
        compiled: bool | None = None,
    ) -> None:
        self._check_grid(shape, spacing)
        self.spacing = (float(spacing[0]), float(spacing[1]))
        # A copy: the caller may write to their tensor later.
        self.angles = torch.as_tensor(angles, dtype=torch.float64).detach().clone()
        if self.angles.ndim != 1 or len(self.angles) == 0 or not bool(self.angles.isfinite().all()):
            raise GeometryError(f"{self.name} wants a list of finite angles in radians; got {angles}.")
        self.detector_spacing = self._positive(detector_spacing, "detector spacing")
        if detector_count < 1:
            raise GeometryError(f"{self.name} wants at least one detector element; got {detector_count}.")
        if compiled and not compiler_is_there():
            raise GeometryError(f"{self.name} wants numba to be compiled; install it or leave compiled=None.")
        self.compiled = compiled
        self.domain = Space((int(shape[0]), int(shape[1])))
        self.range = Space((len(self.angles), int(detector_count)))
        self._ready: dict[tuple[torch.dtype, torch.device], Compiled | Matrices] = {}

    @property
    @abstractmethod
    def offsets(self) -> Tensor:
        """Position of each detector element on the detector in mm, float64, shape (detector,)."""

    @abstractmethod
    def lines(self) -> tuple[Tensor, Tensor]:
        """Return ``phi`` in rad and ``s`` in mm of each ray, both float64 of shape (angle, detector)."""

    def select(self, views: Tensor | Sequence[int]) -> Self:
        """Return the projector of some of the views.

        Parameters
        ----------
        views : Tensor or sequence of int
            Their positions along the angle axis.

        Returns
        -------
        Projector
            Independent of this one.

        Raises
        ------
        GeometryError
            If there is no view, or one that is not there.
        """
        index = torch.as_tensor(views, dtype=torch.int64)
        count = self.range.shape[0]
        if index.ndim != 1 or len(index) == 0 or int(index.min()) < 0 or int(index.max()) >= count:
            raise GeometryError(f"{self.name} has views 0 to {count - 1}; got {views}.")
        part = copy.copy(self)
        part.angles = self.angles[index.to(self.angles.device)]
        part.range = Space((len(index), self.range.shape[1]))
        part._ready = {}
        return part

    def coarser(self, factor: int) -> Self:
        """Return the projector of an image with larger pixels, along the same rays.

        Parameters
        ----------
        factor : int
            How many times as large along both axes. The grid keeps its middle; where the pixels are no multiple of the
            factor, it reaches a little further.

        Returns
        -------
        Projector
            Independent of this one.

        Raises
        ------
        GeometryError
            If the factor is below 1.
        """
        if factor < 1:
            raise GeometryError(f"{self.name} wants a factor of 1 or more; got {factor}.")
        part = copy.copy(self)
        y, x = self.domain.shape
        part.domain = Space((math.ceil(y / factor), math.ceil(x / factor)))
        part.spacing = (self.spacing[0] * factor, self.spacing[1] * factor)
        part._ready = {}
        return part

    def __getstate__(self) -> dict[str, object]:
        # What is prepared is cheaper to make again than to send to another process.
        return {**vars(self), "_ready": {}}

    def _check_grid(self, shape: Sequence[int], spacing: Sequence[float]) -> None:
        if len(shape) != 2 or len(spacing) != 2 or min(shape) < 1:
            raise ShapeError(f"{self.name} wants shape (y, x) and spacing (dy, dx); got {shape} and {spacing}.")
        if not all(math.isfinite(s) and s > 0 for s in spacing):
            raise GeometryError(f"{self.name} wants positive pixel sizes in mm; got {tuple(spacing)}.")

    def _positive(self, value: float, what: str) -> float:
        if not (math.isfinite(value) and value > 0):
            raise GeometryError(f"{self.name} wants a positive {what} in mm; got {value}.")
        return float(value)

    def _finite(self, value: float, what: str) -> float:
        if not math.isfinite(value):
            raise GeometryError(f"{self.name} wants a finite {what} in mm; got {value}.")
        return float(value)

    def _apply(self, x: Tensor) -> Tensor:
        return self._product(x, transposed=False)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._product(y, transposed=True)

    def _product(self, value: Tensor, transposed: bool) -> Tensor:
        if value.is_complex():
            return torch.complex(self._product(value.real, transposed), self._product(value.imag, transposed))
        # torch's own derivative of a sparse product would transpose the matrix at every step.
        return linear_map(value, *(partial(self._multiply, transposed=way) for way in (transposed, not transposed)))

    def _multiply(self, value: Tensor, transposed: bool) -> Tensor:
        source, target = (self.range, self.domain) if transposed else (self.domain, self.range)
        dtype = value.dtype if value.dtype == torch.float64 else torch.float32
        images = value.to(dtype).reshape(math.prod(value.shape[:-2]), math.prod(source.shape))
        way = self._way(dtype, value.device)
        result = way.backward(images) if transposed else way.forward(images)
        return result.to(value.dtype).reshape(*value.shape[:-2], *target.shape)

    def _way(self, dtype: torch.dtype, device: torch.device) -> Compiled | Matrices:
        key = (dtype, device)
        if key not in self._ready:
            rays = self._rays()
            if device.type == "cpu" and self.is_worth_compiling(rays.samples):
                from medinr.operators.ct.joseph_compiled import Compiled

                # Either precision has the same rays.
                self._ready[torch.float32, device] = self._ready[torch.float64, device] = Compiled(rays)
            else:
                self._ready[key] = Matrices(rays, dtype, device)
        return self._ready[key]

    def is_worth_compiling(self, samples: int) -> bool:
        """Whether so many interpolated values are to be computed by compiled loops on the processor."""
        if self.compiled is not None:
            return self.compiled
        return samples >= _SMALL and compiler_is_there()

    def _rays(self) -> Rays:
        phi, s = (part.expand(self.range.shape).flatten().cpu() for part in self.lines())
        shape = (self.domain.shape[0], self.domain.shape[1])
        return trace(phi, s, shape, self.spacing)


def detector_positions(count: int, spacing: float, middle: float) -> Tensor:
    """Positions of the elements of a detector whose middle is at ``middle``, in mm, float64."""
    return centred(count) * spacing + middle
