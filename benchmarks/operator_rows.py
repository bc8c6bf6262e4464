"""The rows of the operators' benchmark: an operation, its input, and the same operation by other libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks import operator_libraries as libraries
from benchmarks.operator_libraries import Baselines
from medinr.operators import (
    AffineResampling,
    BoxPSF,
    Coils,
    Decimation,
    FanBeam,
    Fourier,
    GaussianPSF,
    LinearOperator,
    MeasuredPSF,
    NonUniformFourier,
    ParallelBeam,
    SliceProfile,
    birdcage_maps,
    cartesian_mask,
    downsampling,
    espirit_maps,
    fbp,
    point_mask,
    radial_trajectory,
    undersampled_fourier,
)

#: Receive coils of the multi-coil rows, and views per pixel of an edge of the projections.
COILS, VIEWS = 8, 0.7

#: Thin slices of a volume, so that the rows of `SliceProfile` have as many pixels as 32 images.
THIN = 32


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """Root-mean-square difference of a whole batch, relative to that of medinr's result."""
    return float(torch.linalg.vector_norm(ours - theirs) / torch.linalg.vector_norm(ours))


def difference_in_the_circle(ours: Tensor, theirs: Tensor) -> float:
    """The same of images inside the circle that every view covers: skimage leaves the corners empty."""
    axes = (torch.linspace(-1.0, 1.0, n) for n in ours.shape[-2:])
    y, x = torch.meshgrid(*axes, indexing="ij")
    inside = torch.hypot(x, y) < 0.98
    return relative_difference(ours * inside, theirs * inside)


def misalignment(ours: Tensor, theirs: Tensor) -> float:
    """One minus the cosine between maps (image, coil, y, x), on average over the pixels that both have."""
    both = (ours.abs().sum(1) > 0) & (theirs.abs().sum(1) > 0)
    return float((1.0 - (theirs.conj() * ours).sum(1).abs())[both].abs().mean()) if bool(both.any()) else 1.0


@dataclass(frozen=True)
class Row:
    """One operation on a batch.

    Attributes
    ----------
    operator, direction : str
    example : callable
        Of a number: that many inputs, the same at every call.
    run : callable
        What is timed.
    baselines : Baselines
    each : int
        Images that count as one input: slices of a volume.
    compare : callable
        Difference between medinr's result and a baseline's.
    """

    operator: str
    direction: str
    example: Callable[[int], Tensor]
    run: Callable[[Tensor], Tensor]
    baselines: Baselines
    each: int = 1
    compare: Callable[[Tensor, Tensor], float] = relative_difference


def rows(size: int) -> Iterator[Row]:
    """All rows on images of ``size x size``; projections have one pixel more if that is even, for a middle."""
    shape = (size, size)
    yield from _mr(shape)
    yield from _resolution(shape)
    yield from _ct(size + 1 - size % 2)


def _noise(shape: tuple[int, ...], kind: torch.dtype) -> Callable[[int], Tensor]:
    def example(count: int) -> Tensor:
        return torch.randn(count, *shape, dtype=kind, generator=torch.Generator().manual_seed(0))

    return example


def _pair(
    name: str, operator: LinearOperator, kind: torch.dtype, forward: Baselines, adjoint: Baselines, *, each: int = 1
) -> Iterator[Row]:
    yield Row(name, "forward", _noise(operator.domain.shape, kind), operator, forward, each)
    yield Row(name, "adjoint", _noise(operator.range.shape, kind), operator.H, adjoint, each)


def _mr(shape: tuple[int, int]) -> Iterator[Row]:
    kind = torch.complex64
    yield from _pair("Fourier", Fourier(shape), kind, libraries.fourier(False), libraries.fourier(True))
    maps = birdcage_maps(shape, COILS)
    lines = cartesian_mask(shape[0], 4.0, 0.08)
    chosen = torch.zeros(shape, dtype=torch.bool)
    chosen[list(lines.lines)] = True
    points = point_mask(shape, 4.0, max(4, shape[0] // 12)).as_tensor()
    for name, mask, given in ((f"lines, {COILS} coils", chosen, lines), (f"points, {COILS} coils", points, points)):
        scan = undersampled_fourier(shape, given, maps)
        yield from _pair(name, scan, kind, libraries.sense(maps, mask, False), libraries.sense(maps, mask, True))
    spokes = radial_trajectory(shape[0] // 2, 2 * shape[0], shape)
    gridding = [libraries.nufft(shape, spokes, adjoint) for adjoint in (False, True)]
    yield from _pair("radial", NonUniformFourier(shape, spokes), kind, *gridding)
    region = max(8, min(24, shape[0] // 2))
    yield Row(
        f"ESPIRiT, {COILS} coils",
        "maps",
        lambda count: (Fourier(maps.shape) @ Coils(maps))(_phantom(shape[0]).to(kind)).expand(count, *maps.shape),
        lambda kspace: torch.stack([espirit_maps(one, region, 6, 0.02, 0.95) for one in kspace]),
        libraries.espirit(region, 6, 0.02, 0.95),
        compare=misalignment,
    )


def _resolution(shape: tuple[int, int]) -> Iterator[Row]:
    kind, one = torch.float32, (1.0, 1.0)
    for fwhm in (3.0, 8.0):
        blur = libraries.gaussian(*libraries.sigma_and_reach(fwhm))
        yield from _pair(f"GaussianPSF, {fwhm:g} pixels", GaussianPSF(shape, one, fwhm), kind, blur, blur)
    yield from _pair("BoxPSF, 5 pixels", BoxPSF(shape, one, 5.0), kind, libraries.box(5), libraries.box(5))
    kernel = torch.rand((9, 9), generator=torch.Generator().manual_seed(0))
    known = [libraries.measured(kernel, adjoint) for adjoint in (False, True)]
    yield from _pair("MeasuredPSF, 9 x 9", MeasuredPSF(shape, kernel), kind, *known)
    yield from _pair("Decimation, 2", Decimation(shape, 2), kind, {}, {})
    low, offset = downsampling(shape, one, 2), Decimation(shape, 2).offset[0]
    yield from _pair(
        "downsampling, 2",
        low,
        kind,
        libraries.downsampling(*libraries.sigma_and_reach(2.0), factor=2, offset=offset),
        {},
    )
    motion = torch.eye(4, dtype=torch.float64)
    motion[:2, :2] = torch.tensor([[math.cos(0.1), -math.sin(0.1)], [math.sin(0.1), math.cos(0.1)]])
    motion[:2, 3] = torch.tensor([1.0, 2.0])
    moved = [libraries.resampling(shape, motion, adjoint) for adjoint in (False, True)]
    yield from _pair("AffineResampling", AffineResampling(shape, torch.eye(4), shape, motion), kind, *moved)
    thick = SliceProfile((THIN, *shape), 1.0, 4.0)
    thickened = [libraries.product(matrix) for matrix in (thick.matrix, thick.matrix.T)]
    yield from _pair(f"SliceProfile, {THIN} slices", thick, kind, *thickened, each=THIN)


def _ct(size: int) -> Iterator[Row]:
    shape, count = (size, size), max(8, round(VIEWS * size))
    half = torch.arange(count, dtype=torch.float64) * math.pi / count
    parallel = ParallelBeam(shape, (1.0, 1.0), half, size, 1.0)
    fan = FanBeam(shape, (1.0, 1.0), 2.0 * half, 2.0 * size, 4.0 * size, 2 * size, 1.3)
    for name, beam in (("ParallelBeam", parallel), ("FanBeam", fan)):
        projections = _copies(beam(_phantom(size)))
        yield Row(name, "forward", _copies(_phantom(size)), beam, libraries.projection(beam, "forward"))
        yield Row(name, "adjoint", projections, beam.H, libraries.projection(beam, "adjoint"))
        images = libraries.projection(beam, "FBP")
        yield Row(name, "FBP", projections, _reconstruction(beam), images, compare=difference_in_the_circle)


def _reconstruction(beam: ParallelBeam | FanBeam) -> Callable[[Tensor], Tensor]:
    return lambda sinogram: fbp(sinogram, beam)


def _copies(one: Tensor) -> Callable[[int], Tensor]:
    return lambda count: one.repeat(count, 1, 1)


def _phantom(size: int) -> Tensor:
    """Smooth discs, well inside the circle that every view covers."""
    axis = torch.linspace(-1.0, 1.0, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    softness = 10.0
    body = torch.sigmoid(softness * (0.7 - torch.hypot(x / 0.8, y)) / 0.7)
    hole = torch.sigmoid(softness * (0.25 - torch.hypot(x - 0.2, y + 0.1)) / 0.25)
    return (body - 0.5 * hole) * (torch.hypot(x, y) < 0.98)
