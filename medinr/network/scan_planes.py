"""One network for the planes of a volume: a copy of the trunk, and a head for every plane.

It learns planes that are given, or noisy planes, from which some pixels are held out to say when it starts to learn
their noise. It can be asked for its values at any pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from medinr.errors import ConfigError
from medinr.network.coordinates import plane_coordinates
from medinr.network.image_domain import ImageDomainSettings, fit_image_domain
from medinr.network.stopping import HeldOutWatch, StoppingSettings
from medinr.network.trunk import Trunk

#: Called with the steps done and how many there are.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ScanFitSettings:
    """How networks are fitted to a scan as it was acquired; measured in decision 0019.

    Attributes
    ----------
    image_domain : ImageDomainSettings
    stopping : StoppingSettings
        Of a fit to noisy planes.
    together, noisy_together : int
        Planes that share a trunk, at most: those to be learned as they are, and noisy ones. A trunk for one noisy plane
        learns its noise.
    seed : int
        For the pixels of every step, and those that are held out.
    """

    image_domain: ImageDomainSettings = field(default_factory=lambda: ImageDomainSettings(passes=8.0))
    stopping: StoppingSettings = field(default_factory=lambda: StoppingSettings(0.05, patience=20, at_least=30))
    together: int = 1
    noisy_together: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.together, self.noisy_together) < 1 or self.image_domain.passes == 0:
            raise ConfigError(
                "A network for a scan wants together and noisy_together of 1 or more and image_domain.passes above 0; "
                f"got {self.together}, {self.noisy_together}, {self.image_domain.passes}."
            )


class PlaneNetwork:
    """Networks of one trunk for planes on one grid.

    Parameters
    ----------
    trunk : Trunk
        Where the fit starts; copied.
    length_scale : float
        Millimetres per unit of network coordinate.
    shape : (int, int)
        Of a plane, (y, x).
    spacing : (float, float)
        Of its pixels, (y, x) in mm.
    count : int
        Planes.
    settings : ScanFitSettings
    complex_values : bool

    Raises
    ------
    ConfigError
        When the trunk is not one of planes.
    """

    def __init__(
        self,
        trunk: Trunk,
        length_scale: float,
        shape: tuple[int, int],
        spacing: tuple[float, float],
        count: int,
        settings: ScanFitSettings,
        complex_values: bool = False,
    ) -> None:
        if trunk.settings.inputs != 2:
            raise ConfigError(
                f"Networks are fitted to the planes of a scan, and this model's trunk has {trunk.settings.inputs} "
                "coordinates instead of 2. Choose another with --model (medinr models lists them)."
            )
        self.shape, self.count, self._settings = shape, count, settings
        self._length_scale, self._complex = length_scale, complex_values
        self._points = plane_coordinates(shape, spacing, length_scale)
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._trunk = copy.deepcopy(trunk)
        self._head = nn.Parameter(torch.zeros(trunk.width + 1, count * (2 if complex_values else 1)))

    def learn(self, planes: Tensor, progress: Progress | None = None) -> Tensor:
        """Learn planes ``(n, y, x)``, and return what was learned of them."""
        steps = self._settings.image_domain.steps(len(self._points))

        def after(step: int) -> bool:
            if progress is not None:
                progress(step, steps)
            return True

        self._fit(self._points, self._values(planes), after)
        return self.render()

    def learn_noisy(self, planes: Tensor, sigma: Tensor, reach: int = 0, progress: Progress | None = None) -> Tensor:
        """Learn noisy planes until pixels that are held out say that it is their noise that is learned.

        Parameters
        ----------
        planes : Tensor, shape (n, y, x)
        sigma : Tensor, shape (n, y, x)
            Standard deviation of their noise.
        reach : int
            Pixels up to which noise correlates: pixels that near to one by which the fit is judged are held out too.

        Returns
        -------
        Tensor, shape (n, y, x)
            Of the best step.
        """
        held, judged = held_out(self.shape, self._settings.stopping.held_out, 2 * reach + 1, self._generator)
        values = self._values(planes)
        used, checked = (~held).reshape(-1), judged.reshape(-1)
        points, wanted = self._points[checked], values[checked]
        weights = self._values(sigma.to(planes)).abs()[checked].square().clamp_min(1e-12).reciprocal()
        if self._complex:
            weights = weights[:, ::2].repeat_interleave(2, dim=1)
        watch = HeldOutWatch(self._settings.stopping)
        steps = self._settings.image_domain.steps(int(used.sum()))
        best: list[Tensor] = []

        def after(step: int) -> bool:
            if progress is not None:
                progress(step, steps)
            with torch.no_grad():
                misfit = float(((self._trunk.render(points, self._head) - wanted).square() * weights).mean())
            if watch.update(step, misfit):
                best[:] = [parameter.detach().clone() for parameter in self._parameters()]
            return not watch.exhausted(step)

        self._fit(self._points[used], values[used], after)
        with torch.no_grad():
            for parameter, kept in zip(self._parameters(), best, strict=True):
                parameter.copy_(kept)
        return self.render()

    @torch.no_grad()
    def render(self, shape: tuple[int, int] | None = None, spacing: tuple[float, float] | None = None) -> Tensor:
        """Give the planes ``(n, y, x)`` on their grid, or on another over the same field of view."""
        points = self._points
        if shape is not None and spacing is not None:
            points = plane_coordinates(shape, spacing, self._length_scale)
        y, x = self.shape if shape is None else shape
        values = self._trunk.render(points, self._head).T
        if self._complex:
            values = torch.complex(values[::2].contiguous(), values[1::2].contiguous())
        return values.reshape(self.count, y, x)

    def _fit(self, points: Tensor, values: Tensor, after: Callable[[int], bool]) -> None:
        settings = self._settings.image_domain
        fit_image_domain(self._trunk, self._head, points, values, settings, generator=self._generator, after_step=after)

    def _parameters(self) -> Sequence[nn.Parameter]:
        return [*self._trunk.parameters(), self._head]

    def _values(self, planes: Tensor) -> Tensor:
        """Planes as network values ``(y * x, heads)``; of complex ones real and imaginary part side by side."""
        parts = torch.view_as_real(planes).movedim(-1, 1) if planes.is_complex() else planes.unsqueeze(1)
        return parts.flatten(0, 1).flatten(1).T.contiguous()


def held_out(shape: tuple[int, int], share: float, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw blocks of ``width`` x ``width`` pixels that are held out, and their middles, by which a fit is judged.

    Parameters
    ----------
    shape : (int, int)
    share : float
        Of the pixels that are held out; one block or more is.
    width : int
        Odd; 1 where noise is independent from pixel to pixel.
    generator : torch.Generator

    Returns
    -------
    held, judged : Tensor of bool, shape ``shape``

    Raises
    ------
    ConfigError
        When the plane is smaller than two blocks.
    """
    rows, columns = (size // width for size in shape)
    if rows * columns < 2:
        raise ConfigError(
            f"Planes of {shape[0]} x {shape[1]} pixels are too small to hold out blocks of {width} x {width} pixels. "
            "Use another method."
        )
    blocks = torch.zeros(rows * columns, dtype=torch.bool)
    blocks[torch.randperm(rows * columns, generator=generator)[: max(1, round(share * rows * columns))]] = True
    blocks = blocks.reshape(rows, columns)
    held, judged = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    held[: rows * width, : columns * width] = blocks.repeat_interleave(width, 0).repeat_interleave(width, 1)
    judged[width // 2 : rows * width : width, width // 2 : columns * width : width] = blocks
    return held, judged


def groups_of(count: int, most: int) -> list[range]:
    """Numbers of planes that share a trunk: as few groups as possible, of nearly one size.

    Examples
    --------
    >>> groups_of(5, 3)
    [range(0, 2), range(2, 5)]
    """
    groups = -(-count // most)
    edges = [round(k * count / groups) for k in range(groups + 1)]
    return [range(edges[k], edges[k + 1]) for k in range(groups)]
