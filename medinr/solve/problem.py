"""What is to be solved: a measurement, the operator that explains it, its noise, and where the pixels are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from medinr.errors import ShapeError
from medinr.operators import LinearOperator, NoiseModel, Projector, subsets


@dataclass(frozen=True, eq=False)
class Problem:
    """One slice's inverse problem ``data ~ noise(operator(image))``.

    Attributes
    ----------
    data : Tensor, shape of ``operator.range``
    operator : LinearOperator
        From image ``(y, x)`` to measurement.
    noise : NoiseModel
    spacing : (float, float)
        Pixel spacing (y, x) in mm.
    complex_image : bool
        Whether the image has a phase to be found (two heads) or is real (one).
    scale : float
        Image units per network unit: the fit sees ``image / scale``, of order one. Taken from the measurement
        or from physics, never from a reference.
    group_axis : int or None
        Axis of the measurement whose samples belong together when some are held out: -2 for k-space lines
        and projection angles, None for pixels.
    protected : tuple of int
        Groups that are never held out, such as central k-space lines.
    """

    data: Tensor
    operator: LinearOperator
    noise: NoiseModel
    spacing: tuple[float, float]
    complex_image: bool = False
    scale: float = 1.0
    group_axis: int | None = None
    protected: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.operator.range.shape:
            raise ShapeError(
                f"The operator {self.operator.name} gives {self.operator.range.shape}; "
                f"the measurement has shape {tuple(self.data.shape)}."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of the image along (y, x)."""
        y, x = self.operator.domain.shape
        return y, x

    @property
    def heads(self) -> int:
        """Network outputs per point."""
        return 2 if self.complex_image else 1

    def image(self, values: Tensor) -> Tensor:
        """Network values ``(y * x, heads)`` as an image ``(y, x)`` in network units."""
        if self.complex_image:
            return torch.view_as_complex(values.contiguous()).reshape(self.shape)
        return values.reshape(self.shape)

    def predict(self, image: Tensor) -> Tensor:
        """The measurement that an image ``(..., y, x)`` in network units would give without noise."""
        if self.operator.domain.kind == "complex" and not image.is_complex():
            image = torch.complex(image, torch.zeros_like(image))
        return self.scale * self.operator(image)

    def adjoint(self, data: Tensor) -> Tensor:
        """Adjoint of `predict`: data to an image in network units, real when the problem's image is."""
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
        """Noise of the measurement as it shows in the best measured image component, in network units.

        One over the root of the largest eigenvalue of ``A^H P A`` (20 power iterations): sigma for plain
        denoising and for k-space, where every measured component is measured equally well; for projections,
        which measure coarse structure best, that of coarse structure.
        """
        _, precision = self.noise.surrogate(self.data, self.data)
        generator = torch.Generator().manual_seed(0)
        image = self.adjoint(
            torch.randn(self.data.shape, generator=generator, dtype=self.data.dtype).to(self.data.device)
        )
        information = 0.0
        for _ in range(20):
            image = image / torch.linalg.vector_norm(image)
            image = self.adjoint(precision * self.predict(image))
            information = float(torch.linalg.vector_norm(image))
        return float(information**-0.5)

    def draw_held_out(self, fraction: float, generator: torch.Generator) -> Tensor:
        """Choose the part of the measurement that is kept from the fit and used to stop it.

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
