"""What is to be solved: a measurement, the operator that explains it, its noise, and where the pixels are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medinr.errors import IntensityError, ShapeError
from medinr.operators import LinearOperator, NoiseModel, Projector, subsets
from medinr.operators.power_iteration import largest_eigenvalue
from medinr.solve.scale import scale_from_data

#: Iterations that find how well the best measured image component is measured.
POWER_ITERATIONS = 20


@dataclass(frozen=True, eq=False)
class Problem:
    """The inverse problem ``data ~ noise(operator(image))`` of one slice or one volume.

    Attributes
    ----------
    data : Tensor, shape of ``operator.range``
    operator : LinearOperator
        From image ``(y, x)`` or ``(z, y, x)`` to measurement.
    noise : NoiseModel
    spacing : tuple of float
        Pixel spacing (y, x), or voxel spacing (z, y, x), in mm.
    complex_image : bool
        Whether the image has a phase to be found or is real.
    scale : float
        Image units per unit of the solver: it works on ``image / scale``, of order one, as denoisers and networks
        were trained. 0 takes it from the data (`medinr.solve.scale`); never take it from a reference.
    group_axis : int or None
        Axis of the measurement whose samples belong together when some are held out: -2 for k-space lines
        and projection angles, None for pixels.
    protected : tuple of int
        Groups that are never held out, such as central k-space lines.
    noisy_end : float
        Factor on the noise level of the last iteration where the measurement is noisy (`half_quadratic.NOISY`): below 1
        where the operator is known exactly, as errors of an operator count as noise.

    Raises
    ------
    ShapeError
        When data and operator do not fit, or the image is neither a slice nor a volume.
    IntensityError
        When the scale is negative.
    """

    data: Tensor
    operator: LinearOperator
    noise: NoiseModel
    spacing: tuple[float, ...]
    complex_image: bool = False
    scale: float = 0.0
    group_axis: int | None = None
    protected: tuple[int, ...] = ()
    noisy_end: float = 1.0

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.operator.range.shape:
            raise ShapeError(
                f"The operator {self.operator.name} gives {self.operator.range.shape}; "
                f"the measurement has shape {tuple(self.data.shape)}."
            )
        if len(self.shape) not in (2, 3) or len(self.spacing) != len(self.shape):
            raise ShapeError(
                "A problem's image is (y, x) or (z, y, x), with as many spacings in mm; "
                f"the operator's is {self.shape}, the spacing {self.spacing}."
            )
        if not self.scale >= 0:
            raise IntensityError(f"A problem's scale is positive, or 0 to take it from the data; got {self.scale}.")
        if self.scale == 0:
            object.__setattr__(self, "scale", scale_from_data(self))

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels of the image along (y, x) or (z, y, x)."""
        return tuple(self.operator.domain.shape)

    @property
    def slice_shape(self) -> tuple[int, int]:
        """Pixels along (y, x), for what works on slices alone.

        Raises
        ------
        ShapeError
            When the image is a volume.
        """
        if len(self.shape) != 2:
            raise ShapeError(
                f"This is for slices (y, x); the problem's image is a volume of shape {self.shape}. Volumes are for "
                "plug-and-play (medinr.solve.plug_and_play)."
            )
        y, x = self.shape
        return y, x

    @property
    def heads(self) -> int:
        """Network outputs per point."""
        return 2 if self.complex_image else 1

    def image(self, values: Tensor) -> Tensor:
        """Network values ``(points, heads)`` as an image in solver units."""
        if self.complex_image:
            return torch.view_as_complex(values.contiguous()).reshape(self.shape)
        return values.reshape(self.shape)

    def predict(self, image: Tensor) -> Tensor:
        """The measurement that an image ``(..., y, x)`` in solver units would give without noise."""
        if self.operator.domain.kind == "complex" and not image.is_complex():
            image = torch.complex(image, torch.zeros_like(image))
        return self.scale * self.operator(image)

    def adjoint(self, data: Tensor) -> Tensor:
        """Adjoint of `predict`: data to an image in solver units, real when the problem's image is."""
        image = self.scale * self.operator.H(data)
        return image if self.complex_image or not image.is_complex() else image.real

    def in_subsets(self, views: int) -> list[tuple[Problem, Tensor]]:
        """Cut a projection into problems of interleaved views, each of ``views`` or a few more.

        Parameters
        ----------
        views : int

        Returns
        -------
        list of (Problem, Tensor of int64)
            Problems, and the positions of their views in this one. Empty where there are less than twice as many
            views, or this is no projection.
        """
        if not isinstance(self.operator, Projector):
            return []
        count = self.operator.range.shape[0] // views
        if count < 2:
            return []
        parts = subsets(self.operator, count)
        return [(replace(self, operator=part, data=self.data[at]), at) for part, at in parts]

    def pixel_noise(self) -> float:
        """Noise of the measurement as it shows in the best measured image component, in solver units.

        One over the root of the largest eigenvalue of ``A^H P A``: sigma for plain denoising and for k-space, where
        every measured component is measured equally well; for projections, which measure coarse structure best, that
        of coarse structure.

        Raises
        ------
        IntensityError
            When the measurement says nothing of the image.
        """
        _, precision = self.noise.surrogate(self.data, self.data)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(self.data.shape, generator=generator, dtype=self.data.dtype).to(self.data.device)
        information = largest_eigenvalue(
            lambda image: self.adjoint(precision * self.predict(image)), self.adjoint(noise), POWER_ITERATIONS
        )
        if not information > 0:
            raise IntensityError(
                f"The operator {self.operator.name} takes every image to zero, or the noise is without bounds: the "
                "measurement says nothing of the image. Check coil maps, mask and noise."
            )
        return float(information**-0.5)

    def draw_held_out(self, fraction: float, generator: torch.Generator) -> Tensor:
        """Choose the part of the measurement that is kept from a reconstruction and used to judge it.

        Parameters
        ----------
        fraction : float
            Of the samples, or of the groups along ``group_axis``.
        generator : torch.Generator

        Returns
        -------
        Tensor of bool, shape of ``data``
            True where held out.
        """
        if self.group_axis is None:
            return (torch.rand(self.data.shape, generator=generator) < fraction).to(self.data.device)
        count = self.data.shape[self.group_axis]
        candidates = torch.tensor([i for i in range(count) if i not in self.protected], dtype=torch.int64)
        number = max(1, round(fraction * count)) if fraction > 0 else 0
        chosen = candidates[torch.randperm(len(candidates), generator=generator)[:number]]
        mask = torch.zeros(count, dtype=torch.bool)
        mask[chosen] = True
        view = [1] * self.data.ndim
        view[self.group_axis] = count
        return mask.reshape(view).expand(self.data.shape).to(self.data.device)
