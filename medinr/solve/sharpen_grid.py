"""The fine grid of a scan's super-resolution: along the scan's own axes, over the same field of view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medinr.errors import ConfigError, GeometryError
from medinr.volume import Affine, Volume

FloatArray = NDArray[np.float64]

#: Share of a spacing by which two spacings may differ and still count as the same.
SAME_SPACING = 1e-3

#: Voxels per voxel of the scan along one axis beyond which a wanted grid counts as a mistake.
FINEST = 20.0

#: By how much an axis must be coarser than both others to be taken as that of the slices, where it is not z.
STANDS_OUT = 1.2


@dataclass(frozen=True, eq=False)
class TargetGrid:
    """Where the voxels of a sharpened scan lie.

    Attributes
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    affine : ndarray, shape (4, 4)
        Maps the index ``(x, y, z, 1)`` to RAS mm.
    final_shape, final_affine : as these, or None
        Grid that was asked for, where it is another: that of another scan, or one coarser than the scan along some
        axis. The solver works on the scan's own axes, at least as finely as the scan; its result is then resampled
        to this grid by cubic splines (`medinr.data.resample`), which is the caller's step.
    """

    shape: tuple[int, int, int]
    affine: Affine
    final_shape: tuple[int, int, int] | None = None
    final_affine: Affine | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of the voxels along (x, y, z) in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxels(self) -> int:
        """Their number."""
        return math.prod(self.shape)


def slice_axis(volume: Volume) -> int:
    """Axis of (x, y, z) along which a scan's slices follow each other: z, or another that is much coarser than both.

    The second is so in NIfTI files that were reformatted.
    """
    spacing = volume.spacing
    coarsest = int(np.argmax(spacing))
    others = [spacing[axis] for axis in range(3) if axis != coarsest]
    return coarsest if spacing[coarsest] > STANDS_OUT * max(others) else 2


def grid_for(
    volume: Volume,
    *,
    spacing: float | Sequence[float] | None = None,
    factor: float | Sequence[float] | None = None,
    like: Volume | None = None,
) -> TargetGrid:
    """Lay out the fine grid for a scan. Exactly one of the three is given.

    The faces of the outermost voxels stay where they are along axes whose ratio is whole, elsewhere to within half a
    new voxel on either side. An axis that was to be coarser than the scan, or the same, stays as it is.

    Parameters
    ----------
    volume : Volume
    spacing : float or three floats
        Wanted distance of the voxels in mm, of all axes or along the scan's (x, y, z).
    factor : float or three floats
        How many times finer than the scan, of all axes or along (x, y, z); 1 or more, not necessarily whole.
    like : Volume
        A scan whose grid is wanted; its values are not used. The solved grid has along each axis of the scan the
        finest spacing with which the other grid runs along it, and the other's voxels where its axes are parallel.

    Returns
    -------
    TargetGrid

    Raises
    ------
    ConfigError
        When none or several are given, or they are not numbers of the right size.
    GeometryError
        When the wanted grid is nowhere finer than the scan, more than `FINEST` times finer, or, of another scan,
        nowhere near this one.
    """
    given = [name for name, value in (("spacing", spacing), ("factor", factor), ("like", like)) if value is not None]
    if len(given) != 1:
        raise ConfigError(
            "A fine grid is given by a spacing, a factor or another scan, one of them; got "
            f"{', '.join(given) or 'none'}."
        )
    old = np.array(volume.spacing)
    if like is not None:
        wanted = _spacing_like(volume, like)
    elif spacing is not None:
        wanted = _three("spacing in mm", spacing, above=0.0)
    else:
        assert factor is not None
        wanted = old / _three("factor", factor, least=1.0)
    if (old / wanted > FINEST).any():
        raise GeometryError(
            f"Voxels of {_size(wanted)} were asked for, of a scan with voxels of {_size(old)}: more than {FINEST:g} "
            "times finer along an axis. Nothing could be known of those; ask for a larger spacing or a smaller factor."
        )
    finer = wanted < old * (1 - SAME_SPACING)
    if not finer.any():
        raise GeometryError(
            f"Voxels of {_size(wanted)} were asked for, and the scan has {_size(old)}: nowhere finer. Ask for a "
            "smaller spacing; to resample to coarser voxels use `medinr convert --grid`."
        )
    rows = [None, None, None] if like is None else _rows_of(volume, like)
    shape, affine = _laid_out(volume, np.where(finer, wanted, old), rows)
    if like is not None:
        if like.shape == shape and np.abs(like.affine - affine).max() < SAME_SPACING * float(wanted.min()):
            return TargetGrid(shape, affine)
        return TargetGrid(shape, affine, like.shape, like.affine.copy())
    if (wanted > old * (1 + SAME_SPACING)).any():
        return TargetGrid(shape, affine, *_laid_out(volume, wanted))
    return TargetGrid(shape, affine)


def _laid_out(
    volume: Volume, spacing: FloatArray, rows: Sequence[_Row | None] = (None, None, None)
) -> tuple[tuple[int, int, int], Affine]:
    """Shape and affine of a grid of a spacing, whose middle is that of the scan, or with the voxels of given rows."""
    old = np.array(volume.spacing)
    sizes = np.array(volume.shape[::-1])
    ratio = spacing / old
    counts = np.where(spacing == old, sizes, np.maximum(1, np.round(sizes / ratio))).astype(int)
    # Index of the first new voxel in voxels of the scan.
    first = 0.5 * (sizes - 1) - 0.5 * (counts - 1) * ratio
    for axis, row in enumerate(rows):
        if row is not None and spacing[axis] != old[axis]:
            first[axis], counts[axis] = row.over(int(sizes[axis]), float(ratio[axis]))
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3] * ratio
    affine[:3, 3] = volume.affine[:3, :3] @ first + volume.affine[:3, 3]
    x, y, z = counts.tolist()
    return (z, y, x), affine


@dataclass(frozen=True)
class _Row:
    """Voxels of another scan along one axis of this one, in voxels of this one: the first and the last."""

    first: float
    last: float

    def over(self, size: int, step: float) -> tuple[float, int]:
        """First voxel, and how many, of those that cover this scan or reach up to half its voxel beyond its faces."""
        tolerance = SAME_SPACING * step
        # Counted in new voxels from the first of the row.
        covering = math.floor((-0.5 + 0.5 * step + tolerance - self.first) / step)
        low = min(max(0, math.ceil((-1 - tolerance - self.first) / step)), covering)
        covering = math.ceil((size - 0.5 - 0.5 * step - tolerance - self.first) / step)
        end = round((self.last - self.first) / step)
        high = max(min(end, math.floor((size + tolerance - self.first) / step)), covering)
        return self.first + low * step, high - low + 1


def _rows_of(volume: Volume, like: Volume) -> list[_Row | None]:
    """Voxels of a parallel scan along (x, y, z) of this one; None where its axes are oblique.

    Grids of parallel scans need no interpolation: new voxels lie where those of the other are.
    """
    index = np.linalg.solve(volume.affine, like.affine)
    extent = np.abs(index[:3, :3]) * np.array(like.shape[::-1])
    # Of each axis of this scan the axis of the other that runs along it; the rest is how far that strays.
    along = extent.argmax(axis=1)
    extent[np.arange(3), along] = 0
    if len(set(along.tolist())) < 3 or float(extent.max()) >= SAME_SPACING:
        return [None, None, None]
    ends = [
        (index[axis, 3], index[axis, 3] + index[axis, at] * (like.shape[2 - at] - 1)) for axis, at in enumerate(along)
    ]
    return [_Row(float(min(pair)), float(max(pair))) for pair in ends]


def _spacing_like(volume: Volume, like: Volume) -> FloatArray:
    """Finest spacing with which the voxels of another scan run along each axis (x, y, z) of this one."""
    ends = np.array(np.meshgrid(*[(0.0, size - 1.0) for size in reversed(like.shape)], [1.0])).reshape(4, -1)
    inside = np.linalg.solve(volume.affine, like.affine @ ends)[:3]
    sizes = np.array(volume.shape[::-1])
    if (inside.max(axis=1) < -0.5).any() or (inside.min(axis=1) > sizes - 0.5).any():
        raise GeometryError("The two scans do not overlap: their positions are of different patients or visits.")
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    other = np.array(like.spacing)
    cosines = np.abs(directions.T @ (like.affine[:3, :3] / other))
    # An oblique axis counts for the axis of the scan that it runs along most.
    nearest = cosines.argmax(axis=0)
    found = [other[nearest == axis].min() if (nearest == axis).any() else np.inf for axis in range(3)]
    return np.where(np.isfinite(found), found, np.array(volume.spacing))


def _three(
    name: str, given: float | Sequence[float], *, above: float = -math.inf, least: float = -math.inf
) -> FloatArray:
    values = np.asarray(given, dtype=np.float64)
    if (
        values.shape not in ((), (3,))
        or not np.isfinite(values).all()
        or (values <= above).any()
        or (values < least).any()
    ):
        bound = f"above {above:g}" if math.isfinite(above) else f"of {least:g} or more"
        raise ConfigError(f"The {name} of a fine grid is one number or three, along (x, y, z), {bound}; got {given}.")
    return np.broadcast_to(values, (3,)).copy()


def _size(spacing: FloatArray) -> str:
    return " x ".join(f"{mm:.3g}" for mm in spacing) + " mm"
