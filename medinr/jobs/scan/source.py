"""The volumes of a scan, gone through once to see what they are, and read again when each is treated."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from medinr.errors import GeometryError, IntensityError
from medinr.io.choice import ScanChoice
from medinr.io.images.complex_pairs import (
    GRID_TOLERANCE_MM,
    combine_magnitude_and_phase,
    combine_real_and_imaginary,
)
from medinr.io.scan import open_scan, read_volumes
from medinr.volume import WITHOUT_MAGNITUDE, Volume

#: Volumes that are kept as repeats of one another, at least and at most, and their voxels together.
LEAST_REPEATS, MOST_REPEATS, MOST_REPEATED_VOXELS = 4, 15, 2**25

#: Volumes with more diffusion weighting (s/mm^2) differ by their direction.
_NO_WEIGHTING = 50.0

Reader = Callable[[], Iterator[Volume]]


@dataclass(frozen=True, eq=False)
class ScanSource:
    """A scan of one volume, or of several on one grid.

    Attributes
    ----------
    first : Volume
    count : int
        How many volumes.
    repeats : tuple of Volume
        The last of those that repeat one acquisition; none where there are too few.
    read : callable
        Reads every volume in turn.
    notes : tuple of str
        Found while it was gone through.
    """

    first: Volume
    count: int = 1
    repeats: tuple[Volume, ...] = ()
    read: Reader | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    def volumes(self) -> Iterator[Volume]:
        """Give every volume in turn; one of them is in memory."""
        if self.count == 1 or self.read is None:
            yield self.first
        else:
            yield from self.read()

    @property
    def words(self) -> str:
        """What it is, in a line."""
        z, y, x = self.first.shape
        dx, dy, dz = self.first.spacing
        several = f", {self.count} volumes" if self.count > 1 else ""
        kind = "complex " if np.iscomplexobj(self.first.array) else ""
        return (
            f"{kind}{self.first.modality}, {x} x {y} pixels x {z} slice{'s' if z > 1 else ''}, "
            f"{dx:.2f} x {dy:.2f} x {dz:.2f} mm, {self.first.plane}{several}"
        )


def open_source(
    path: Path, choice: ScanChoice, slices: Sequence[int] | None = None, phase: Path | None = None
) -> ScanSource:
    """Go through a scan once.

    Parameters
    ----------
    path : Path
        Whatever `medinr.io.scan.read_scan` reads.
    choice : ScanChoice
        Without an index every volume of a four-dimensional file is meant, and of a DICOM series every stack.
    slices : sequence of int, optional
    phase : Path, optional
        Phase that belongs to the magnitude, or imaginary part that belongs to the real one.

    Raises
    ------
    FileError, GeometryError, UnitError
        When it cannot be read.
    IntensityError
        When a voxel is NaN or infinite, or all are zero.
    """

    def read() -> Iterator[Volume]:
        for volume in _joined(path, choice, phase):
            yield volume if slices is None else volume.select(slices)

    try:
        return _surveyed(read, path.name)
    except GeometryError:
        if choice.series is None or phase is not None:
            raise
    # The chosen stack alone, where others of its series lie elsewhere.
    alone = open_scan(path, choice, slices)
    note = "the stacks of this series lie on different grids; the chosen one alone was taken"
    found = _surveyed(lambda: iter((alone,)), path.name)
    return replace(found, notes=(*found.notes, note))


def _joined(path: Path, choice: ScanChoice, phase: Path | None) -> Iterator[Volume]:
    if phase is None:
        yield from _volumes(path, choice)
        return
    # Of the other part, neither the series nor the modality can be the same.
    others = _volumes(phase, ScanChoice(choice.index, None, None, choice.straighten))
    for one, other in zip(_volumes(path, replace(choice, modality="MR")), others, strict=True):
        imaginary = other.provenance.facts.component == "imaginary"
        yield (combine_real_and_imaginary if imaginary else combine_magnitude_and_phase)(one, other)


def _volumes(path: Path, choice: ScanChoice) -> Iterator[Volume]:
    if choice.index is not None or choice.straighten:
        yield open_scan(path, choice)
    else:
        yield from read_volumes(path, series=choice.series, modality=choice.modality)


def _surveyed(read: Reader, name: str) -> ScanSource:
    first: Volume | None = None
    kept: dict[tuple[object, ...], deque[Volume]] = {}
    count = left_out = 0
    filled = False
    components = set()
    for volume in read():
        component = volume.provenance.facts.component
        if first is not None and component in WITHOUT_MAGNITUDE and first.provenance.facts.component != component:
            left_out += 1
            continue
        components.add(component)
        first = volume if first is None else first
        _require_grid(volume, first, count, name)
        volume.require_finite(name if count == 0 else f"{name}, volume {count}")
        filled = filled or bool(volume.array.any())
        facts = volume.provenance.facts
        if facts.b_value is None or facts.b_value < _NO_WEIGHTING:
            most = min(MOST_REPEATS, max(1, MOST_REPEATED_VOXELS // volume.array.size))
            kept.setdefault((facts.echo_time, facts.inversion_time), deque(maxlen=most)).append(volume)
        count += 1
    if first is None:
        raise IntensityError(f"{name}: holds no volume.")
    if not filled:
        raise IntensityError(f"{name}: every voxel is zero; there is nothing to treat. Export the scan again.")
    repeats = max(kept.values(), key=len, default=deque[Volume]())
    notes = (f"{left_out} stacks of phase were left out; --phase joins one with its magnitude",) if left_out else ()

    def without_phase() -> Iterator[Volume]:
        return (volume for volume in read() if volume.provenance.facts.component in components)

    several = tuple(repeats) if len(repeats) >= LEAST_REPEATS else ()
    return ScanSource(first, count, several, without_phase if left_out else read, notes)


def _require_grid(volume: Volume, first: Volume, number: int, name: str) -> None:
    if volume.shape == first.shape:
        ends = np.array(np.meshgrid(*[(0.0, size - 1.0) for size in reversed(first.shape)], [1.0])).reshape(4, -1)
        apart = float(np.linalg.norm(((volume.affine - first.affine) @ ends)[:3], axis=0).max())
    else:
        apart = math.inf
    if apart > GRID_TOLERANCE_MM or np.iscomplexobj(volume.array) != np.iscomplexobj(first.array):
        raise GeometryError(
            f"{name}: volume {number} has other voxels than volume 0 ({volume.shape} and {first.shape}, z y x). "
            "Choose one with --series or --index."
        )
